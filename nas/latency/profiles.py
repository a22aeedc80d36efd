"""Profiles in a search: which device they are of, and whether they know every network of its space."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from nas.latency.unit_tables import is_unit_table, read_unit_table
from nas.log import say
from nas.measuring.fingerprint import check_cores, fingerprint, same_device
from nas.runtimes import Setting
from search_spaces.costs import BUILT_IN, Cost, cost_named, cost_names
from search_spaces.costs.latency import LATENCY, DeviceModel, add_model
from search_spaces.costs.profile_files import read_model
from search_spaces.errors import InputError
from search_spaces.named import claim_names, space_names
from search_spaces.space import SearchSpace
from search_spaces.space_units import space_units

LEARNED = "learned from "
"""Beginning of the origin of a cost that is known for every network because it was learned."""


def is_learned(cost: Cost) -> bool:
    """Whether a cost is known for every network because it was learned."""
    return cost.origin.startswith(LEARNED)


def add_profiles(paths: Sequence[str], wanted: Collection[str], fill: bool = False) -> list[DeviceModel]:
    """Registers the cost `latency_ms@NAME` of every profile and of every table of units, and `latency_ms` for the one that is of this device.

    Searches that do not need the cost also register it, so that their networks can be compared with those of searches that do.

    Args:
        wanted: the costs that a search names.
        fill: predict the times of units that were not measured from those that were.

    Raises:
        InputError: a file is no profile; two are of devices of one name; or `latency_ms` is wanted and no profile, or more than one,
            is of this device.
    """
    read = [(model, path) for path in paths for model in read_devices(path)]
    if fill:
        from nas.latency.filling import filled  # scikit-learn's models take a second to import

        read = [(filled(model), path) for model, path in read]
    models = [model for model, _ in read]
    here: list[tuple[DeviceModel, str]] = []
    for model, path in read:
        add_model(model, path)
        if fill:
            say(f"{model.name}: {model.form}")
        if not differences_here(model):
            here.append((model, path))
    if not models or LATENCY in cost_names() or (LATENCY not in wanted and len(here) != 1):
        return models
    if not here:
        raise elsewhere(*read[0])
    if len(here) > 1:
        names = [model.name for model, _ in here]
        raise InputError(
            f"{LATENCY} may be {' or '.join(names)}: {len(here)} profiles are of this device",
            "one of them by its name, or one profile of this device",
            names[0],
        )
    add_model(*here[0], here=True)
    return models


def read_devices(path: str) -> list[DeviceModel]:
    """The device of a profile, or the devices of a table of units (a file whose name ends in .csv).

    Raises:
        InputError: the file cannot be read, or is neither.
    """
    return read_unit_table(path) if is_unit_table(path) else [read_model(path)]


def differences_here(model: DeviceModel) -> list[str]:
    """How this device differs from that of a profile, in words; nothing where the profile holds here."""
    if "setting" not in model.about:
        return ["it is a table of units, which does not say what they were measured on"]
    try:
        setting = Setting(**model.about["setting"])
        now = fingerprint(setting)
        check_cores(setting.threads)
    except InputError as error:  # such as a GPU or a library that is not here
        return [error.given]
    except (KeyError, TypeError):
        return [f"its setting is {model.about.get('setting')!r}"]
    return same_device(now, dict(model.fingerprint))


def elsewhere(model: DeviceModel, path: str | Path) -> InputError:
    """The error of a profile that is not of this device."""
    return InputError(
        f"profile {path} is of another device: {'; '.join(differences_here(model))}",
        f"a profile of this device; or {model.name}, which means that device wherever a search runs",
        f"{model.name} in place of {LATENCY}, or nas profile space=SPACE out=FILE on this device",
    )


def check_covered(space: SearchSpace, names: Iterable[str]) -> None:
    """
    Args:
        space: complete, and bound to the data.
        names: of costs.

    Raises:
        InputError: a cost that adds up over units is not known for some unit of the space; the first of them are named.
    """
    for name in names:
        additive = cost_named(name).additive
        if name in BUILT_IN or additive is None or is_learned(cost_named(name)):
            continue
        found = space_units(space)
        missing = [unit for unit in found if additive.of_unit(unit) is None]
        if missing:
            shown = "; ".join(map(str, missing[:3])) + ("; ..." if len(missing) > 3 else "")
            sizes = f"channels={space.in_channels} classes={space.num_classes} resolution={space.resolution}"
            called = space.name if space.name in (*space_names(), *claim_names()) else "SPACE.toml"
            raise InputError(
                f"{name} is not known for {len(missing):,} of the {len(found):,} units of space {space.name}: {shown}",
                "a profile of this space, for the channels, classes and resolution of the data",
                f"nas profile space={called} {sizes} out=FILE; or search.fill=true, which learns the times of the others",
            )
