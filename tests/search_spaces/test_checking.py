"""The one check of a space: what it says of parts that break their contract, and that its advice is good."""

import dataclasses
import json
import math
import tomllib
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces import registry
from search_spaces.architecture import Part
from search_spaces.checking import check_parts
from search_spaces.errors import InputError
from search_spaces.named import check, load_space, space_names
from search_spaces.registry import KINDS, ChannelMixer, Embedding, Head, PartModule, PositionBias, TokenMixer, parts
from search_spaces.space import SearchSpace

PARTS = [(kind, name) for kind in KINDS for name in parts(kind)]


# Advice


def wrong_values(default: Any) -> list[Any]:
    """What may be typed by mistake for an option with this default, and is not allowed for all options."""
    return ["3", "", -1, 0, 4, 100_000, 0.01, 1.5, -0.5, True, (), (1, 1), (-1, 2), ("a",), ((1, 3),), default]


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_what_a_message_offers_for_an_option_is_accepted(kind: str, name: str) -> None:
    """As TOML, where a list is one of choices; beside the values that the part's other options have by default."""
    refused = 0
    fields = {field.name: field.default for field in dataclasses.fields(typing.cast(Any, parts(kind)[name].Options))}
    for key, default in fields.items():
        for value in wrong_values(default):
            error = refusal(kind, Part.of(name, **{key: value}))
            if error is None:
                continue
            refused += 1
            offered = tomllib.loads(error.instead)  # so that it can be typed as it stands
            assert offered.keys() <= fields.keys(), f"{key} = {value!r}: {error}"
            for other, found in offered.items():
                for choice in found if isinstance(found, list) else [found]:
                    again = refusal(kind, Part(name, ((other, _frozen(choice)),)))
                    assert again is None, f"{key} = {value!r}: {error}\nand then\n{again}"
    assert refused or not fields


def refusal(kind: str, part: Part) -> InputError | None:
    try:
        registry.options(kind, part)
    except InputError as error:
        return error
    return None


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


# Parts that break their contract


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    size: int = 1


def part(
    kind: type[PartModule], forward: Callable[..., Any], build: Callable[[nn.Module], None] | None = None
) -> type[PartModule]:
    """A part of one function."""

    def __init__(self: Any, *sizes: Any) -> None:
        nn.Module.__init__(self)
        if build:
            build(self)

    body = {"__init__": __init__, "forward": forward, "Options": Options, "examples": (Options(),)}
    return type("Broken", (kind,), body)


@pytest.fixture
def known() -> Iterator[Callable[[type[PartModule]], str]]:
    """Registers a part for one test; its name is new each time, for what is known of a part is remembered."""
    added: list[tuple[str, str]] = []

    def add(module: type[PartModule]) -> str:
        name = f"broken_{len(added)}_{id(module)}"
        registry.register(name)(module)
        added.append((module.kind, name))
        return name

    yield add
    for kind, name in added:
        del registry._PARTS[kind][name]


def space_with(kind: str, name: str) -> SearchSpace:
    """The space `digits` with this part in the place of all others of its kind."""
    table = load_space("digits").to_dict()
    choice = [{"part": name, "size": [1, 2]}]
    for stage in table["stages"]:
        if kind == "position_bias":
            stage[kind] = [{"part": "none"}, *choice]
        elif kind in stage:
            stage[kind] = choice
    if kind == "head":
        table["head"] = choice
    return SearchSpace.from_dict(table)


def keep(self: Any, x: Tensor) -> Tensor:
    return x


BROKEN: dict[str, tuple[type[PartModule], Callable[..., Any], str]] = {
    "another shape": (TokenMixer, lambda self, x: x[..., :-1], r"gives \(2, 16, 8, 7\) for an input of \(2, 16, 8, 8\)"),
    "another number of channels": (ChannelMixer, lambda self, x: torch.cat([x, x], 1), r"gives \(2, 32, "),
    "without the batch": (TokenMixer, lambda self, x: x[0], r"gives \(16, 8, 8\)"),
    "another type": (TokenMixer, lambda self, x: x.double(), r"gives torch\.float64"),
    "types that do not go together": (TokenMixer, lambda self, x: x.double() @ x, "fails on .*RuntimeError"),
    "half": (ChannelMixer, lambda self, x: x.half(), r"gives torch\.float16"),
    "no tensor": (TokenMixer, lambda self, x: (x, x), "gives tuple"),
    "nothing": (ChannelMixer, lambda self, x: None, "gives NoneType"),
    "a branch on values": (TokenMixer, lambda self, x: x if x.mean() > 0 else -x, "fails on .* cannot be called on meta"),
    "a value taken out": (TokenMixer, lambda self, x: x * x.sum().item(), "fails on .* cannot be called on meta"),
    "as many as there are": (TokenMixer, lambda self, x: x[x > 0].mean() + x, "fails on"),
    "through numpy": (TokenMixer, lambda self, x: torch.from_numpy(x.numpy()), "fails on .*numpy"),
    "an unknown operator": (TokenMixer, lambda self, x: torch.fft.fft2(x).real, r"uses torch\.fft\.fft2, whose cost"),
    "an unknown operator, named": (ChannelMixer, lambda self, x: torch.cumsum(x, 1), r"uses .*cumsum, whose cost"),
    "a wrong name": (TokenMixer, lambda self, x: self.wieght * x, "fails on .*no attribute 'wieght'"),
    "an embedding of other channels": (Embedding, keep, r"embedding .* gives \(2, "),
    "a head that keeps the map": (Head, keep, r"head .* gives \(2, "),
    "a bias without keys": (PositionBias, keep, r"position bias .* gives \(2, "),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN)
def test_a_part_that_breaks_its_contract_is_named(fault: str, known: Callable[[type[PartModule]], str]) -> None:
    kind, forward, says = BROKEN[fault]
    name = known(part(kind, forward))
    space = check(space_with(kind.kind, name))
    with pytest.raises(InputError, match=says) as caught:
        check_parts(space)
    assert name in caught.value.given  # the part,
    assert __file__ in str(caught.value)  # its file
    assert "maps" in caught.value.allowed or "operators" in caught.value.allowed  # and the rule
    assert f"of space {space.name}" in caught.value.given


def test_a_part_whose_constructor_fails_is_named(known: Callable[[type[PartModule]], str]) -> None:
    def fail(self: nn.Module) -> None:
        raise ZeroDivisionError("too narrow")

    name = known(part(TokenMixer, keep, fail))
    with pytest.raises(
        InputError, match=f"stages.0.blocks of space digits: token mixer '{name}' .*too narrow, line "
    ) as caught:
        check(space_with("mixer", name))
    assert __file__ in str(caught.value)


def test_a_part_that_gives_its_parameter_is_named(known: Callable[[type[PartModule]], str]) -> None:
    def build(self: nn.Module) -> None:
        self.table = nn.Parameter(torch.zeros(2, 8, 8, 8, 8))

    name = known(part(PositionBias, lambda self, x: self.table, build))
    space = check(space_with("position_bias", name))
    with pytest.raises(InputError, match="gives a parameter or buffer of its own"):
        check_parts(space)


def test_each_value_of_an_option_is_tried(known: Callable[[type[PartModule]], str]) -> None:
    """A fault of one option's value alone."""

    def init(self: Any, dim: int, options: Options) -> None:
        nn.Module.__init__(self)
        self.size = options.size

    module = part(TokenMixer, lambda self, x: x if self.size == 1 else x[..., 1:])
    module.__init__ = init  # type: ignore[method-assign,assignment]
    name = known(module)
    with pytest.raises(InputError, match=r"gives \(2, 16, 8, 7\)"):
        check_parts(check(space_with("mixer", name)))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in ("emsnet", "transxnet", "unified") else name
        for name in space_names()
    ],
)
def test_the_named_spaces_are_good(name: str) -> None:
    check_parts(load_space(name))


def test_sizes_of_a_stage_are_those_that_reach_it() -> None:
    """The map of the second stage is what the first one's embedding makes of it: smaller images may be too small."""
    space = load_space("digits")
    for resolution in (1, 2, 16, 33):
        check_parts(SearchSpace.from_dict(space.to_dict() | {"resolution": resolution}))
    assert math.isfinite(space.size)
    assert json.dumps(space.to_dict())
