"""What a profile has measured so far, in a file beside it, so that an interrupted one resumes.

One JSON line per measurement, appended when it is made. The first line says what is measured and on what: a journal of anything else is
not continued.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from nas.measuring.noise import Noise
from nas.measuring.timing import Timing
from nas.records.shapes import ANY_NUMBER, Anything, Entries, Flag, Maybe, Number, OneOf, Table, Text, Whole
from nas.runs.disk import offering
from nas.runs.store import RunStore
from search_spaces.errors import InputError
from search_spaces.units import Unit

PLAN, UNIT, NETWORK, REPEAT, NOISE = "plan", "unit", "network", "repeat", "noise"
"""Kinds of lines."""


_TIMING = Table({"rounds": Whole(1), **dict.fromkeys(("ms", "low", "high", "spread", "error"), Number())})

_NOISE = Table({
    "cores": Whole(), "hurried": Flag(), "load": Maybe(Number()),
    **dict.fromkeys(("spread", "drift", "waiting", "unsettled", "error", "reference_ms"), ANY_NUMBER),
})  # fmt: skip

_SHAPES = {
    PLAN: Table({"of": Entries(Anything())}),
    UNIT: Table({"of": Entries(Anything()), "timing": _TIMING}),
    NETWORK: Table({"of": Text(), "timing": _TIMING}),
    REPEAT: Table({"of": Text(), "timing": _TIMING}),
    NOISE: Table({"of": _NOISE}),
}
"""Of lines by their kind."""


class Journal:
    """The measurements of a profile that is being made.

    Args:
        path: of the profile; the journal is `path` with .partial behind it.
        plan: what is measured and on what, as JSON gives it back.

    Raises:
        InputError: the journal there is of another plan, is damaged, or cannot be written.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any]) -> None:
        self.path = path.with_name(path.name + ".partial")
        self._store = RunStore(self.path.parent)
        self.units: dict[Unit, Timing] = {}
        self.networks: dict[str, Timing] = {}
        self.repeats: dict[str, Timing] = {}
        self.noises: list[Noise] = []
        lines = self._lines()
        if not lines:
            self._append(PLAN, plan, None)
        elif lines[0]["kind"] != PLAN or lines[0]["of"] != plan:
            raise InputError(
                f"{self.path} is of another profile: {_differing(lines[0], plan)}",
                "the command that was interrupted, on the same machine",
                f"that command again, or rm {shlex.quote(str(self.path))}",
            )
        for line in lines[1:]:
            self._take(line)

    @property
    def resumed(self) -> bool:
        """Whether it had measurements when it was opened or has got some since."""
        return bool(self.units or self.networks)

    def add_units(self, timings: Mapping[Unit, Timing]) -> None:
        """Keeps the times of units."""
        for unit, timing in timings.items():
            self._append(UNIT, unit.to_dict(), timing)
            self.units[unit] = timing

    def add_networks(self, timings: Mapping[str, Timing]) -> None:
        """Keeps the times of networks, by digest."""
        for digest, timing in timings.items():
            self._append(NETWORK, digest, timing)
            self.networks[digest] = timing

    def add_repeats(self, timings: Mapping[str, Timing]) -> None:
        """Keeps times of what had been measured before, by digest or by the text of a unit."""
        for name, timing in timings.items():
            self._append(REPEAT, name, timing)
            self.repeats[name] = timing

    def add_noise(self, noise: Noise) -> None:
        """Keeps how quiet the machine was."""
        self._append(NOISE, asdict(noise), None)
        self.noises.append(noise)

    def remove(self) -> None:
        """Takes the file away, when the profile is written."""
        self._store.remove(self.path.name)

    def _append(self, kind: str, of: Any, timing: Timing | None) -> None:
        with offering("out=PATH in such a folder"):
            self._store.append(
                self.path.name, {"kind": kind, "of": of, "timing": None if timing is None else asdict(timing)}
            )

    def _lines(self) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        try:
            for line in self._store.each_record(self.path.name):
                lines.append(line)
                where = f"line {len(lines)} of {self.path} is none of a profile"
                if line.keys() != {"kind", "of", "timing"}:
                    raise self._damaged(where)
                if wrong := OneOf(tuple(_SHAPES)).fault(line["kind"], "kind") or _SHAPES[line["kind"]].fault(line, ""):
                    raise self._damaged(f"{where} (at {wrong})")
        except InputError as error:
            raise self._damaged(error.given) from None
        return lines

    def _take(self, line: Mapping[str, Any]) -> None:
        kind, of = line["kind"], line["of"]
        if kind == PLAN:
            raise self._damaged(f"{self.path} has the beginning of a profile twice")
        if kind == NOISE:
            self.noises.append(Noise(**{field.name: of[field.name] for field in fields(Noise)}))
            return
        timing = Timing(**{field.name: line["timing"][field.name] for field in fields(Timing)})
        try:
            if kind == UNIT:
                self.units[Unit.from_dict(of)] = timing
            else:
                {NETWORK: self.networks, REPEAT: self.repeats}[kind][of] = timing
        except (InputError, RecursionError) as error:
            raise self._damaged(f"{self.path} has a line that is none of a profile ({error})") from None

    def _damaged(self, given: str) -> InputError:
        return InputError(
            given, "lines as nas wrote them", f"rm {shlex.quote(str(self.path))}, and the same command again"
        )


def _differing(line: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """The keys of a plan that differ from those of a journal's first line, in words."""
    was = line["of"] if isinstance(line.get("of"), Mapping) else {}
    keys: Iterable[str] = sorted(key for key in {*was, *plan} if was.get(key) != plan.get(key))
    return ", ".join(keys) + (" differ" if len([*keys]) > 1 else " differs")
