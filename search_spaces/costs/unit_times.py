"""Milliseconds of units on a device: those that were measured, and branches that are composed of measured ones."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from search_spaces.units import Unit

BRANCHES = ("mixer", "ffn")
"""The kinds of units whose time is composed where it was not measured."""


class UnitTimes:
    """Milliseconds of units: those that were measured, and branches that are composed of measured ones.

    A branch has a norm, a mixer or FFN, a scale and perhaps a position bias. Spaces offer every combination of them, too many to measure.
    Norm, scale and bias cost nearly the same beside every set of options of one mixer, so their cost is taken from one measured branch of
    its kind, its mixer's name and its map, the reference: the one beside which most others were measured that differ in one part.

        time(norm, mixer, scale, bias) = time of (norm0, mixer, scale0, bias0), and what each of norm, scale and bias changes of the reference

    Args:
        measured: milliseconds by unit, in any order.
        learned: milliseconds by unit, as whole networks tell them.
    """

    def __init__(self, measured: Mapping[Unit, float], learned: Mapping[Unit, float] | None = None) -> None:
        self.measured, self.learned = dict(measured), dict(learned or {})
        self._references = _references(self.measured)
        self._composed: dict[Unit, float | None] = {}

    def __call__(self, unit: Unit) -> float | None:
        """Milliseconds, or None where they are neither measured nor composed of what was measured."""
        found = self.measured.get(unit)
        if found is not None or unit.kind not in BRANCHES:
            return found
        if unit not in self._composed:
            self._composed[unit] = self._compose(unit)
        return self._composed[unit]

    def _compose(self, unit: Unit) -> float | None:
        for reference in self._references.get(_family(unit), ()):
            needed = [self.measured.get(part) for part in composed_of(unit, reference)]
            first, *changes = (ms for ms in needed if ms is not None)
            if len(changes) == len(needed) - 1:
                return max(0.0, first + sum(changed - self.measured[reference] for changed in changes))
        return None


def _references(measured: Iterable[Unit]) -> dict[tuple[Any, ...], list[Unit]]:
    """The branches that others may be composed with, by family, the best reference first. It does not depend on the order of `measured`."""
    families: dict[tuple[Any, ...], list[Unit]] = {}
    for unit in measured:
        if unit.kind in BRANCHES:
            families.setdefault(_family(unit), []).append(unit)
    beside = Counter(key for family in families.values() for unit in family for key in _but_one_part(unit))

    def rank(unit: Unit) -> tuple[int, str]:
        return -sum(beside[key] for key in _but_one_part(unit)), repr(unit)

    return {key: sorted(family, key=rank) for key, family in families.items()}


def _but_one_part(unit: Unit) -> Iterator[tuple[Any, ...]]:
    """What a branch has in common with those that differ from it in the norm, in the options of the body, in the scale or in the bias."""
    for place in range(len(unit.parts)):
        yield place, _family(unit), unit.parts[:place], unit.parts[place + 1 :], unit.bias
    yield len(unit.parts), _family(unit), unit.parts


def _family(unit: Unit) -> tuple[Any, ...]:
    """What branches with one reference have in common."""
    return unit.kind, unit.parts[1].name, unit.dims, unit.height, unit.width


def composed_of(unit: Unit, reference: Unit) -> tuple[Unit, ...]:
    """The branches whose times compose that of `unit`: with the mixer or FFN of `unit` and all else of the reference, then the reference
    with the norm, with the scale and with the position bias of `unit`.
    """
    (norm, body, scale), (norm0, body0, scale0) = unit.parts, reference.parts
    return (
        reference._replace(parts=(norm0, body, scale0)),
        reference._replace(parts=(norm, body0, scale0)),
        reference._replace(parts=(norm0, body0, scale)),
        reference._replace(bias=unit.bias),
    )


def representatives(wanted: Sequence[Unit]) -> list[Unit]:
    """Units that have to be measured so that the time of each of `wanted` is measured or composed; never more than `wanted` has."""
    references: dict[tuple[Any, ...], Unit] = {}
    found: dict[Unit, None] = {}
    for unit in wanted:
        if unit.kind not in BRANCHES:
            found[unit] = None
            continue
        reference = references.setdefault(_family(unit), unit)
        found[reference] = None
        for part in composed_of(unit, reference):
            found[part] = None
    return list(found) if len(found) < len(wanted) else list(dict.fromkeys(wanted))
