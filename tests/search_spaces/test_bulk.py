"""Costs looked up by genes equal the costs of the decoded architectures."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from search_spaces.architecture import Part
from search_spaces.costs import Additive, cost_named, register_cost, temporary_costs
from search_spaces.costs.bulk import SpaceCosts
from search_spaces.errors import InputError
from search_spaces.genes import GeneMatrix
from search_spaces.named import check, load_space, space_names
from search_spaces.space import SearchSpace
from search_spaces.units import Unit, units

# Ties of a slot, of an option of it and of options of other slots; norms and scales by block; no blocks; two strides.
TINY = """
name = "tiny"
in_channels = 1
num_classes = 3
resolution = 8
head = [{ part = "linear_head", norm = ["none", "layer_norm"] }, { part = "conv_head", hidden = 8 }]

[block]
position = [{ part = "none" }, { part = "dpe", kernel_size = [3, 5] }]
norm = [{ part = "layer_norm" }, { part = "none" }]
mixer = [
    { part = "depthwise_conv", kernel_size = [3, 5] },
    { part = "partial_attention", head_dim = [4, 8], foreground_ratio = [0.25, 0.5], head_expansion = [1, 2] },
    { part = "d_mixer", attention_ratio = 0.5, head_dim = 4, sr_ratio = 1, kernel_size = 3 },
    { part = "none" },
]
ffn = [{ part = "mlp", ratio = [1, 2] }, { part = "dw_mlp", ratio = 2, kernel_size = [3, 5] }]
scale = [{ part = "none" }, { part = "layer_scale" }]

[[stages]]
width = [8, 16]
depth = [0, 1, 2]
embedding = [{ part = "conv_stem", stride = [2, 4] }, { part = "conv_downsampling", stride = 2 }]
position_bias = [{ part = "none" }, { part = "dense_table", num_heads = [1, 2], map_size = 4, sr_ratio = 1 }]
per_stage = ["position", "mixer.partial_attention.head_dim", "mixer.depthwise_conv.kernel_size", "ffn.dw_mlp.kernel_size"]

[[stages]]
width = 16
depth = 1
embedding = [{ part = "conv_downsampling" }]
per_stage = ["norm", "scale", "ffn", "ffn.mlp.ratio"]
"""


def tiny() -> SearchSpace:
    return check(SearchSpace.from_toml(TINY))


def random_genes(space: SearchSpace, count: int) -> np.ndarray:
    sizes = [len(gene.choices) for gene in space.genes]
    return np.random.default_rng(0).integers(0, sizes, size=(count, len(sizes)))


@pytest.mark.parametrize("name", ["tiny", *(n for n in space_names() if n != "unified")])
def test_equals_the_cost_of_the_architecture(name: str) -> None:
    space = tiny() if name == "tiny" else load_space(name)
    genes = random_genes(space, 30 if name == "tiny" else 2)
    costs = SpaceCosts(space, ["macs", "params"])
    found = costs.costs(genes)
    for number, row in enumerate(map(tuple, genes.tolist())):
        arch = space.decode(row)
        for cost in ("params", "macs"):
            assert found[cost][number] == cost_named(cost)(arch)
        one = {cost: values[number] for cost, values in found.items()}
        assert costs.one(row) == one
        assert costs.one(space.encode(arch)) == one  # genes that do not matter do not matter


@pytest.mark.slow
def test_a_thousand_of_unified() -> None:
    space = load_space("unified")
    genes = random_genes(space, 1000)
    found = SpaceCosts(space, ["macs", "params"]).costs(genes)
    for number, row in enumerate(map(tuple, genes.tolist())):
        arch = space.decode(row)
        assert (found["macs"][number], found["params"][number]) == (
            cost_named("macs")(arch),
            cost_named("params")(arch),
        )


@pytest.fixture
def made() -> Iterator[str]:
    """A cost that all of a unit's description changes, with a base, that is not known for one kind of unit."""

    def of_unit(unit: Unit) -> float | None:
        return None if Part("none") in unit.parts and unit.kind == "ffn" else float(1 + sum(str(unit).encode()) % 97)

    with temporary_costs():

        @register_cost("made", additive=Additive(of_unit, base=2.5))
        def cost(arch: object) -> float | None:
            found = [of_unit(unit) for _, unit in units(arch)]  # type: ignore[arg-type]
            return None if None in found else 2.5 + sum(filter(None, found))

        yield "made"


def test_every_detail_of_a_unit_counts(made: str) -> None:
    space = tiny()
    genes = random_genes(space, 400)
    costs = SpaceCosts(space, [made, "params"])
    found = costs.costs(genes)
    unknown = 0
    for number, row in enumerate(map(tuple, genes.tolist())):
        expected = cost_named(made)(space.decode(row))
        unknown += expected is None
        assert (np.isnan(found[made][number]) and expected is None) or found[made][number] == expected
        assert costs.one(row).get(made) == expected
        assert costs.one(row)["params"] == found["params"][number]
    assert 10 < unknown < 390


def test_counted_before_or_while_reading() -> None:
    space, told = tiny(), list[tuple[int, int]]()
    before, meanwhile = SpaceCosts(space, ["macs"]), SpaceCosts(space, ["macs"])
    before.count_all(lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))
    genes = random_genes(space, 300)
    assert np.array_equal(before.costs(genes)["macs"], meanwhile.costs(genes)["macs"])
    known = [table.values for stage in before.stages for table in (stage.embedding, stage.position, stage.ffn)]
    assert all((values >= 0).all() for values in known)


def test_members_are_written_as_encode_gives_them() -> None:
    space = tiny()
    matrix, rng = GeneMatrix(space), random.Random(0)
    for _ in range(50):
        expected = space.encode(space.sample(rng))
        given = np.array([expected])
        found = np.zeros_like(given)
        for stage in matrix.stages:
            zero = np.zeros(1, np.intp)
            stage.width.write(found, stage.width.read(given))
            stage.depth.write(found, stage.depth.read(given))
            for slot in (stage.embedding, stage.bias):
                slot.write(found, zero, zero, slot.read(given, zero, zero))
            blocks = np.arange(stage.depth.values[stage.depth.read(given)[0]])
            for slot in stage.slots.values():
                slot.write(found, 0 * blocks, blocks, slot.read(given, 0 * blocks, blocks))
        matrix.head.write(found, zero, zero, matrix.head.read(given, zero, zero))
        assert tuple(found[0].tolist()) == expected


def test_what_cannot_be_looked_up() -> None:
    space = tiny()
    with pytest.raises(InputError, match="activations does not add up"):
        SpaceCosts(space, ["activations"])
    with pytest.raises(InputError, match="unknown cost"):
        SpaceCosts(space, ["mac"])
    with pytest.raises(ValueError, match="at least one"):
        SpaceCosts(space, [])
    costs = SpaceCosts(space, ["macs"])
    genes = random_genes(space, 3)
    for wrong in (genes[:, 1:], genes[0], genes.astype(float)):
        with pytest.raises(ValueError, match="genes"):
            costs.costs(wrong)
    genes[1, 2] = 99
    with pytest.raises(ValueError, match=r"choices, not indices from \d+ to 99"):
        costs.costs(genes)
    with pytest.raises(ValueError, match="1 indices"):
        costs.one((0,))
    assert costs.costs(genes[:0])["macs"].shape == (0,)


def test_what_no_member_has_is_not_counted() -> None:
    """Branches of a stage that never has blocks."""
    space = tiny()
    bare = replace(space, stages=(space.stages[0], replace(space.stages[1], depth=(0,))))
    kinds = Counter[str]()

    def of_unit(unit: Unit) -> float:
        kinds[f"{unit.kind} {unit.height}"] += 1
        return 1.0

    with temporary_costs():
        register_cost("steps", additive=Additive(of_unit))(lambda arch: None)
        costs = SpaceCosts(bare, ["steps"])
        costs.count_all()
        stages = [{kind.split()[0] for kind in kinds if kind.endswith(f" {height}")} for height in (4, 1)]
        found = costs.costs(genes := random_genes(bare, 50))["steps"]
        assert found.tolist() == [sum(1 for _ in units(bare.decode(tuple(row)))) for row in genes.tolist()]
    assert stages[0] >= {"mixer", "ffn", "position"}
    assert stages[1].isdisjoint({"mixer", "ffn", "position"})
