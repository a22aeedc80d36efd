"""Law 1 on the value alone: JSON, digests, hashes, pickles, errors. It needs the standard library only."""

import dataclasses
import json
import pickle
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import registry
from search_spaces.architecture import SLOTS, Architecture, Block, Part, Stage
from search_spaces.errors import InputError, nearest, unknown
from search_spaces.files.sizes import LARGEST_SIZE

few = settings(max_examples=60, deadline=None)

NAMES = st.text(min_size=1, max_size=6)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-LARGEST_SIZE, LARGEST_SIZE),
    st.floats(-LARGEST_SIZE, LARGEST_SIZE),
    st.text(max_size=5),
    st.sampled_from([0, 0.0, -0.0, 1, 1.0, True, False, "1"]),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)
KEYS = NAMES.filter(lambda key: key != "part")
PARTS = st.builds(
    lambda name, options: Part(name, tuple(options.items())), NAMES, st.dictionaries(KEYS, VALUES, max_size=3)
)
BLOCKS = st.builds(Block, **dict.fromkeys(SLOTS, PARTS))
COUNTS = st.integers(1, LARGEST_SIZE)
STAGES = st.builds(Stage, width=COUNTS, embedding=PARTS, blocks=st.lists(BLOCKS, max_size=2).map(tuple))
ARCHITECTURES = st.builds(
    Architecture,
    in_channels=COUNTS,
    num_classes=COUNTS,
    resolution=COUNTS,
    stages=st.lists(STAGES, min_size=1, max_size=2).map(tuple),
    head=PARTS,
)


def example() -> Architecture:
    """A value whose digest is frozen: do not change it."""
    blocks = [
        Block(
            position=Part.of("dpe", kernel_size=3),
            norm=Part.of("layer_norm", eps=1e-6),
            mixer=mixer,
            ffn=Part.of("ms_ffn", scales=[1, 3], ratio=1.5),
            scale=Part.of("layer_scale", init=0.1, bias=True),
        )
        for mixer in (Part.of("d_mixer", head_dim=4, attention_ratio=0.25), Part.of("depthwise_conv", kernel_size=5))
    ]
    return Architecture(
        in_channels=3,
        num_classes=10,
        resolution=32,
        stages=(
            Stage(width=16, embedding=Part.of("conv_stem", stride=2), blocks=tuple(blocks)),
            Stage(width=32, embedding=Part.of("conv_downsampling"), blocks=(blocks[0], blocks[0])),
        ),
        head=Part.of("linear_head", norm="group_norm", dropout=0.2),
    )


EXAMPLE_DIGEST = "609c7584c027"


@few
@given(ARCHITECTURES)
def test_json_round_trip(arch: Architecture) -> None:
    for text in (arch.to_json(), arch.to_json(indent=2), json.dumps(arch.to_dict())):
        again = Architecture.from_json(text)
        assert again == arch
        assert hash(again) == hash(arch)
        assert again.to_json() == arch.to_json()
        assert again.digest == arch.digest
    assert Architecture.from_dict(arch.to_dict()) == arch


@few
@given(ARCHITECTURES, ARCHITECTURES)
def test_equal_and_only_equal_values_have_equal_texts(one: Architecture, other: Architecture) -> None:
    assert (one == other) == (one.to_json() == other.to_json())


@pytest.mark.parametrize(("one", "other"), [(4, 4.0), (True, 1), (False, 0.0), ((1, 3), (1.0, 3)), (0.0, -0.0)])
def test_values_of_different_types_are_different(one: Any, other: Any) -> None:
    """1, 1.0 and true are equal in Python and different in JSON: equal architectures would have different digests."""
    a, b = Part.of("mlp", ratio=one), Part.of("mlp", ratio=other)
    assert (a == b) == (json.dumps(a.to_dict()) == json.dumps(b.to_dict()))


def test_a_right_value_does_not_let_a_wrong_type_pass() -> None:
    registry.options("scale", Part.of("layer_scale", bias=True))
    with pytest.raises(InputError, match="true or false"):
        registry.options("scale", Part.of("layer_scale", bias=1))
    registry.options("mixer", Part.of("d_mixer", head_dim=1))
    with pytest.raises(InputError, match="whole number"):
        registry.options("mixer", Part.of("d_mixer", head_dim=True))


def test_digest_is_frozen() -> None:
    assert example().digest == EXAMPLE_DIGEST
    assert registry.complete(example()).digest != EXAMPLE_DIGEST  # defaults written out are another text


def test_digest_needs_no_order_of_options_or_keys() -> None:
    assert Part.of("a", x=1, y=2) == Part.of("a", y=2, x=1) == Part("a", (("y", 2), ("x", 1)))
    arch = example()
    turned = json.loads(arch.to_json(), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert Architecture.from_dict(turned).digest == arch.digest


CHILD = """
import pickle, sys
from search_spaces.architecture import Architecture
text, data = sys.stdin.readline(), bytes.fromhex(sys.stdin.readline())
here, sent = Architecture.from_json(text), pickle.loads(data)
assert here == sent and hash(here) == hash(sent)
assert {here: 1}[sent] == 1 and {sent.stages[0].blocks[0]: 1}[here.stages[0].blocks[0]] == 1
assert {part for part in sent.stages[0].blocks[0].parts()} == set(here.stages[0].blocks[0].parts())
assert not {"torch", "numpy", "jaxtyping"} & set(sys.modules), "more than the standard library"
print(hash("x"), sent.digest, here.digest, pickle.dumps(sent).hex())
"""


def test_other_processes_agree() -> None:
    """Digests do not depend on PYTHONHASHSEED, and values that travelled between processes still find their like."""
    arch = example()
    hash(arch)
    seen = set()
    for seed in ("0", "1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            input=f"{arch.to_json()}\n{pickle.dumps(arch).hex()}\n",
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        python_hash, *digests, data = done.stdout.split()
        seen.add(python_hash)
        assert digests == [arch.digest] * 2
        back = pickle.loads(bytes.fromhex(data))
        assert back == arch
        assert {arch: "found"}[back] == "found"
    assert len(seen) == 3  # the processes did hash differently


def test_spaces_need_the_standard_library_only() -> None:
    code = "import sys, search_spaces.space; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


@pytest.mark.parametrize("value", [example(), example().stages[0], example().stages[0].blocks[0], example().head])
def test_values_are_immutable(value: Any) -> None:
    before = hash(value)
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, 1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(value, field.name)
    with pytest.raises((AttributeError, TypeError)):
        value.something = 1
    assert hash(value) == before


def test_given_lists_are_not_kept() -> None:
    scales = [1, 3]
    part = Part.of("ms_ffn", scales=scales)
    scales.append(5)
    assert part == Part.of("ms_ffn", scales=(1, 3))
    part.to_dict()["scales"].append(7)
    assert part == Part.of("ms_ffn", scales=(1, 3))


def without(key: str, *path: Any) -> dict[str, Any]:
    data = example().to_dict()
    inner: Any = data
    for step in path:
        inner = inner[step]
    del inner[key]
    return data


def changed(value: Any, *path: Any) -> dict[str, Any]:
    data = example().to_dict()
    inner: Any = data
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "keys in_channels"),
        ("x", "keys in_channels"),
        (None, "keys in_channels"),
        ({}, "keys in_channels"),
        (without("head"), "head"),
        (without("stages"), "stages"),
        (without("width", "stages", 0), "width"),
        (without("mixer", "stages", 0, "blocks", 1), "mixer"),
        (without("part", "stages", 0, "blocks", 1, "mixer"), "part"),
        (changed(1, "more"), "more"),
        (changed(1, "stages", 0, "more"), "more"),
        (changed(1, "stages", 0, "blocks", 0, "more"), "more"),
        (changed(0, "in_channels"), "in_channels is 0"),
        (changed(True, "num_classes"), "num_classes is True"),
        (changed(32.0, "resolution"), "resolution is 32.0"),
        (changed("16", "stages", 1, "width"), "width is '16'"),
        (changed(-1, "stages", 1, "width"), "width is -1"),
        (changed(3, "stages"), "stages"),
        (changed(None, "stages"), "stages"),
        (changed("ab", "stages"), "stage"),
        (changed({"a": 1}, "stages"), "stage"),
        (changed([1], "stages"), "stage"),
        (changed(3, "stages", 0, "blocks"), "blocks"),
        (changed([3], "stages", 0, "blocks"), "block"),
        (changed(3, "head"), "part"),
        (changed("linear_head", "head"), "part"),
        (changed({"part": 3}, "head"), "part"),
        (changed({"a": 1}, "head", "norm"), "head.norm"),
        (changed(None, "head", "norm"), "head.norm"),
        (changed([1, None], "head", "norm"), "head.norm"),
        (changed(float("nan"), "head", "dropout"), "number"),
        (changed(float("inf"), "head", "dropout"), "number"),
    ],
)
def test_wrong_data(data: Any, words: str) -> None:
    for read, argument in ((Architecture.from_dict, data), (Architecture.from_json, json.dumps(data))):
        with pytest.raises(InputError) as error:
            read(argument)  # type: ignore[operator]
        no_json = read == Architecture.from_json and argument.count("NaN") + argument.count("Infinity")
        assert ("no number of JSON" if no_json else words) in str(error.value)
        assert error.value.allowed
        assert error.value.instead


@pytest.mark.parametrize("text", ["", "{", "nas", "{'a': 1}", '{"in_channels": 1,}'])
def test_text_that_is_not_json(text: str) -> None:
    with pytest.raises(InputError, match="not JSON"):
        Architecture.from_json(text)


def test_options_can_be_of_plain_types_only() -> None:
    for value in (None, {"a": 1}, {1}, object(), b"x", [None]):
        with pytest.raises(InputError, match=r"mlp\.ratio"):
            Part.of("mlp", ratio=value)


def test_depth() -> None:
    assert example().depth == 4


def test_input_errors_say_three_things_and_travel() -> None:
    error = InputError("x is 3", "1 or 2", "x = 1")
    assert str(error) == "x is 3\n  allowed: 1 or 2\n  instead: x = 1"
    again = pickle.loads(pickle.dumps(error))
    assert (again.given, again.allowed, again.instead) == (error.given, error.allowed, error.instead)
    assert isinstance(again, ValueError)


def test_nearest_names() -> None:
    assert nearest("kernel_siz", ["head_dim", "kernel_size"]) == "kernel_size"
    assert nearest("", ["b", "a"]) == "a"
    assert nearest("zzz", ["b", "a"]) in "ab"
    with pytest.raises(ValueError, match="at least one"):
        nearest("x", [])
    assert unknown("part", "x", []).instead == "leave it out"
    assert unknown("part", "mpl", ["mlp", "conv"], 'part = "{}"').instead == 'part = "mlp"'
