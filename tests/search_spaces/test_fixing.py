"""A sub-space has exactly the members of the space that have what is fixed, with the same digests."""

import random

import pytest

from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.fixing import choices_by_path, fixed
from search_spaces.named import load_space
from tests.search_spaces.small_spaces import SMALL, enumerate_members


def values_at(arch: Architecture, path: str) -> set[object]:
    """What an architecture has at a path: one value for each block; nothing where the part of an option is absent."""
    first, *names = path.split(".")
    if first == "head":
        parts = [arch.head]
    else:
        stage, place = arch.stages[int(names[0])], names[1]
        if place in ("width", "depth"):
            return {stage.width if place == "width" else len(stage.blocks)}
        names = names[2:]
        if place == "embedding":
            parts = [stage.embedding]
        elif place == "position_bias":
            parts = [stage.position_bias] if stage.position_bias else []
        else:
            parts = [getattr(block, place) for block in stage.blocks]
    if not names:
        return {part.name for part in parts}
    return {dict(part.options)[names[1]] for part in parts if part.name == names[0]}


@pytest.mark.parametrize("name", SMALL)
def test_the_members_that_have_it(name: str) -> None:
    space, rng = SMALL[name], random.Random(0)
    members = {arch.digest: arch for arch in enumerate_members(space)}
    for path, choices in choices_by_path(space).items():
        for choice in choices[-1:] if len(choices) > 1 else ():
            value = choice.part if choice.part and not choice.option else choice.value
            if path.endswith("position_bias"):
                continue  # which an architecture without one leaves out
            sub = fixed(space, [f"{path}={list(value) if isinstance(value, tuple) else value}"])
            expected = {digest for digest, arch in members.items() if values_at(arch, path) <= {value}}
            assert sub.size == len(expected)
            assert {arch.digest for arch in (sub.sample(rng) for _ in range(5))} <= expected
            names = {gene.name for gene in space.genes}
            assert {gene.name for gene in sub.genes} <= names


@pytest.mark.parametrize("name", ["transxnet", "unified"])
def test_named_spaces(name: str) -> None:
    """Drawn members of the sub-space are members of the space."""
    space, rng = load_space(name), random.Random(0)
    last = len(space.stages) - 1
    mixer = space.stages[last].blocks[2][-1].name
    sub = fixed(space, [f"stages.{last}.mixer={mixer}"])
    assert 0 < sub.size <= space.size
    for _ in range(3):
        arch = sub.sample(rng)
        assert space.contains(arch)
        assert values_at(arch, f"stages.{last}.mixer") == {mixer}


def test_what_is_fixed_together() -> None:
    space = load_space("digits")
    arch = fixed(space, ["stages.*.mixer=d_mixer", "stages.0.width=32", "stages.*.ffn.ms_ffn.scales=1+3"]).sample(
        random.Random(1)
    )
    assert all(block.mixer.name == "d_mixer" for stage in arch.stages for block in stage.blocks)
    assert arch.stages[0].width == 32
    for text in ("[1, 3]", "[1,3]", "1+3"):
        sub = fixed(space, [f"stages.0.ffn.ms_ffn.scales={text}", "stages.0.ffn=ms_ffn"])
        assert values_at(sub.sample(random.Random(2)), "stages.0.ffn.ms_ffn.scales") == {(1, 3)}
    twice = fixed(space, ["stages.*.ffn.mlp.ratio=2", "stages.0.ffn.mlp.ratio=2"])
    assert twice.size == fixed(space, ["stages.*.ffn.mlp.ratio=2"]).size
    assert fixed(space, []) is space


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["stages.0.mixr=d_mixer"], ("stages.0.mixr", "stages.0.mixer", "search.fix=stages.0.mixer=VALUE")),
        (["stages.9.mixer=d_mixer"], ("stages.9.mixer",)),
        (["stages.0.mixer=none"], ("cannot be 'none'", "d_mixer")),
        (["stages.*.width=7"], ("stages.0.width", "cannot be '7'")),
        (["stages.0.depth=1.5"], ("stages.0.depth", "cannot be '1.5'")),
        (["stages.0.depth=1", "stages.0.depth=2"], ("stages.0.depth=1, stages.0.depth=2", "at once")),
        (["stages.0.mixer.depthwise_conv.kernel_size=3", "stages.0.mixer.depthwise_conv.kernel_size=5"], ("at once",)),
        (["stages.*.ffn.mlp.ratio=2", "stages.0.ffn.mlp.ratio=3"], ("stages.*.ffn.mlp.ratio=2, stages.0.", "at once")),
        (["stages.0.ffn.ms_ffn.scales=2"], ("cannot be '2'", "1+3", "search.fix=stages.0.ffn.ms_ffn.scales=")),
        (["="], ("unknown choice",)),
    ],
)
def test_what_there_is_not(settings: list[str], words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        fixed(load_space("digits"), settings, "search.fix")
    for word in words:
        assert word in str(caught.value)
