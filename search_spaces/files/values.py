"""The values of weights that were read from a file: finite, and said if they are of another type than those of a network."""

import logging
from collections.abc import Mapping

import torch
from torch import Tensor

from search_spaces.errors import InputError

_logger = logging.getLogger(__name__)


class NotFinite(InputError):
    """Weights have numbers that are not finite."""


def check_values(tensors: Mapping[str, Tensor], where: str) -> None:
    """Checks tensors that become weights in float32. Other types of floating-point numbers are taken, and a warning is logged.

    Args:
        where: what they were read from, for messages.

    Raises:
        NotFinite: a tensor has numbers that are not finite, or that are not in float32.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.to(torch.float32).isfinite().all()):
            raise NotFinite(
                f"{where} has numbers in {name} that are not finite",
                "finite weights",
                "weights of a training that has not diverged",
            )
    others = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values() if _is_other(tensor)})
    if others:
        _logger.warning("%s has weights in %s, which are taken as float32", ascii(where)[1:-1], " and ".join(others))


def _is_other(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dtype != torch.float32
