"""Units that a profile lacks, measured and added to it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.latency.making.steps import on_scale
from nas.latency.making.summary import time_of
from nas.latency.profiles import differences_here, elsewhere
from nas.measuring.profiling import UNIT_ERROR, chunks, companions, measure_some
from nas.measuring.run_cache import params_of
from nas.runs.disk import offering
from nas.runs.store import RunStore
from nas.runtimes import Setting
from search_spaces.architecture import Architecture
from search_spaces.costs.profile_files import model_of, read_model, text_of
from search_spaces.errors import InputError
from search_spaces.files.plain import RUN, parse
from search_spaces.textfiles import LONG, expanded, read_text
from search_spaces.units import Unit

COMPANIONS = 24
"""Units of a profile that are measured again when others are added to it."""


def add_units(
    path: str | Path, archs: Sequence[Architecture], *, seed: int = 0, error: float = 0.01, noisy: bool = False
) -> list[Unit]:
    """Measures the units of architectures that a profile of this device lacks, and adds them to it, some at a time. What was added stays
    when it is interrupted.

    Returns:
        The units that were added.

    Raises:
        InputError: the profile is of another device or was learned from whole networks, or the file cannot be read or written.
        NoisyMachine: something disturbs the machine, and `noisy` is false.
    """
    model = read_model(path)
    if differences_here(model):
        raise elsewhere(model, path)
    if model.is_learned:
        raise InputError(
            f"profile {path} was learned from whole networks, and the time of a unit that is measured alone is nothing beside its times",
            "a profile of measured units",
            "nas profile space=SPACE units=all out=FILE for a new one, or units=none with these networks in its space",
        )
    setting, measured = Setting(**model.about["setting"]), model.times.measured
    missing = list(dict.fromkeys(unit for arch in archs for unit in model.missing(arch)))
    for chunk in chunks(missing, params_of):
        known = companions(chunk, list(measured), seed, len(chunk) + COMPANIONS)
        measurement = measure_some([*chunk, *known], setting, seed=seed, error=UNIT_ERROR * error, noisy=noisy)
        found = measurement.timings
        # What was measured before tells how much faster or slower the device is now, and in this company.
        before = [
            (replace(found[len(chunk) + number], ms=measured[unit]), found[len(chunk) + number])
            for number, unit in enumerate(known)
        ]
        scaled = on_scale({unit: found[place] for place, unit in enumerate(chunk)}, before)
        lines = [time_of(timing) | unit.to_dict() for unit, timing in scaled.items()]
        _add_lines(path, lines, measurement.noisy)
    return missing


def _add_lines(path: str | Path, lines: list[dict[str, Any]], noisy: bool) -> None:
    """Adds lines of units to a profile.

    Args:
        noisy: whether the machine was, when they were measured.
    """
    out = expanded(path)
    data = parse(read_text(out, LONG), RUN)
    data["units"] += lines
    data["noisy"] = data["noisy"] or noisy
    model_of(data, path)
    with offering("a copy of the profile in such a folder"):
        RunStore(out.parent).write_text(out.name, text_of(data))
