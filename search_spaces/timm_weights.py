"""Weights of other files, such as those of another number of classes or channels, for a model of timm."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from search_spaces.network import StagePieces
from search_spaces.position_biases.dense_table import DenseTable

if TYPE_CHECKING:  # it imports this module
    from search_spaces.timm_models import TimmNetwork


def checkpoint_filter_fn(state: Mapping[str, Tensor], model: "TimmNetwork") -> dict[str, Tensor]:
    """Weights for a model of another `img_size`: position tables are resized once, as the network resizes them in each pass."""
    state = dict(state)
    for s, stage in enumerate(cast("list[StagePieces]", model.stages)):
        table = stage.position_bias
        if not isinstance(table, DenseTable):
            continue
        place = f"stages.{s}.position_bias.tables."
        for key in [key for key in state if key.startswith(place) and key != place + table.name]:
            values = state.pop(key)
            other = DenseTable(
                DenseTable.Options(
                    num_heads=values.shape[0],
                    map_size=math.isqrt(values.shape[1]),
                    sr_ratio=table.sr_ratio,
                    resize=table.resize,
                )
            )
            other.load_state_dict({f"tables.{other.name}": values})
            with torch.no_grad():
                resized = other(values.new_zeros(1, 1, table.map_size, table.map_size))
            state[place + table.name] = resized.reshape(values.shape[0], table.map_size**2, table.keys**2)
    return state
