"""Every part of a space, built, run and costed once on the meta device before anything is made of it.

What a part's author got wrong shows here with the part, its file and the rule, not as a traceback after hours of training.
"""

import inspect
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import astuple, fields
from functools import lru_cache

import torch
from torch import Tensor, nn

from search_spaces.architecture import SLOTS, Part
from search_spaces.costs.operators import UnknownOperatorError
from search_spaces.costs.pieces import part_cost
from search_spaces.costs.remembered import recall
from search_spaces.errors import InputError
from search_spaces.files.made import MOST_IN_A_PART, Made, limited
from search_spaces.registry import WORDS, SkipInit, TokenMixer, lookup, make
from search_spaces.space import NO_BIAS, SearchSpace, Slot

Size = tuple[int, int]
"""Height and width of a map."""

MAPS = {
    "embedding": "(b, in_dim, h, w) -> (b, dim, h', w')",
    "position_bias": "(b, c, h, w) -> (heads, h, w, h', w')",
    "head": "(b, dim, h, w) -> (b, num_classes)",
}
"""What `forward` of each kind maps; of the kinds that are not named, (b, c, h, w) to the same shape."""


def check_parts(space: SearchSpace) -> None:
    """Runs each part that the space offers, with each value of its options, at the map sizes that it meets and at the
    narrowest and widest of its widths: as it trains, and counted as it is evaluated.

    Args:
        space: checked (`search_spaces.named.check`), with the channels, classes and resolution of its data.

    Raises:
        InputError: a part fails, breaks the contract of its kind, or has an operator of unknown cost.
    """
    sizes: set[Size] = {(space.resolution, space.resolution)}
    before: tuple[int, ...] = (space.in_channels,)
    for s, stage in enumerate(space.stages):
        ends = _ends(stage.width)
        where = f"stages.{s}.embedding of space {space.name}"
        after: set[Size] = set()
        for part in some_members(stage.embedding):
            for into, dim in {(into, dim) for into in _ends(before) for dim in ends}:
                after |= {try_part("embedding", part, (into, dim), size, where) for size in sizes}
        sizes, before = after, stage.width
        for part in some_members(stage.position_bias):
            for size in sizes:
                try_part("position_bias", part, (), size, f"stages.{s}.position_bias of space {space.name}", ends[-1])
        for slot, choices in zip(SLOTS, stage.blocks, strict=True):
            for part in some_members(choices):
                for dim in ends:
                    for size in sizes:
                        try_part(slot, part, (dim,), size, f"stages.{s}.blocks of space {space.name}")
    for part in some_members(space.head):
        for dim in _ends(before):
            for size in sizes:
                try_part("head", part, (dim, space.num_classes), size, f"head of space {space.name}")


def _ends(widths: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dict.fromkeys((widths[0], widths[-1])))


COMBINATIONS = 32
"""Of a part's options, up to which all are tried."""


def some_members(slot: Slot) -> Iterator[Part]:
    """Of each part all combinations of options where they are few; else the smallest, the largest, and each value of each
    option beside the smallest others. All combinations would take minutes in a large space.
    """
    for choice in slot:
        if choice.name == NO_BIAS and not choice.options:
            continue
        if math.prod(len(values) for _, values in choice.options) <= COMBINATIONS:
            yield from choice.members()
            continue
        ends = [tuple((key, values[end]) for key, values in choice.options) for end in (0, -1)]
        tried = [
            tuple((key, value if key == varied else first) for key, first in ends[0])
            for varied, values in choice.options
            for value in values[1:]
        ]
        yield from (Part(choice.name, options) for options in dict.fromkeys([*ends, *tried]))


def try_part(kind: str, part: Part, dims: tuple[int, ...], size: Size, where: str, channels: int = 1) -> Size:
    """Runs one part.

    Args:
        dims: as for `registry.make`.
        size: of its input.
        where: where the part stands in its space, for messages.
        channels: of the input of a part without dims.

    Returns:
        The size of its output map; of a head (0, 0).

    Raises:
        InputError: see `check_parts`.
    """
    try:
        return _try(kind, part, dims, size, channels)
    except _ContractError as error:
        raise InputError(f"{where}: {error.given}", error.allowed, error.instead) from error.__cause__


class _ContractError(InputError):
    """An InputError that does not say yet where in a space the part stands."""


@lru_cache(maxsize=100_000)
def _try(kind: str, part: Part, dims: tuple[int, ...], size: Size, channels: int) -> Size:
    """`try_part`, whose success is remembered, for parts of this package also on disk (`search_spaces.costs.remembered`)."""
    height, width = recall(
        kind, part, dims, "tried", size, channels, lengths=(2,), count=lambda: _tried(kind, part, dims, size, channels)
    )
    return height, width


def _tried(kind: str, part: Part, dims: tuple[int, ...], size: Size, channels: int) -> Size:
    # Two images, because some parts cannot train on one; and another number where nothing may depend on it.
    after = _run(kind, part, dims, (2, dims[0] if dims else channels, *size), training=True)
    _run(kind, part, dims, (3, dims[0] if dims else channels, *size), training=False)
    rule = _rule(kind)
    try:
        found = part_cost(kind, part, dims, *size) if kind != "position_bias" else None
        if found is None:  # its input has channels that it does not ask for
            part_cost(kind, part, (), *size)
    except UnknownOperatorError as error:
        raise _fault(
            kind, part, f"uses {error.operator}, whose cost is not known" + (f" (for {error.within} in it)" if error.within else ""),
            "operators that search_spaces.costs or torch's FLOP counter counts or knows to be free, and those that the part itself counts",
            f"in class {lookup(kind, part.name).__name__} of {_file(kind, part)}: operators = {{{error.name!r}: lambda result, *inputs, "
            "**options: 0}, with the multiply-adds of a call in the place of 0",
        ) from error  # fmt: skip
    except MemoryError:
        raise
    except Exception as error:
        raise _fault(
            kind, part, f"fails while its cost is counted ({type(error).__name__}: {_first_line(error)})", rule
        ) from error
    return after


def _rule(kind: str) -> str:
    return f"forward maps {MAPS.get(kind, '(b, c, h, w) to the same shape')}, in the type of its input"


def _run(kind: str, part: Part, dims: tuple[int, ...], shape: tuple[int, ...], training: bool) -> Size:
    """One forward pass, and what came out against the contract. Returns what `try_part` does."""
    rule, when = _rule(kind), "" if training else " in evaluation mode"
    with torch.no_grad(), torch.device("meta"):
        try:
            with SkipInit(), _limited(kind, part):
                module = make(kind, part, *dims).train(training)
            needs_residual = isinstance(module, TokenMixer) and module.needs_residual
            y = module(*(torch.empty(shape) for _ in range(1 + needs_residual)))
        except InputError as error:
            raise _ContractError(error.given, error.allowed, error.instead) from None
        except MemoryError:
            raise  # not the part's fault
        except (Exception, SystemExit) as error:  # whatever the author's code raises
            if _overflows(error):
                raise _too_large(part) from None
            raise _fault(
                kind, part,
                f"fails on {shape}{when} ({type(error).__name__}: {_first_line(error)}, {_line(kind, part, error)})",
                f"{rule}, by shapes alone: it also runs on torch's meta device, where tensors have no values, "
                "and makes constants on the device of its input",
            ) from error  # fmt: skip
    if not isinstance(y, Tensor):
        raise _fault(kind, part, f"gives {type(y).__name__} for an input of {shape}{when}", f"{rule}: one tensor")
    given, size = tuple(y.shape), (shape[2], shape[3])
    fits = {
        "embedding": lambda: len(given) == 4 and given[:2] == (shape[0], dims[-1]) and min(given[2:]) > 0,
        "position_bias": lambda: len(given) == 5 and given[1:3] == size,
        "head": lambda: given == (shape[0], dims[-1]),
    }
    if not fits.get(kind, lambda: given == shape)():
        raise _fault(kind, part, f"gives {given} for an input of {shape}{when}", rule)
    if y.dtype != torch.float32:
        raise _fault(kind, part, f"gives {y.dtype} for an input of torch.float32{when}", rule)
    own = {tensor.untyped_storage()._cdata for tensor in (*module.parameters(), *module.buffers())}
    if y.untyped_storage()._cdata in own:
        what = f"gives a parameter or buffer of its own, or a view of one{when}"
        raise _fault(kind, part, what, f"{rule}, and never one of its own tensors")
    return (given[2], given[3]) if len(given) == 4 else size if kind == "position_bias" else (0, 0)


def _overflows(error: BaseException) -> bool:
    """Whether sizes are too large to be numbers of elements; torch raises errors of several kinds for them."""
    return isinstance(error, OverflowError) or "overflow" in str(error).lower()


def _too_large(part: Part) -> "_ContractError":
    return _ContractError(
        f"{part.name} cannot be built, its sizes are beyond those of a tensor",
        "sizes that fit into memory",
        f"smaller options of {part.name}, or a smaller width or resolution",
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]


def _file(kind: str, part: Part) -> str:
    return inspect.getsourcefile(lookup(kind, part.name)) or lookup(kind, part.name).__module__


def _line(kind: str, part: Part, error: BaseException) -> str:
    """The innermost line of the part's own file that an error went through."""
    trace, line, file = error.__traceback__, 0, _file(kind, part)
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"line {line}" if line else "outside its file"


def _fault(kind: str, part: Part, what: str, rule: str, instead: str = "") -> _ContractError:
    file = _file(kind, part)
    return _ContractError(
        f"{WORDS.get(kind, kind)} {part.name!r} ({file}) {what}", rule, instead or f"fix {file}, or leave the part out"
    )


def _limited(kind: str, part: Part) -> AbstractContextManager[Made]:
    """Bounds what one part may consist of."""
    return limited(tensors=MOST_IN_A_PART, modules=MOST_IN_A_PART, what=f"{WORDS.get(kind, kind)} {part.name!r}")


def build(kind: str, part: Part, dims: tuple[int, ...]) -> tuple[nn.Module, Made]:
    """A part on the meta device, and what it consists of.

    Raises:
        InputError: it cannot be built of these sizes or is too large, or its constructor fails.
    """
    try:
        with torch.device("meta"), SkipInit(), _limited(kind, part) as made:
            return make(kind, part, *dims), made
    except (InputError, MemoryError):
        raise
    except Exception as error:
        if _overflows(error):
            raise _too_large(part) from None
        what = f"cannot be built of {dims} channels ({type(error).__name__}: {_first_line(error)}, {_line(kind, part, error)})"
        raise _fault(kind, part, what, "a constructor that takes any width, on torch's meta device too") from error


_BUILT: dict[tuple[type[nn.Module], Part, tuple[int, ...]], Made] = {}


def check_build(kind: str, part: Part, dims: tuple[int, ...]) -> Made:
    """Builds a part, unless its class was built of the same options and sizes before: by this process, or, for parts of this package,
    by an earlier one (`search_spaces.costs.remembered`). A large space has thousands of them, and every command loads it.

    Returns:
        What it consists of.

    Raises:
        InputError: as `build`.
    """
    key = (lookup(kind, part.name), part, dims)
    if key not in _BUILT:
        found = recall(
            kind, part, dims, "built", lengths=(len(fields(Made)),), count=lambda: astuple(build(kind, part, dims)[1])
        )
        _BUILT[key] = Made(*found)
    return _BUILT[key]
