"""timm's models by their names: whether there is one, and one with fresh weights. Nothing is downloaded."""

from typing import Any

from torch import nn

from search_spaces.errors import InputError, nearest

TIMM = "timm/"
"""Begins the name of a model of timm."""


def name_in_timm(name: str, key: str = "") -> str:
    """What timm calls "timm/NAME". The networks of the papers are models of timm too.

    Args:
        key: that the name was given for, for the message; empty for none.

    Raises:
        InputError: timm has no such model; the nearest name is offered.
    """
    import timm

    import search_spaces.timm_models  # noqa: F401  # which registers the papers' networks

    called = name.removeprefix(TIMM)
    if not timm.is_model(called):
        given = f"{key} has {name!r}, which timm does not know" if key else f"timm has no model {called!r}"
        offered = f"{TIMM}{nearest(called, timm.list_models())}"
        raise InputError(given, "a name of timm.list_models()", f"{key}={offered}" if key else offered)
    return called


def fresh_model(called: str, resolution: int = 0, **given: Any) -> nn.Module:
    """A model of timm with fresh weights from torch's global generator.

    Args:
        resolution: of its images, for models with tables of positions; others take no such argument. 0 leaves it to the model.
        given: other arguments of the model.

    Raises:
        Exception: whatever the code of the model raises.
    """
    import timm

    if resolution:
        try:
            return timm.create_model(called, pretrained=False, img_size=resolution, **given)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
    return timm.create_model(called, pretrained=False, **given)
