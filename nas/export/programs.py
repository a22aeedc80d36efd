"""torch.export of a network: one graph with its weights, for fixed sizes or for open ones."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
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


@torch.no_grad()
def accepts(program: ExportedProgram, size: Sequence[int]) -> bool:
    """Whether a program runs on images of a size (b, c, h, w): it refuses those on which a size inside would be 1."""
    try:
        program.module()(torch.zeros(*size))
    except (AssertionError, RuntimeError):
        return False
    return True


def example_of(program: ExportedProgram) -> tuple[int, ...]:
    """The size of the images that a program was made with."""
    assert program.example_inputs is not None
    return tuple(program.example_inputs[0][0].shape)


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
