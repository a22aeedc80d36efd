"""Narrowing keeps every feasible member, and its bounds are the truth: against every member of small spaces, and drawn ones of named spaces."""

import math
import random
import zlib
from collections.abc import Callable

import pytest

from search_spaces.architecture import SLOTS, Architecture, Part
from search_spaces.bounds import Choice, every_choice, least_totals, remembered
from search_spaces.costs import Additive, Cost, add_cost, cost_named, temporary_costs
from search_spaces.costs.macs import macs
from search_spaces.errors import OutsideBudget
from search_spaces.limits import Limits, above, below, outside, shortfall, violation
from search_spaces.named import check, load_space, read_space, space_names
from search_spaces.narrowing import narrowed, removed
from search_spaces.space import NO_BIAS, SearchSpace
from search_spaces.testing import name_of, named_spaces
from search_spaces.units import Unit, units
from search_spaces.writing import to_toml
from tests.search_spaces.small_spaces import SMALL, enumerate_members

TIED = {"slots", "options", "strides"}
"""Small spaces in which a bound may be below the truth, because blocks share choices."""

QUANTILES = (0.02, 0.2, 0.6)


def choices_of(arch: Architecture) -> set[Choice]:
    """What a member has of what its space offers."""
    found: set[Choice] = set()

    def add(number: int, place: str, part: Part) -> None:
        found.add(Choice(number, place, part.name))
        found.update(Choice(number, place, part.name, key, value) for key, value in part.options)

    for number, stage in enumerate(arch.stages):
        found |= {Choice(number, "width", value=stage.width), Choice(number, "depth", value=len(stage.blocks))}
        add(number, "embedding", stage.embedding)
        add(number, "position_bias", stage.position_bias or Part(NO_BIAS))
        for block in stage.blocks:
            for slot, part in zip(SLOTS, block.parts(), strict=True):
                add(number, slot, part)
    add(len(arch.stages), "head", arch.head)
    return found


def at_random(seed: int, unknown: int = 0) -> Callable[[Unit], float | None]:
    """What a unit adds to a cost that is drawn, some of it not known; the same in every process."""

    def of_unit(unit: Unit) -> float | None:
        drawn = zlib.crc32(f"{seed} {unit}".encode()) % 1000
        return None if drawn < unknown else drawn // 10

    return of_unit


def total(arch: Architecture, of_unit: Callable[[Unit], float | None]) -> float:
    """Infinity where it is not known."""
    found = [of_unit(unit) for _, unit in units(arch)]
    return math.inf if None in found else sum(value for value in found if value is not None)


@pytest.mark.parametrize("space", SMALL.values(), ids=name_of)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("unknown", [0, 200])
def test_bounds_are_the_least_totals_of_all_members(space: SearchSpace, sign: int, unknown: int) -> None:
    for seed in range(3):
        of_unit = at_random(seed, unknown)
        truth: dict[Choice, float] = {}
        for arch in enumerate_members(space):
            found = total(arch, of_unit)
            found = found if math.isinf(found) else sign * found
            for choice in choices_of(arch):
                truth[choice] = min(found, truth.get(choice, math.inf))
        bounds = least_totals(space, remembered(of_unit, sign), 7)
        assert set(bounds) == {c for c in truth if c.place != "position_bias"}
        for choice, bound in bounds.items():
            assert bound <= truth[choice] + 7, choice
            if space.name not in TIED:
                assert bound == truth[choice] + 7, choice
        assert min(bounds.values()) == min(truth.values()) + 7


def limits_of(space: SearchSpace, name: str) -> list[Limits]:
    """Tight and loose limits of one cost, from both sides."""
    found = sorted(cost_named(name)(arch) or 0 for arch in enumerate_members(space))
    levels = [found[int(share * (len(found) - 1))] for share in QUANTILES]
    return [*({name: (None, level)} for level in levels), {name: (levels[1], levels[2])}, {name: (levels[2], None)}]


@pytest.mark.parametrize("name", ["macs", "params", "activations"])
@pytest.mark.parametrize("space", SMALL.values(), ids=name_of)
def test_every_feasible_member_is_kept(space: SearchSpace, name: str) -> None:
    for limits in limits_of(space, name):
        excess = outside(limits)
        feasible = {arch for arch in enumerate_members(space) if excess(arch) <= 0}
        left = narrowed(space, limits)
        members = enumerate_members(left)
        assert feasible <= members <= enumerate_members(space)
        assert (left.digest != space.digest) == (left is not space) == (len(members) < space.size)
        if name == "activations":  # which does not add up
            assert left is space
        elif space.name not in TIED:  # each choice that is left is one of a feasible network
            had = set[Choice]().union(*map(choices_of, feasible))
            blocks = {n for n, stage in enumerate(left.stages) if any(stage.depth)}
            kept = {c for c in every_choice(left) if c.place not in SLOTS or c.stage in blocks}
            assert kept <= had


@pytest.mark.parametrize("space", SMALL.values(), ids=name_of)
def test_several_limits_at_once(space: SearchSpace) -> None:
    costs = {
        arch: (cost_named("macs")(arch) or 0, cost_named("params")(arch) or 0) for arch in enumerate_members(space)
    }
    middle = sorted(costs.values())[len(costs) // 3]
    limits = {"macs": (None, middle[0]), "params": (None, middle[1])}
    feasible = {arch for arch, found in costs.items() if found[0] <= middle[0] and found[1] <= middle[1]}
    left = narrowed(space, limits)
    assert feasible
    assert feasible <= enumerate_members(left)
    assert narrowed(left, limits) is left


@pytest.mark.parametrize(
    "space",
    [
        space if space.name in ("digits", "images32", "mat") else pytest.param(space, marks=pytest.mark.slow)
        for space in named_spaces()
    ],
    ids=name_of,
)
def test_drawn_feasible_members_of_named_spaces_are_kept(space: SearchSpace) -> None:
    rng = random.Random(0)
    drawn = [space.sample(rng) for _ in range(200)]
    for name in ("macs", "params"):
        costs = sorted(cost_named(name)(arch) or 0 for arch in drawn)
        limits = {name: (costs[10] - (costs[10] - costs[0]) / 2, costs[20])}
        left = narrowed(space, limits)
        excess = outside(limits)
        near = [space.sample(rng, excess) for _ in range(20)]
        for arch in near + [arch for arch in drawn if excess(arch) <= 0]:
            assert left.decode(left.encode(arch)) == arch


def test_much_is_removed_where_little_fits() -> None:
    """The stages of `images32` whose largest choices alone are more than the smallest network leaves."""
    space = load_space("images32")
    least = macs(space.smallest(macs))
    left = narrowed(space, {"macs": (None, 1.05 * least)})
    assert left.size < space.size / 10**6
    before, after = ({gene.name: gene.choices for gene in found.genes} for found in (space, left))
    assert after.keys() < before.keys()
    assert list(after) == [name for name in before if name in after]
    for name, choices in after.items():
        assert list(choices) == [choice for choice in before[name] if choice in choices]
    lines = removed(space, left)
    assert any(line.startswith("stage 1: width 48") for line in lines)
    assert removed(space, space) == []


def test_only_the_smallest_is_left_within_its_own_cost() -> None:
    space = SMALL["turned"]
    least = macs(space.smallest(macs))
    assert narrowed(space, {"macs": (None, least)}).size == 1
    with pytest.raises(OutsideBudget) as error:
        narrowed(space, {"macs": (None, least - 1)})
    assert macs(error.value.nearest) == least
    most = macs(space.largest(macs))
    with pytest.raises(OutsideBudget):
        narrowed(space, {"macs": (most + 1, None)})


def test_a_stage_may_lose_all_its_blocks() -> None:
    """It still says what they would be, as a file of a space must."""
    space = SMALL["empty"]
    least = macs(space.smallest(macs))
    left = narrowed(space, {"macs": (None, least)})
    assert [stage.depth for stage in left.stages] == [(0,), (0,), (0,)]
    assert left.stages[2].blocks == space.stages[2].blocks
    assert left.size == len(enumerate_members(left))
    assert check(SearchSpace.from_toml(to_toml(left))) == left


def test_ties_on_removed_parts_are_dropped() -> None:
    space = SMALL["strides"]
    with temporary_costs():
        add_cost(Cost("dear", "", "", lambda arch: 0, "test", Additive(lambda unit: float("d_mixer" in str(unit)))))
        left = narrowed(space, {"dear": (None, 0.5)})
    assert space.stages[1].per_stage == ("mixer.d_mixer.sr_ratio",)
    assert left.stages[1].per_stage == ()
    assert [choice.name for choice in left.stages[0].blocks[SLOTS.index("mixer")]] == ["partial_attention"]
    assert check(SearchSpace.from_toml(to_toml(left))) == left


def test_what_only_has_units_of_unknown_cost_is_removed() -> None:
    space = SMALL["slots"]
    with temporary_costs():
        of_unit = Additive(lambda unit: None if "global_attention" in str(unit) else 1.0)
        add_cost(Cost("seen", "", "", lambda arch: 0, "test", of_unit))
        left = narrowed(space, {"seen": (None, 100)})
    assert all("global_attention" not in str(choice) for choice in every_choice(left))
    assert left.stages[0].width == space.stages[0].width


# Limits


def test_limits_agree_with_comparisons() -> None:
    arch = next(iter(enumerate_members(SMALL["one"])))
    with temporary_costs():
        for value, limit in (
            (0.1 + 0.2, 0.3),
            (0.3, 0.1 + 0.2),
            (3, 3),
            (1e-9, 1e9),
            (1e9, 1e-9),
            (0, 3),
            (3, 0),
            (0, 0),
        ):
            add_cost(Cost("tried", "", "", lambda arch, value=value: value, "test"))
            limits = {"tried": (limit, limit)}
            assert (above(limits)(arch) > 0) == (value > limit)
            assert (below(limits)(arch) > 0) == (value < limit)
            assert (outside(limits)(arch) > 0) == (value != limit)
        add_cost(Cost("tried", "", "", lambda arch: None, "test"))
        assert outside({"tried": (None, 3)})(arch) > 1
        assert outside({"tried": (3, None)})(arch) > 1
        assert outside({})(arch) <= 0


def test_a_limit_of_nothing() -> None:
    """It is kept by what costs nothing; of two networks outside it, the cheaper one is nearer."""
    excess = [violation(cost, 0) for cost in (0, 1, 2)]
    assert excess[0] == 0 < excess[1] < excess[2]
    assert [shortfall(cost, 0) for cost in (0, 1)] == [-1, -1]
    space = SMALL["turned"]
    with pytest.raises(OutsideBudget) as error:
        narrowed(space, {"macs": (None, 0)})
    assert macs(error.value.nearest) == macs(space.smallest(macs))
    assert narrowed(space, {"macs": (0, None)}) is space


def test_a_multiple_of_the_limits() -> None:
    arch = next(iter(enumerate_members(SMALL["one"])))
    macs = cost_named("macs")(arch) or 0
    assert above({"macs": (None, macs - 1)})(arch) > 0
    assert above({"macs": (None, macs - 1)}, 2.0)(arch) <= 0


# Writing


@pytest.mark.parametrize("name", space_names())
def test_a_space_is_written_as_it_is_read(name: str) -> None:
    read = read_space(name)
    # Checking a large space builds each of its parts.
    for space in (read, check(read)) if read.resolution < 128 else (read,):
        text = to_toml(space, f"A comment\n\nof {name}.")
        assert text.startswith("# A comment\n#\n# of ")
        assert SearchSpace.from_toml(text) == space


def test_odd_values_are_written_as_they_are_read() -> None:
    """Names that a TOML file has to quote, values that are lists of lists, and characters that must be escaped."""
    part = {
        "part": 'a"\\\x7f\n\u00e9\U0001f600',
        "a b": [True, False],
        "s": [[[1], []], [[2, 3]]],
        "f": [1e-300, 1e-20, 1.0],
    }
    slots = {slot: [part] if slot != "ffn" else [part, {"part": "b", "x": [[1]]}] for slot in SLOTS}
    stages = [{"width": [1], "depth": [0, 3], "embedding": [part], **slots, "per_stage": ["ffn", "ffn.b.x"]}]
    space = SearchSpace.from_dict(
        {"name": "# [x]", "stages": [*stages, {**stages[0], "norm": [{"part": "n"}]}], "head": [part]}
    )
    assert SearchSpace.from_toml(to_toml(space)) == space
