"""Networks of any architecture as one model of timm, so that timm loads the folder of a searched network.

    import search_spaces, timm
    timm.create_model("local-dir:models/a05d4eb1136f", pretrained=True)
    timm.create_model("hf-hub:somebody/a05d4eb1136f", pretrained=True, num_classes=10, features_only=False)

The folder's config.json has the whole architecture among the arguments of the model. As everywhere in timm, `pretrained=True` is what loads
the weights, and another number of classes, other channels or another `img_size` may be asked for with it. Weights are compared with the
description before they are read: see `search_spaces.files`.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from timm.models import build_model_with_cfg, register_model
from torch import nn

from search_spaces.files.described import SEARCHED, architecture_of
from search_spaces.registry import complete
from search_spaces.timm_configs import config_of
from search_spaces.timm_folders import check_folder
from search_spaces.timm_models import TimmNetwork
from search_spaces.timm_weights import checkpoint_filter_fn


@register_model
def hybrid_mixer(
    pretrained: bool = False,
    arch: Mapping[str, Any] | None = None,
    pretrained_cfg: Mapping[str, Any] | None = None,
    pretrained_model_args: Mapping[str, Any] | None = None,
    cache_dir: Any = None,
    **kwargs: Any,
) -> nn.Module:
    """A network of any architecture (`nas extract`), with weights from its folder.

    Args:
        pretrained: loads the weights of the folder; needs "local-dir:FOLDER" or "hf-hub:NAME" as the name of the model.
        arch: the content of an arch.json.
        pretrained_cfg, pretrained_model_args, cache_dir: as timm passes them on.
        kwargs: `TimmNetwork`'s, and what every model of timm takes.

    Raises:
        InputError: the description or the weights are damaged, too large, or not of each other.
    """
    whole = complete(architecture_of(arch))
    cfg = dict(pretrained_cfg) if isinstance(pretrained_cfg, Mapping) else {}
    source = check_folder(SEARCHED, pretrained_model_args or {"arch": arch}, cfg, pretrained, cache_dir)
    own = config_of(source)
    # Whatever the file says: names of layers are ours, and every size of image is taken.
    fixed = {key: own[key] for key in ("first_conv", "classifier")} | {
        "fixed_input_size": False,
        "architecture": SEARCHED,
    }
    if pretrained_model_args is not None:
        kwargs["pretrained_model_args"] = dict(pretrained_model_args)
    return build_model_with_cfg(
        partial(TimmNetwork, whole),
        SEARCHED,
        pretrained,
        pretrained_cfg={**own, **{key: value for key, value in cfg.items() if value is not None}, **fixed},
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": tuple(range(len(whole.stages))), "feature_cls": "getter"},
        cache_dir=cache_dir,
        **kwargs,
    )
