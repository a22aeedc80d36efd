"""How parts become known, and what a class that breaks the contract is told."""

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from torch import nn

from search_spaces import registry
from search_spaces.architecture import Part
from search_spaces.errors import InputError
from search_spaces.registry import TokenMixer, register
from search_spaces.testing import cases


@dataclass(frozen=True, kw_only=True, slots=True)
class Good:
    size: int = 3


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    before = {kind: dict(parts) for kind, parts in registry._PARTS.items()}
    yield
    for kind, parts in before.items():
        registry._PARTS[kind].clear()
        registry._PARTS[kind].update(parts)
    registry.options.cache_clear()
    registry.complete_part.cache_clear()


def part(**body: Any) -> type:
    body.setdefault("__module__", "mine")
    return type("Mine", (TokenMixer,), body)


def test_registering_makes_a_part_known() -> None:
    mine = register("mine")(part(Options=Good, examples=(Good(), Good(size=5))))
    assert registry.lookup("mixer", "mine") is mine
    assert "mine" in registry.parts("mixer")
    assert "mine" not in registry.parts("ffn")
    assert registry.complete_part("mixer", Part("mine")) == Part.of("mine", size=3)
    assert registry.options("mixer", Part.of("mine", size=7)) == Good(size=7)
    register("mine")(part(Options=Good, examples=(Good(),)))  # the same class, imported again


@dataclass(kw_only=True)
class Thawed:
    size: int = 3


@dataclass(frozen=True, kw_only=True)
class NoDefault:
    size: int


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (type("Mine", (nn.Module,), {"Options": Good, "examples": (Good(),)}), "subclass one of"),
        (part(examples=()), "nested class Options"),
        (part(Options=int, examples=()), "nested class Options"),
        (part(Options=Thawed, examples=(Thawed(),)), "frozen=True"),
        (part(Options=NoDefault, examples=(NoDefault(size=1),)), "size needs a default"),
        (part(Options=Good), "examples"),
        (part(Options=Good, examples=(3,)), "examples"),
    ],
)
def test_a_class_that_breaks_the_contract(made: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        register("mine")(made)
    assert "mine" not in registry.parts("mixer")


def test_a_part_without_examples_would_have_no_tests() -> None:
    with pytest.raises(TypeError, match="examples"):
        register("mine")(part(Options=Good, examples=()))


def test_names_are_taken_once() -> None:
    with pytest.raises(TypeError, match="choose another name"):
        register("d_mixer")(part(Options=Good, examples=(Good(),)))


def test_every_file_of_a_folder_registers_a_part() -> None:
    for kind, module in registry.KINDS.items():
        files = {found.__module__ for found in registry.parts(kind).values()}
        folders = {name.rpartition(".")[0] for name in files}
        assert len(folders) == 1, f"{module.__name__} parts stand in {folders}"
        package = importlib.import_module(folders.pop())
        assert {f"{package.__name__}.{found.name}" for found in pkgutil.iter_modules(package.__path__)} == files


@pytest.mark.parametrize("kind", registry.KINDS)
def test_unknown_parts(kind: str) -> None:
    names = list(registry.parts(kind))
    for name in names:
        with pytest.raises(InputError) as error:
            registry.lookup(kind, f"{name}s")
        assert error.value.instead == f'part = "{name}"'
        assert all(other in error.value.allowed for other in names)


@pytest.mark.parametrize("kind", registry.KINDS)
def test_parts_say_what_they_are(kind: str) -> None:
    for name, found in registry.parts(kind).items():
        assert found.__doc__, name
        assert found.kind == kind
        examples = [repr(example) for example in (*found.examples, *found.variants)]
        assert len(set(examples)) == len(examples), f"{name} repeats an example"


def test_axes_are_matched_by_pattern() -> None:
    rule = {"conv.weight": (2, 3), "osra.*": (0,), "*.bias": (1,)}
    assert registry.axes(rule, "conv.weight") == (2, 3)
    assert registry.axes(rule, "osra.query.bias") == (0, 1)
    assert registry.axes(rule, "conv.bias") == (1,)
    assert registry.axes(rule, "weight") == ()


@pytest.mark.parametrize("kind", registry.KINDS)
def test_cut_axes_name_tensors_that_exist(kind: str) -> None:
    """A misspelt pattern in `centred` or `trailing` would cut from the front without a word."""
    for name, found in registry.parts(kind).items():
        tensors = [key for case in cases(kind, name) for key in case.make().state_dict()]
        for rule in (found.centred, found.trailing):
            for pattern, axes in rule.items():
                matched = [key for key in tensors if registry.axes({pattern: axes}, key)]
                assert matched, f"{pattern} of {name} names no tensor"


def test_memory_is_made_without_importing_sympy() -> None:
    code = """
import sys, torch
from search_spaces.registry import allocate
with torch.device("meta"):
    module = torch.nn.BatchNorm2d(4)
    module.register_buffer("same", torch.zeros(1).expand(5))
    module.scale = torch.nn.Parameter(torch.ones(()), requires_grad=False)
allocate(module)
for name, tensor in module.state_dict().items():
    assert tensor.device.type == "cpu" and tensor.is_contiguous(), name
    tensor.copy_(torch.zeros(tensor.shape))
assert module.num_batches_tracked.dtype == torch.int64 and not module.scale.requires_grad and module.weight.requires_grad
print("sympy" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
