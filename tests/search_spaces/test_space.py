"""Laws 1 and 2 for every named space, for small spaces against brute force, and for random ones; and the errors of wrong files."""

import dataclasses
import itertools
import random
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.architecture import SLOTS, Architecture, Part
from search_spaces.completing import completed
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError, OutsideBudget
from search_spaces.named import check, load_space, read_space, space_file, space_names
from search_spaces.space import SearchSpace
from search_spaces.space.neighbours import Neighbours
from search_spaces.testing import SEEDS, Excess, SpaceLaws, name_of, named_spaces

HEADER = """
name = "{name}"
in_channels = 2
num_classes = 3
resolution = 8
head = {{ part = "linear_head", norm = ["none", "layer_norm"] }}
"""

BLOCK = """
[block]
position = [{ part = "none" }]
norm = [{ part = "layer_norm" }]
scale = [{ part = "none" }]
"""

TEXTS = {
    # One member: nothing to choose.
    "one": """
head = { part = "linear_head" }
[block]
position = { part = "dpe", kernel_size = 3 }
norm = { part = "group_norm" }
scale = { part = "layer_scale", init = 0.1 }
mixer = { part = "depthwise_conv", kernel_size = 3 }
ffn = { part = "mlp", ratio = 1 }
[[stages]]
width = 8
depth = 2
embedding = { part = "conv_stem", stride = 2 }
""",
    # Stages without blocks, alone and beside deeper ones.
    "empty": BLOCK
    + """
mixer = [{ part = "depthwise_conv", kernel_size = [3, 5] }]
ffn = [{ part = "mlp", ratio = [1, 2] }]
[[stages]]
width = [4, 8]
depth = [0, 1]
embedding = [{ part = "conv_stem", stride = [1, 2] }, { part = "conv_downsampling" }]
[[stages]]
width = 8
depth = 0
embedding = { part = "conv_downsampling" }
[[stages]]
width = 8
depth = [0, 2]
embedding = { part = "conv_downsampling" }
""",
    # Whole slots chosen once a stage.
    "slots": BLOCK
    + """
mixer = [{ part = "depthwise_conv", kernel_size = [3, 5] }, { part = "global_attention", head_dim = 4 }]
ffn = [{ part = "mlp", ratio = [1, 2] }, { part = "ms_ffn", ratio = 1 }]
[[stages]]
width = [8, 12]
depth = 2
embedding = { part = "conv_stem", stride = 2 }
per_stage = ["mixer"]
[[stages]]
width = 16
depth = [0, 2]
embedding = { part = "conv_downsampling" }
per_stage = ["ffn", "mixer"]
""",
    # Single options chosen once a stage: they matter only where a block uses their part.
    "options": BLOCK
    + """
ffn = { part = "mlp", ratio = 1 }
mixer = [
    { part = "depthwise_conv", kernel_size = [3, 5] },
    { part = "d_mixer", attention_ratio = [0.25, 0.75], head_dim = 2, kernel_size = [3, 5] },
]
[[stages]]
width = 8
depth = [0, 1, 2]
embedding = { part = "conv_stem", stride = 2 }
per_stage = ["mixer.d_mixer.attention_ratio", "mixer.depthwise_conv.kernel_size"]
[[stages]]
width = [8, 16]
depth = 1
embedding = { part = "conv_downsampling" }
per_stage = ["ffn", "mixer.d_mixer.kernel_size"]
""",
    # A larger stride is cheaper: one mixer costs more than the other with its first option and less with its last.
    "strides": BLOCK
    + """
ffn = { part = "mlp", ratio = 1 }
[[stages]]
width = 8
depth = [1, 2]
embedding = { part = "conv_stem", stride = 1 }
mixer = [
    { part = "partial_attention", head_dim = 4, foreground_ratio = 0.5 },
    { part = "d_mixer", head_dim = 4, sr_ratio = [1, 2, 4], kernel_size = 3 },
]
[[stages]]
width = [8, 16]
depth = [0, 1]
embedding = { part = "conv_downsampling", kernel_size = 1, stride = 1 }
mixer = [
    { part = "d_mixer", head_dim = 4, sr_ratio = [1, 2, 4], kernel_size = 3 },
    { part = "partial_attention", head_dim = 4, foreground_ratio = 0.5 },
]
per_stage = ["mixer.d_mixer.sr_ratio"]
""",
    # Parts and unordered values, costly ones first: the cheapest member is not where the choices begin.
    "turned": BLOCK
    + """
mixer = { part = "depthwise_conv", kernel_size = 3 }
ffn = [{ part = "ms_ffn", ratio = [1, 4], scales = [[3, 5], [1, 9]] }, { part = "mlp", ratio = 2 }]
[[stages]]
width = [8, 16]
depth = [1, 2]
embedding = [{ part = "conv_stem", stride = 1 }, { part = "conv_downsampling", stride = [1, 2], kernel_size = [7, 1] }]
""",
}  # fmt: skip


def text_of(name: str) -> str:
    text = TEXTS[name]
    header = HEADER.format(name=name)
    if "head = { part" in text:
        header, text = header.partition("head")[0], text
    return header + text


@cache
def hand_written(name: str) -> SearchSpace:
    return check(SearchSpace.from_toml(text_of(name)))


SMALL = {name: hand_written(name) for name in TEXTS}


@cache
def enumerate_members(space: SearchSpace) -> frozenset[Architecture]:
    """Every member, from every combination of genes."""
    return frozenset(map(space.decode, itertools.product(*(range(len(gene.choices)) for gene in space.genes))))


@pytest.mark.parametrize("space", [*named_spaces(), *SMALL.values()], ids=name_of)
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


# Named spaces and files


ONE_DIGEST = "dff5a3f9d41c"
"""Of the text "one" as it stands: do not change it."""


def test_digests_are_frozen_and_the_same_in_other_processes() -> None:
    assert SearchSpace.from_toml(text_of("one")).digest == ONE_DIGEST
    assert len({space.digest for space in SMALL.values()}) == len(SMALL)
    code = (
        "import sys; from search_spaces.space import SearchSpace; print(SearchSpace.from_toml(sys.stdin.read()).digest)"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=text_of("options"),
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            check=True,
        )
        assert done.stdout.strip() == SearchSpace.from_toml(text_of("options")).digest


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    turned = text_of("one").replace("width = 8\ndepth = 2\n", "depth = 2\nwidth = 8\n")
    assert turned != text_of("one")
    assert SearchSpace.from_toml(turned).digest == SearchSpace.from_toml(text_of("one")).digest


@pytest.mark.parametrize("name", space_names())
def test_named_spaces_say_what_they_are(name: str) -> None:
    space = load_space(name)
    assert space.name == name
    assert space.about
    assert space == check(space), "a loaded space is complete"
    assert load_space(space_file(name)) == space
    raw = read_space(name)  # which knows no rules of parts, and counts equal functions more than once
    assert raw.size == space.size if space.functions is None else raw.size > space.size


def test_unknown_spaces() -> None:
    with pytest.raises(InputError) as error:
        load_space(space_names()[0] + "x")
    assert error.value.instead == f"space={space_names()[0]}"
    with pytest.raises(InputError, match="does not exist") as error:
        load_space("missing.toml")
    assert error.value.instead.startswith("space=")


def test_a_space_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text_of("slots"))
    assert load_space(path) == load_space(str(path)) == SMALL["slots"]
    path.write_text("name = ")
    with pytest.raises(InputError, match=r"mine\.toml is not TOML"):
        load_space(path)


BASE = HEADER.format(name="wrong") + BLOCK + """
mixer = [{ part = "depthwise_conv", kernel_size = [3, 5] }]
ffn = [{ part = "mlp", ratio = 2 }]
[[stages]]
width = [8, 16]
depth = [1, 2]
embedding = { part = "conv_stem", stride = 2 }
per_stage = ["mixer"]
"""  # fmt: skip


def test_the_base_of_the_wrong_files_is_right() -> None:
    assert check(SearchSpace.from_toml(BASE)).size > 1


WRONG = [
    # What is changed into what, and what the message has to say (given; allowed or instead).
    ('name = "wrong"', "", "lacks name", "name"),
    ("head = {", "hed = {", "'hed'", "head ="),
    ("num_classes = 3", "num_clases = 3", "'num_clases'", "num_classes ="),
    ("in_channels = 2", "in_channels = 0", "in_channels is 0", "1"),
    ("in_channels = 2", "in_channels = [1, 3]", "in_channels is [1, 3]", "in_channels ="),
    ("resolution = 8", 'resolution = "8"', "resolution is '8'", "resolution ="),
    ("resolution = 8", "resolution = 8.5", "resolution is 8.5", "resolution ="),
    ("[[stages]]", "[stages]", "no stages", "[[stages]]"),
    ("[[stages]]", "[[stage]]", "'stage'", "stages ="),
    ("[block]", "[blocks]", "'blocks'", "block ="),
    ("[block]", "block = 3\n[other]", "other", "block"),
    ("width = [8, 16]", "", "stage 0 lacks width", "width"),
    ("width = [8, 16]", "with = [8, 16]", "'with'", "width ="),
    ("width = [8, 16]", "width = [16, 8]", "width is [16, 8]", "ascending"),
    ("width = [8, 16]", "width = [8, 8]", "width is [8, 8]", "ascending"),
    ("width = [8, 16]", "width = []", "width is []", "ascending"),
    ("width = [8, 16]", "width = [0, 8]", "width is [0, 8]", "from 1"),
    ("width = [8, 16]", "width = true", "width is True", "whole numbers"),
    ("width = [8, 16]", "width = [8, 8.5]", "width is [8, 8.5]", "whole numbers"),
    ("depth = [1, 2]", "depth = -1", "depth is -1", "from 0"),
    ("ratio = 2", "ratio = [4, 1]", "mlp.ratio is [4, 1]", "ratio = [1, 4]"),
    ("ratio = 2", "ratio = [1, 4, 2.5]", "mlp.ratio is [1, 4, 2.5]", "ratio = [1, 2.5, 4]"),
    ('"mlp", ratio = 2', '"ms_ffn", scales = [[1, 3], [3]]', "scales is [[1, 3], [3]]", "scales = [[3], [1, 3]]"),
    ('"mlp", ratio = 2', '"rp_cpe_ffn", diverse = [true, false]', "[true, false]", "diverse = [false, true]"),
    ("depth = [1, 2]", 'depth = "two"', "depth is 'two'", "depth ="),
    ('ffn = [{ part = "mlp", ratio = 2 }]', "", "lacks ffn", "ffn"),
    ('ffn = [{ part = "mlp", ratio = 2 }]', "ffn = []", "ffn offers []", "at least one part"),
    ('ffn = [{ part = "mlp", ratio = 2 }]', "ffn = 3", "ffn has 3", "part"),
    ('ffn = [{ part = "mlp", ratio = 2 }]', 'ffn = ["mlp"]', "ffn has 'mlp'", "part"),
    ('ffn = [{ part = "mlp", ratio = 2 }]', "ffn = [{ ratio = 2 }]", "ffn has", "part"),
    ('ffn = [{ part = "mlp", ratio = 2 }]', 'ffn = [{ part = "mlp" }, { part = "mlp" }]', "['mlp', 'mlp']", "once"),
    ("ratio = 2 }", "ratio = [] }", "ratio is []", "at least one value"),
    ("ratio = 2 }", "ratio = [2, 2] }", "ratio is [2, 2]", "each once"),
    ("ratio = 2 }", "ratio = [2, 2.0] }", "ratio is [2, 2.0]", "each once"),
    ("ratio = 2 }", "ratio = { a = 1 } }", "ffn.ratio is {'a': 1}", "a number"),
    ("ratio = 2 }", "ratio = 1979-05-27 }", "ratio", "a number"),
    ("ratio = 2 }", "ratio = nan }", "ratio", "number"),
    ('per_stage = ["mixer"]', 'per_stage = ["mixr"]', "'mixr'", 'per_stage = ["mixer"]'),
    ('per_stage = ["mixer"]', 'per_stage = ["mixer.mlp.ratio"]', "'mixer.mlp.ratio'", "ffn.mlp.ratio"),
    ('per_stage = ["mixer"]', 'per_stage = "mixer"', "per_stage", "per_stage = ["),
    ('per_stage = ["mixer"]', "per_stage = 3", "per_stage", "per_stage = ["),
    ('per_stage = ["mixer"]', 'per_stage = [1, "mixer"]', "per_stage", "per_stage = ["),
    # What only the registered parts know.
    ('part = "mlp"', 'part = "mpl"', "'mpl'", 'part = "mlp"'),
    ('part = "conv_stem"', 'part = "mlp"', "'mlp'", "conv_stem"),
    ("ratio = 2 }", "ratios = 2 }", "'ratios'", "ratio ="),
    ("ratio = 2 }", 'ratio = "2" }', "mlp.ratio is '2'", "a number"),
    ("ratio = 2 }", "ratio = 0 }", "ratio is 0", "above 0"),
    ("kernel_size = [3, 5]", "kernel_size = [3, 4]", "kernel_size is 4", "odd"),
    ("kernel_size = [3, 5]", "kernel_size = 3.0", "kernel_size is 3.0", "whole number"),
    ("kernel_size = [3, 5]", "kernel_size = [[3, 5]]", "kernel_size is (3, 5)", "whole number"),
    (
        'mixer = [{ part = "depthwise_conv", kernel_size = [3, 5] }]',
        'mixer = [{ part = "ems" }]',
        "ems has 8 channels",
        "width = 16",
    ),
    ('part = "mlp", ratio = 2', 'part = "ms_ffn", scales = [1, 3]', "scales is 1", "a list"),
    ('part = "mlp", ratio = 2', 'part = "ms_ffn", scales = [[3, 1]]', "scales is [3, 1]", "ascending"),
]


@pytest.mark.parametrize(("before", "after", "given", "help_"), WRONG, ids=lambda value: str(value).strip()[:40])
def test_wrong_files(before: str, after: str, given: str, help_: str) -> None:
    assert BASE.count(before) == 1
    with pytest.raises(InputError) as error:
        check(SearchSpace.from_toml(BASE.replace(before, after), "wrong.toml"))
    assert given in error.value.given
    assert help_ in f"{error.value.allowed}\n{error.value.instead}"
    assert error.value.allowed
    assert error.value.instead


@pytest.mark.parametrize(
    "mixer",
    [
        '"d_mixer", head_dim = 2, local = ["idconv", "depthwise"]',  # words have no order
        '"d_mixer", head_dim = 2, sr_ratio = [4, 2], overlap = [true, false]',  # a larger number is no larger network
        '"ems", static_split = [[0.25, 0.5, 0.25], [0.25, 0.25, 0.5]]',  # lists of one length
    ],
)
def test_what_has_no_order_is_listed_in_any(mixer: str) -> None:
    space = SearchSpace.from_toml(BASE.replace('"depthwise_conv", kernel_size = [3, 5]', mixer))
    given, found = (dict(s.stages[0].blocks[SLOTS.index("mixer")][0].options) for s in (space, completed(space)))
    assert given == {key: found[key] for key in given}


@pytest.mark.parametrize(
    "data", [[], "x", None, {"name": "a", "stages": [3], "head": {}}, {"name": "a", "stages": "x", "head": {}}]
)
def test_wrong_data(data: Any) -> None:
    with pytest.raises(InputError):
        SearchSpace.from_dict(data)


def test_errors_of_a_size_say_where() -> None:
    text = BASE.replace(
        'mixer = [{ part = "depthwise_conv", kernel_size = [3, 5] }]',
        'mixer = { part = "ems" }',
    )
    with pytest.raises(InputError, match=r"stages\.0\.blocks of space wrong"):
        check(SearchSpace.from_toml(text))
