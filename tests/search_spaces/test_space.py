"""Laws 1 and 2 for every named space, for small spaces against brute force, and for random ones."""

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.architecture import SLOTS, Architecture, Part
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError, OutsideBudget
from search_spaces.named import check
from search_spaces.space import SearchSpace
from search_spaces.space.neighbours import Neighbours
from search_spaces.testing import SEEDS, Excess, SpaceLaws, name_of, named_spaces
from tests.often import often
from tests.search_spaces.small_spaces import BASE, SMALL, enumerate_members


@pytest.mark.parametrize("space", [*often(named_spaces()), *SMALL.values()], ids=name_of)
class TestSpaces(SpaceLaws):
    pass


@pytest.mark.parametrize("space", SMALL.values(), ids=name_of)
def test_size_is_the_number_of_members(space: SearchSpace) -> None:
    assert space.size == len(enumerate_members(space))


@pytest.mark.parametrize("space", SMALL.values(), ids=name_of)
def test_ends_are_the_extremes(space: SearchSpace) -> None:
    costs = {arch: macs(arch) for arch in enumerate_members(space)}
    assert macs(space.smallest(macs)) == min(costs.values())
    assert macs(space.largest(macs)) == max(costs.values())


@pytest.mark.parametrize("space", SMALL.values(), ids=name_of)
def test_every_affordable_budget_is_met(space: SearchSpace) -> None:
    least = min(map(macs, enumerate_members(space)))
    arch = space.sample(random.Random(0), Excess(space, least))
    assert macs(arch) == least
    with pytest.raises(OutsideBudget) as error:
        space.sample(random.Random(0), Excess(space, least - 1))
    assert macs(error.value.nearest) == least


@pytest.mark.parametrize("space", [space for space in SMALL.values() if space.size <= 200], ids=name_of)
def test_sampling_reaches_every_member(space: SearchSpace) -> None:
    rng = random.Random(0)
    assert {space.sample(rng) for _ in range(100 * space.size)} == enumerate_members(space)


def test_mutation_reaches_every_neighbour() -> None:
    space, rng = SMALL["slots"], random.Random(0)
    arch = space.decode((0,) * len(space.genes))
    reached = {space.mutate(arch, rng, rate=0) for _ in range(500)}
    steps = set()
    for position in space.active(space.encode(arch)):
        for index in range(1, len(space.genes[position].choices)):
            steps.add(space.decode(tuple(index if i == position else 0 for i in range(len(space.genes)))))
    assert reached == steps


@pytest.mark.parametrize("space", SMALL.values(), ids=SMALL)
def test_genes_decoded_after_similar_ones(space: SearchSpace) -> None:
    """What a descent remembers of one stage is right beside any other, and equal networks share their stages."""
    near, rng = Neighbours(space), random.Random(0)
    seen: dict[Architecture, tuple[int, ...]] = {}
    for _ in range(200):
        genes = tuple(rng.randrange(len(gene.choices)) for gene in space.genes)
        arch = space.decode(genes)
        assert near.decode(genes) == arch
        assert tuple(near.active(genes)) == space.active(genes)
        pieces = tuple(map(id, near.pieces(genes)[0]))
        assert seen.setdefault(arch, pieces) == pieces


def test_repair_takes_the_smallest_steps_down() -> None:
    """One choice at a time, to the next cheaper value: a repaired member stays near the one that was drawn."""
    text = BASE.replace("ratio = 2 }", "ratio = [1, 2, 3, 4] }").replace("width = [8, 16]", "width = 8")
    space = check(SearchSpace.from_toml(text.replace("depth = [1, 2]", "depth = 1").replace("[3, 5]", "3")))
    ratio = next(position for position, gene in enumerate(space.genes) if gene.name.endswith("ratio"))
    archs = [space.decode(tuple(i if p == ratio else 0 for p in range(len(space.genes)))) for i in range(4)]
    costs = [macs(arch) for arch in archs]
    assert costs == sorted(set(costs))
    for seed in range(5):
        for over in range(1, 4):
            assert space.repair(archs[over], random.Random(seed), Excess(space, costs[over] - 1)) == archs[over - 1]
        assert space.repair(archs[3], random.Random(seed), Excess(space, costs[0])) == archs[0]


def test_spaces_do_not_lend_each_other_their_values() -> None:
    """2 in a file as it is read, 2.0 in the checked space: equal numbers, other texts and other digests."""
    raw = SearchSpace.from_toml(BASE)
    for first, second in ((raw, check(raw)), (check(raw), raw)):
        genes = (0,) * len(raw.genes)
        archs = [first.decode(genes), second.decode(genes)]
        ratios = [type(dict(arch.stages[0].blocks[0].ffn.options)["ratio"]) for arch in archs]
        assert ratios == ([int, float] if first is raw else [float, int])


def test_ties_hold_in_every_member() -> None:
    for arch in enumerate_members(SMALL["options"]):
        ratios = {dict(b.mixer.options)["attention_ratio"] for b in arch.stages[0].blocks if b.mixer.name == "d_mixer"}
        assert len(ratios) <= 1
    for arch in enumerate_members(SMALL["slots"]):
        assert all(len({block.mixer for block in stage.blocks}) <= 1 for stage in arch.stages)


def test_genes_know_what_they_choose() -> None:
    """Whatever they are called: an option that is called like a slot is an option, and one that names parts chooses a part."""
    text = BASE.replace('mixer = [{ part = "depthwise_conv"', 'mixer = [{ part = "p" }, { part = "q", mixer = [1, 2]')
    space = dataclasses.replace(
        SearchSpace.from_toml(text.replace("ratio = 2", "ratio = [1, 2]")), per_network=("ffn",)
    )
    assert {gene.name: (gene.chosen, gene.stage) for gene in space.genes} == {
        "s0.width": ("width", 0), "s0.depth": ("depth", 0), "s0.mixer": ("part", 0), "s0.mixer.q.mixer": ("option", 0),
        "s0.mixer.q.kernel_size": ("option", 0), "ffn.mlp.ratio": ("option", None), "head.linear_head.norm": ("option", 1),
    }  # fmt: skip
    known = {gene.name: gene.chosen for gene in check(SearchSpace.from_toml(BASE)).genes}
    assert known["head.linear_head.norm"] == "part"
    assert known["s0.mixer.depthwise_conv.kernel_size"] == "option"


def test_a_broken_tie_is_refused() -> None:
    space = SMALL["slots"]
    genes = tuple(len(gene.choices) - 1 for gene in space.genes)
    arch = space.decode(genes)
    first, other = arch.stages[0].blocks[0], SMALL["slots"].decode((0,) * len(genes)).stages[0].blocks[0]
    stage = dataclasses.replace(arch.stages[0], blocks=(first, other))
    with pytest.raises(InputError, match=r"s0\.mixer differs between blocks"):
        space.encode(dataclasses.replace(arch, stages=(stage, *arch.stages[1:])))


def test_incomplete_and_foreign_members_are_refused() -> None:
    space = SMALL["slots"]
    arch = space.decode((0,) * len(space.genes))
    bare = dataclasses.replace(arch, head=Part.of("linear_head", norm="none"))
    with pytest.raises(InputError, match="complete the architecture first"):
        space.encode(bare)
    for head in (Part.of("other"), Part.of("linear_head", norm="group_norm", dropout=0.0)):
        with pytest.raises(InputError, match="head"):
            space.encode(dataclasses.replace(arch, head=head))
    wide = dataclasses.replace(arch.stages[0], width=9)
    with pytest.raises(InputError, match=r"s0\.width is 9"):
        space.encode(dataclasses.replace(arch, stages=(wide, arch.stages[1])))
    with pytest.raises(InputError, match="number of stages"):
        space.encode(dataclasses.replace(arch, stages=arch.stages[:1]))


# Random spaces, of parts that nobody has to build


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Few stages, few parts with few options, and any ties; at most some ten thousand combinations of genes."""

    def slot(most: int) -> list[dict[str, Any]]:
        names = draw(st.lists(st.sampled_from("pqr"), min_size=1, max_size=most, unique=True))
        keys = st.lists(st.sampled_from("xy"), max_size=most, unique=True)
        return [{"part": name} | {key: list(range(draw(st.integers(1, 2)))) for key in draw(keys)} for name in names]

    stages = []
    for _ in range(draw(st.integers(1, 2))):
        blocks = {place: slot(2 if place in ("mixer", "ffn") else 1) for place in SLOTS}
        ties = [place for place in SLOTS if len(blocks[place]) > 1]
        ties += [f"{place}.{c['part']}.{key}" for place in SLOTS for c in blocks[place] for key in c if key != "part"]
        stages.append(
            blocks
            | {
                "width": draw(st.sampled_from([[4], [4, 8]])),
                "depth": draw(st.sampled_from([[0], [1], [0, 1], [1, 2], [0, 2]])),
                "embedding": slot(1),
                "per_stage": draw(st.lists(st.sampled_from(ties), unique=True)) if ties else [],
            }
        )
    return SearchSpace.from_dict({"name": "random", "stages": stages, "head": slot(1)})


many = settings(max_examples=60, deadline=None)


@many
@given(spaces(), SEEDS)
def test_random_spaces_encode_and_decode(space: SearchSpace, seed: int) -> None:
    rng = random.Random(seed)
    genes = tuple(rng.randrange(len(gene.choices)) for gene in space.genes)
    arch = space.decode(genes)
    code = space.encode(arch)
    assert space.decode(code) == arch
    assert code == tuple(index if i in space.active(genes) else 0 for i, index in enumerate(genes))
    assert SearchSpace.from_dict(space.to_dict()) == space


@many
@given(spaces(), SEEDS)
def test_random_spaces_stay_inside(space: SearchSpace, seed: int) -> None:
    rng = random.Random(seed)
    one, other = space.sample(rng), space.sample(rng)
    mutant = space.mutate(one, rng, 0.3)
    assert space.contains(mutant)
    assert (mutant != one) == (space.size > 1)
    assert space.contains(space.crossover(one, other, rng))


@many
@given(spaces())
def test_random_spaces_know_their_size(space: SearchSpace) -> None:
    combinations = 1
    for gene in space.genes:
        combinations *= len(gene.choices)
    assert space.size <= combinations
    if combinations <= 5000:
        assert space.size == len(enumerate_members(space))
