"""torch.export of a network: one graph with its weights, for fixed sizes or for open ones."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from nas.export import Plan
from search_spaces.errors import InputError

EXAMPLE_BATCH = 2
"""Images of the example where their number is left open: torch.export takes a size of 1 as fixed."""

WIDE = (320, 352)
"""Sides of an example on which no map, window or sampled map of the papers' networks has a single row."""


def example_sizes(plan: Plan, channels: int, resolution: int) -> list[tuple[int, int, int, int]]:
    """Sizes (b, c, h, w) of examples, the first that can be exported being the best.

    Open sides need an example on which no size inside the network is 1, so there is a larger one to fall back on. Height and width
    differ, because torch.export may take equal numbers for one and the same size.
    """
    batch = plan.batch or EXAMPLE_BATCH
    if not plan.open_sides:
        return [(batch, channels, resolution, resolution)]
    near = (batch, channels, resolution + 32, resolution + 64)
    return [near] if resolution >= WIDE[0] else [near, (batch, channels, *WIDE)]


@torch.no_grad()
def program_of(module: nn.Module, images: Tensor, plan: Plan) -> ExportedProgram:
    """The program of a module that takes images.

    Args:
        images: an example, (b, c, h, w).

    Raises:
        InputError: the module cannot be exported, or not with the sizes left open that the plan leaves open.
    """
    dims: dict[int, Any] = {} if plan.batch else {0: Dim.DYNAMIC}
    if plan.open_sides:
        dims |= {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    plain = module.to(memory_format=torch.contiguous_format)
    try:
        with quiet():
            return torch.export.export(plain, (images,), dynamic_shapes=(dims,) if dims else None, strict=False)
    except Exception as error:  # whatever the exporter finds
        what = " with height and width left open" * plan.open_sides
        raise InputError(
            f"torch.export cannot export this network{what} ({said(error)})",
            "networks of operators whose sizes torch.export can follow",
            "a fixed resolution"
            if plan.open_sides
            else "batch=1"
            if not plan.batch
            else "nas bench, which runs it in PyTorch",
        ) from error


def said(error: BaseException) -> str:
    """The kind and the first line of an error, or of what caused it: exporters wrap that in advice of many lines."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no message'}"


def sides_of(program: ExportedProgram) -> list[tuple[int, int]]:
    """The least and the most pixels of height and width that a program takes; 0 for no limit above."""
    images = next(node for node in program.graph.nodes if node.op == "placeholder" and node.name in _inputs(program))
    return [_bounds(program, size) for size in images.meta["val"].shape[2:]]


def _bounds(program: ExportedProgram, size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    bounds = program.range_constraints[size.node.expr]
    return int(bounds.lower), _most(bounds.upper)


def _inputs(program: ExportedProgram) -> tuple[str, ...]:
    return tuple(program.graph_signature.user_inputs)  # type: ignore[arg-type]


def _most(upper: Any) -> int:
    """An upper bound as a number; 0 for none."""
    return int(upper) if upper.is_Integer and upper < 2**31 else 0


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' notes on their own versions and passes, which they print, log and warn of."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
