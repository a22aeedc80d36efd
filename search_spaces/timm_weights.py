"""Weights of other files, such as those of another number of classes or channels, for a model of timm."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces.files.values import check_values
from search_spaces.network import StagePieces
from search_spaces.position_biases.dense_table import DenseTable
from search_spaces.positions.absolute import Absolute

if TYPE_CHECKING:  # it imports this module
    from search_spaces.timm_models import TimmNetwork


def checkpoint_filter_fn(state: Mapping[str, Tensor], model: "TimmNetwork") -> dict[str, Tensor]:
    """Weights for a model of another `img_size`: position tables are resized once, as the network resizes them in each pass.

    Raises:
        InputError: weights are not finite.
    """
    check_values(state, "the file of weights")
    state = dict(state)
    for s, stage in enumerate(cast("list[StagePieces]", model.stages)):
        for b, block in enumerate(stage.blocks):
            if isinstance(position := getattr(block, "position", None), Absolute):
                _resize_positions(state, f"stages.{s}.blocks.{b}.position.tables.", position)
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


def _resize_positions(state: dict[str, Tensor], place: str, position: Absolute) -> None:
    """Puts the table of an absolute position encoding for another map in place of the one that the model has, resized."""
    side = position.map_size
    for key in [key for key in state if key.startswith(place) and key != f"{place}{side}"]:
        values = state.pop(key)
        state[f"{place}{side}"] = F.interpolate(values[None], size=(side, side), mode="bicubic", align_corners=False)[0]
