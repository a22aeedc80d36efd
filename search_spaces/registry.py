"""Parts: how they register, and how options are checked. What each kind has to be is in `search_spaces.kinds`.

A part is an ordinary module in a file of its own. Registering it gives it a JSON name, a place in any space, elastic sizes by
the one slicing rule, extraction, cost, and every law as a test:

    @register("my_mixer")
    class MyMixer(TokenMixer):
        @dataclass(frozen=True, kw_only=True, slots=True)
        class Options:
            kernel_size: int = 3

        examples = (Options(), Options(kernel_size=5))

        def __init__(self, dim: int, options: Options) -> None: ...
        def forward(self, x): ...                   # (b, c, h, w) -> (b, c, h, w), for every h and w

Rules for elastic sizes: one elastic size is one whole tensor axis (nothing packed or interleaved; heads are channels side by side,
which a weight need not know; a moving channel boundary means one bank of weights per branch). A slice is the leading part of each axis, but for axes named in
`centred` (its middle: kernels) and `trailing` (its end).
"""

import dataclasses
import importlib
import json
import pkgutil
import typing
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from search_spaces.additions import added
from search_spaces.architecture import Architecture, Part, Value
from search_spaces.counting import decimal
from search_spaces.errors import InputError, unknown
from search_spaces.kinds import (
    KINDS,
    WORDS,
    Axes,
    ChannelMixer,
    Embedding,
    Head,
    Norm,
    PartModule,
    Position,
    PositionBias,
    Scale,
    TokenMixer,
)

_FOLDERS = ("embeddings", "position_biases", "positions", "norms", "mixers", "ffn", "scales", "heads")
_PARTS: dict[str, dict[str, type[PartModule]]] = {kind: {} for kind in KINDS}

P = TypeVar("P", bound=type[PartModule])


def register(name: str) -> Callable[[P], P]:
    """Class decorator that makes a part known by `name`.

    Raises:
        TypeError: the class breaks the contract; the message says how to fix it.
    """

    def add(part: P) -> P:
        kind = getattr(part, "kind", None)
        if kind not in KINDS:
            raise TypeError(
                f"{part.__name__} is no part: subclass one of {', '.join(k.__name__ for k in KINDS.values())}"
            )
        options = part.__dict__.get("Options")
        if not dataclasses.is_dataclass(options) or not getattr(options, "__dataclass_params__").frozen:  # noqa: B009
            raise TypeError(
                f"{part.__name__} needs a nested class Options: @dataclass(frozen=True, kw_only=True, slots=True)"
            )
        later = added(name)
        for item in dataclasses.fields(typing.cast(Any, options)):
            if item.default is dataclasses.MISSING:
                raise TypeError(f"{part.__name__}.Options.{item.name} needs a default")
            left = later.get(item.name, item.default)
            if left != item.default or type(left) is not type(item.default):
                raise TypeError(
                    f"{part.__name__}.Options.{item.name} is {item.default!r} by default, but search_spaces.additions leaves out {left!r}"
                )
        if not all(
            isinstance(example, typing.cast(type, options)) for example in part.__dict__.get("examples") or (None,)
        ):
            raise TypeError(
                f"{part.__name__} needs `examples = (Options(...), ...)`, smallest to largest, for its tests"
            )
        known = _PARTS[kind].get(name)
        if known is not None and (known.__module__, known.__qualname__) != (part.__module__, part.__qualname__):
            raise TypeError(f"{kind} {name!r} is already {known.__module__}.{known.__qualname__}: choose another name")
        _PARTS[kind][name] = part
        part.part_name = name  # type: ignore[attr-defined]
        return part

    return add


@cache
def _discover() -> None:
    """Imports every part's file of this package: registering is putting a file there."""
    for folder in _FOLDERS:
        package = importlib.import_module(f"search_spaces.{folder}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")


def parts(kind: str) -> Mapping[str, type[PartModule]]:
    """The registered parts of a kind, by name, sorted."""
    _discover()
    return dict(sorted(_PARTS[kind].items()))


def registered() -> list[type[PartModule]]:
    """The registered parts of all kinds, as far as their files are imported."""
    return [part for found in _PARTS.values() for part in found.values()]


def lookup(kind: str, name: str) -> type[PartModule]:
    """The class of a registered part.

    Raises:
        InputError: not registered; the nearest name is offered.
    """
    _discover()
    if name not in _PARTS[kind]:
        raise unknown(WORDS.get(kind, kind), name, _PARTS[kind], 'part = "{}"')
    return _PARTS[kind][name]


def check_norm(name: str) -> None:
    """For parts with an option `norm`.

    Raises:
        InputError: no registered normalisation has this name.
    """
    if name not in parts("norm"):
        raise unknown(WORDS["norm"], name, parts("norm"), 'norm = "{}"')


def _check(value: Value, annotation: Any, where: str, default: Any) -> Value:
    """
    Args:
        default: of the option; it is what a message offers.

    Raises:
        InputError: another type than the option's.
    """
    # A list is one of several choices, so a default that is a list stands inside one.
    offered = json.dumps([default] if isinstance(default, tuple) else default)
    example = f"{where.rpartition('.')[2]} = {offered}"
    if typing.get_origin(annotation) is tuple:
        if not isinstance(value, tuple):
            raise InputError(f"{where} is {value!r}", "a list inside the list of choices", example)
        return tuple(_check(item, typing.get_args(annotation)[0], where, default) for item in value)
    if annotation is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise InputError(f"{where} is a number of {len(decimal(value))} digits", "a number", example) from None
    if type(value) is not annotation:
        words = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
        raise InputError(f"{where} is {value!r}", words[annotation], example)
    return value


@cache
def options(kind: str, part: Part) -> Any:
    """The part's checked options, as an instance of its `Options`.

    Raises:
        InputError: an unknown part or option (the nearest is offered), or a value that is not allowed.
    """
    module = lookup(kind, part.name)
    hints = typing.get_type_hints(module.Options)
    defaults = {item.name: item.default for item in dataclasses.fields(typing.cast(Any, module.Options))}
    values = {}
    for key, value in part.options:
        if key not in hints:
            raise unknown(f"option of {WORDS.get(kind, kind)} {part.name!r}:", key, hints, "{} = ...")
        values[key] = _check(value, hints[key], f"{part.name}.{key}", defaults[key])
    return module.Options(**values)


@cache
def complete_part(kind: str, part: Part) -> Part:
    """The same part with every option written out, checked, but for those that are left out at their default."""
    return Part(part.name, tuple(dataclasses.asdict(options(kind, part)).items()))


def complete(arch: Architecture) -> Architecture:
    """The same architecture with every option of every part written out, so that it stays the same when defaults change.

    Raises:
        InputError: an unknown part or option, or a value that is not allowed.
    """
    return arch.mapped(complete_part)


def axes(rule: Axes, name: str) -> tuple[int, ...]:
    """The axes that `centred` or `trailing` names for a parameter or buffer."""
    return tuple(axis for pattern, found in rule.items() if fnmatchcase(name, pattern) for axis in found)


def make(kind: str, part: Part, *dims: int) -> PartModule:
    """Constructs a part: `make("mixer", part, dim)`, `make("embedding", part, in_dim, dim)`,
    `make("position_bias", part)`, `make("head", part, dim, classes)`.
    """
    return lookup(kind, part.name)(*dims, options(kind, part))


class SkipInit(TorchFunctionMode):
    """Makes torch.nn.init and `search_spaces.layers.fill_trunc_normal` do nothing, for modules of which only names and shapes are wanted."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        module, name = getattr(func, "__module__", ""), getattr(func, "__name__", "")
        if module == "torch.nn.init" or (module, name) == ("search_spaces.layers", "fill_trunc_normal"):
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return func(*args, **(kwargs or {}))


def allocate(module: nn.Module) -> None:
    """Gives a module of the meta device memory on the CPU, with no values yet; every tensor is contiguous then.

    torch's `to_empty` calls `empty_like`, which imports sympy for a tensor of the meta device: half of what it takes to load a small network.
    """
    module._apply(lambda t: torch.empty(t.size(), dtype=t.dtype, device="cpu"))


__all__ = [
    "KINDS", "ChannelMixer", "Embedding", "Head", "Norm", "PartModule", "Position", "PositionBias", "Scale", "SkipInit", "TokenMixer", "allocate", "axes",
    "check_norm", "complete", "complete_part", "lookup", "make", "options", "parts", "register", "registered",
]  # fmt: skip
