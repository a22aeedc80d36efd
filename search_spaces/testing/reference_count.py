"""MACs by fvcore, a counter that has nothing to do with ours."""

import logging
import math
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from search_spaces.testing.comparing import no_shape_checks


def _count_attention(inputs: list[Any], outputs: list[Any]) -> int:
    """Both products of fused attention, which fvcore does not know."""
    from fvcore.nn.jit_handles import get_shape

    query, key, value = (get_shape(tensor) or [] for tensor in inputs[:3])
    return math.prod(query[:-2]) * query[-2] * key[-2] * (query[-1] + value[-1])


def _count_einsum(inputs: list[Any], outputs: list[Any]) -> int:
    """Of two factors, the product of the sizes of all indices; fvcore's own count goes through a text with four digits."""
    from fvcore.nn.jit_handles import einsum_flop_jit, get_shape

    words = inputs[0].toIValue().replace(" ", "").partition("->")[0].split(",")
    shapes = [get_shape(factor) or [] for factor in inputs[1].node().inputs()]
    if len(words) != 2 or any("." in word for word in words):
        return cast(int, einsum_flop_jit(inputs, outputs))
    return math.prod(
        {
            index: size
            for word, shape in zip(words, shapes, strict=True)
            for index, size in zip(word, shape, strict=True)
        }.values()
    )


HANDLERS: dict[str, Callable[[list[Any], list[Any]], int]] = {
    "aten::scaled_dot_product_attention": _count_attention,
    "aten::einsum": _count_einsum,
}
"""fvcore handlers for operators that it would miss."""


def fvcore_macs(module: nn.Module, *inputs: Tensor) -> int:
    """What fvcore counts in evaluation mode."""
    training = module.training
    fvcore_log = logging.getLogger("fvcore.nn.jit_analysis")
    level = fvcore_log.level
    fvcore_log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), no_shape_checks(), torch.no_grad():
            warnings.simplefilter("ignore")  # deprecations inside fvcore, sizes that become constants under tracing
            from fvcore.nn import FlopCountAnalysis

            analysis = FlopCountAnalysis(module.eval(), inputs)
            for operator, handler in HANDLERS.items():
                analysis.set_op_handle(operator, handler)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            return int(analysis.total())
    finally:
        fvcore_log.setLevel(level)
        module.train(training)
