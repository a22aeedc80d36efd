"""The papers' networks as models of timm.

    import search_spaces, timm
    timm.create_model("transxnet_tiny", num_classes=10, drop_path_rate=0.1)
    timm.create_model("hat_net_tiny", features_only=True)      # maps at strides 4, 8, 16 and 32
    timm.list_models(module="timm_models")

`search_spaces` imports this file as soon as timm is imported too. A model's tensors have the names that they have in `build(arch)`,
so weights go from either to the other. None are published: `pretrained=True` raises timm's RuntimeError, unless
`pretrained_cfg_overlay=dict(file=PATH)` names some; they may be of another number of classes, channels or image size. Stochastic
depth is off unless asked for: `drop_path_rate=paper_network(NAME).drop_path` is the paper's.

HAT-Net has norms that nothing reads, as in its authors' code and counts. Here they get a gradient of zero, so that whoever expects
one for every parameter (timm's tests, distributed training) finds it.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model, register_notrace_module
from torch import Tensor, nn

from search_spaces.architecture import Architecture, Part
from search_spaces.errors import InputError
from search_spaces.heads.conv_head import ConvHead
from search_spaces.heads.linear_head import LinearHead
from search_spaces.network import Network, StagePieces, call, decayed
from search_spaces.output_strides import with_output_stride
from search_spaces.papers import PaperNetwork, paper_networks
from search_spaces.registry import PartModule, complete_part, make
from search_spaces.timm_configs import config_of, first_conv
from search_spaces.timm_folders import FOLDERS, check_folder
from search_spaces.timm_recomputing import call_checkpointed
from search_spaces.timm_sizes import adapted, reductions
from search_spaces.timm_weights import checkpoint_filter_fn

register_notrace_module(
    PartModule
)  # parts read the sizes of their maps, which torch.fx cannot trace: they are its leaves

CROP_PCT = {"transxnet_tiny": 0.9, "transxnet_small": 0.9, "transxnet_base": 0.95}
"""Share of the resized image that its authors evaluate on; timm's default for the others, whose papers do not say."""


class TimmNetwork(Network):
    """A network with what timm expects of a model. Maps (b, in_chans, h, w) to (b, num_classes), for every h and w.

    Without a classifier it gives what that would see, (b, head_hidden_size); with `global_pool=""` too, the map before pooling,
    (b, head_hidden_size, h', w').

    Args:
        arch: the network as its paper has it.
        num_classes: 0 for no classifier.
        in_chans: channels of the image.
        img_size: side of the square image that position tables are made for (TransXNet has them), by default the paper's. Images
            of other sizes have them resized. Nothing else depends on it.
        global_pool: "avg", or "" for no pooling, which only goes without a classifier.
        drop_rate: dropout before the classifier; by default the paper's (0.2 in HAT-Net, else 0).
        drop_path_rate: stochastic depth, from 0 at the first block linearly to this at the last. The paper's rate is
            `PaperNetwork.drop_path`; the default is 0, as everywhere in timm.
        window_sizes, pool_sizes: of HAT-Net's H-MHSA in its first three stages, by default the paper's for 224 x 224. Its text has
            (8, 8, 8) and (16, 8, 4) for dense prediction. They own no weights.
        output_stride: the image over the smallest map; by default that of the last stage, 32 (`search_spaces.output_strides`).

    Raises:
        InputError: a value that is not allowed.
    """

    def __init__(
        self,
        arch: Architecture,
        *,
        num_classes: int = 1000,
        in_chans: int = 3,
        img_size: int | Sequence[int] | None = None,
        global_pool: str = "avg",
        drop_rate: float | None = None,
        drop_path_rate: float = 0.0,
        window_sizes: Sequence[int] | None = None,
        pool_sizes: Sequence[int] | None = None,
        output_stride: int | None = None,
    ) -> None:
        sizes = {"img_size": img_size, "window_sizes": window_sizes, "pool_sizes": pool_sizes}
        arch = adapted(arch, num_classes=num_classes, in_chans=in_chans, **sizes)
        if output_stride is not None:
            arch = with_output_stride(arch, output_stride)
        # A classifier of no classes cannot be made, so one that is not wanted is made and removed.
        super().__init__(arch)
        if drop_rate is None:
            drop_rate = cast(float, dict(self.arch.head.options).get("dropout", 0.0))
        for name, rate in (("drop_rate", drop_rate), ("drop_path_rate", drop_path_rate)):
            if not 0 <= rate < 1:
                raise InputError(f"{name} is {rate}", "from 0 up to, not including, 1", f"{name}=0.1")
        self.set_drop_path(drop_path_rate)
        self.in_chans, self.num_classes, self.drop_rate = in_chans, num_classes, drop_rate
        self.grad_checkpointing = False
        self.feature_info = [
            {"num_chs": stage.width, "reduction": reduction, "module": f"stages.{s}.blocks.{len(stage.blocks) - 1}"}
            for s, (stage, reduction) in enumerate(zip(arch.stages, reductions(arch), strict=True))
        ]
        self._set_global_pool(num_classes, global_pool)
        if not num_classes:
            self._set_classifier(nn.Identity(), 0)
        self._set_widths()

    @property
    def _head(self) -> LinearHead | ConvHead:
        return cast("LinearHead | ConvHead", self.head)

    def _set_widths(self) -> None:
        self.num_features = self.arch.stages[-1].width
        self.head_hidden_size = cast(int, dict(self.arch.head.options).get("hidden", self.num_features))

    def _set_global_pool(self, num_classes: int, global_pool: str) -> None:
        if global_pool not in ("avg", "") or (num_classes and not global_pool):
            raise InputError(
                f"global_pool is {global_pool!r} with {num_classes} classes",
                "'avg', or without a classifier (num_classes=0) also '' for no pooling",
                "global_pool='avg'",
            )
        self.global_pool = global_pool

    def _set_classifier(self, linear: nn.Module, num_classes: int) -> None:
        self.head.add_module("linear", linear)
        self.num_classes = num_classes
        self.arch = replace(self.arch, num_classes=num_classes)

    # Classifier

    def get_classifier(self) -> nn.Module:
        """The linear layer from (b, head_hidden_size) to (b, num_classes), or the identity."""
        return self._head.linear

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Puts a new classifier in place of the old one, or removes it.

        Args:
            num_classes: 0 for no classifier.
            global_pool: as in the constructor; by default it stays.

        Raises:
            InputError: no such pooling, or no pooling before a classifier.
        """
        self._set_global_pool(num_classes, self.global_pool if global_pool is None else global_pool)
        linear = nn.Identity()
        if num_classes:
            linear = cast(LinearHead, make("head", self.arch.head, self.num_features, num_classes)).linear
            linear.to(next(self.parameters()))
        self._set_classifier(linear.train(self.training), num_classes)

    # The forward pass

    def forward_features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b features h2 w2"]:
        """The map behind the last stage, (b, num_features, h / 32, w / 32) rounded up; the head's norm comes after it."""
        return self.forward_intermediates(x, indices=1)[0]

    def forward_head(self, x: Float[Tensor, "b features h w"], pre_logits: bool = False) -> Float[Tensor, "b ..."]:
        """Norm, pooling, dropout and classifier, as the head has them; with `pre_logits` without the classifier."""
        y = self._head.features(x)
        if self.global_pool:
            y = F.adaptive_avg_pool2d(y, 1).flatten(1)
        y = F.dropout(y, self.drop_rate, self.training)
        return y if pre_logits else self._head.linear(y)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b ..."]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.forward_head(self.forward_features(x))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether blocks are computed again for their gradients instead of kept in memory: the same results, running statistics
        included.
        """
        self.grad_checkpointing = enable

    # Features

    def forward_intermediates(
        self,
        x: Float[Tensor, "b c h w"],
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """The map behind the last stage that is run, and a list of those behind the stages that are asked for, in that order.

        Args:
            indices: stages; the last so many for a number, all for None. Negative ones count from the end.
            norm: applies the head's norm to the last stage's map in the list.
            stop_early: runs no stage behind the last that is asked for.
            output_fmt: "NCHW", which is what there is.
            intermediates_only: gives the list alone.

        Raises:
            InputError: another format, or no such stage.
        """
        if output_fmt != "NCHW":
            raise InputError(f"output_fmt is {output_fmt!r}", "'NCHW': maps are (b, c, h, w)", "output_fmt='NCHW'")
        count = len(self.stages)
        taken = take(count, indices)
        run = call_checkpointed if self.grad_checkpointing else call
        maps = {}
        last = max(taken) if stop_early else count - 1
        for s in range(last + 1):
            x = self.forward_stage(s, x, run)
            if s == last and torch.is_grad_enabled() and (unread := self._unread()):
                x = x + 0 * torch.cat(unread).sum()
            if s in taken:
                maps[s] = self._head.norm(x) if norm and s == count - 1 else x
        asked = [maps[s] for s in taken]
        return asked if intermediates_only else (x, asked)

    def _unread(self) -> list[Tensor]:
        """The parameters that no output depends on."""
        blocks = [block for stage in cast("list[StagePieces]", list(self.stages)) for block in stage.blocks]
        norms = [getattr(block.mixer, "unused_norm", None) for block in blocks]
        return [parameter for norm in norms if norm is not None for parameter in norm.parameters()]

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Removes what `forward_intermediates` does not need for these stages, and gives their indices, all from 0 up.

        Args:
            indices: as there.
            prune_norm: removes the head's norm.
            prune_head: removes all of the head but its norm, and pooling. Both go with the last stage.

        Raises:
            InputError: no such stage.
        """
        count = len(self.stages)
        taken = take(count, indices)
        stages = self.arch.stages[: max(taken) + 1]
        cut = len(stages) < count
        name, head_options = self.arch.head.name, dict(self.arch.head.options)
        if prune_norm or cut:
            head_options["norm"] = "none"
            self.head.add_module("norm", make("norm", Part("none"), 1))
        if prune_head or cut:
            name, head_options = "linear_head", {"norm": head_options["norm"]}
            norm = self._head.norm
            self.head = make("head", Part.of(name, norm="none"), 1, 1).train(self.training)
            self.head.add_module("norm", norm)
        self.stages = self.stages[: len(stages)]
        self.arch = replace(self.arch, stages=stages, head=complete_part("head", Part.of(name, **head_options)))
        self._set_widths()
        if prune_head or cut:
            self.reset_classifier(0, "")
        return taken

    # Training

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """What timm groups parameters by for rates that fall with depth: the stem, each block (the first of a stage with what
        stands before it), the head. With `coarse`, stages instead of blocks.
        """
        blocks = [(r"^stages\.(\d+)\.blocks\.(\d+)\.", None), (r"^stages\.(\d+)\.(?:embedding|position_bias)\.", (0,))]
        return {"stem": r"^stages\.0\.embedding\.", "blocks": r"^stages\.(\d+)\." if coarse else blocks}

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that should not decay although they have two or more axes (`search_spaces.network.decayed`)."""
        decay = decayed(self)
        return {name for name, p in self.named_parameters() if p.dim() > 1 and name not in decay}


def take(count: int, indices: int | Sequence[int] | None) -> list[int]:
    """Indices of the stages that are asked for: the last so many for a number, all for None; negative ones count from the end.

    Raises:
        InputError: no stage, or one that is not there.
    """
    if indices is None:
        return list(range(count))
    asked = list(range(-indices, 0)) if isinstance(indices, int) else list(indices)
    if not asked or not all(-count <= index < count for index in asked):
        raise InputError(
            f"indices are {indices}",
            f"how many of the last of {count} stages, or which of them: {-count} to {count - 1}",
            f"out_indices={tuple(range(count))}",
        )
    return [index % count for index in asked]


# The models


def default_cfg(network: PaperNetwork) -> dict[str, Any]:
    """What timm keeps about a model beside its code."""
    return {
        **config_of(network.arch),
        "url": "",
        "crop_pct": CROP_PCT.get(network.name, 0.875),
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "license": "apache-2.0",
    }


def entrypoint(network: PaperNetwork) -> Callable[..., nn.Module]:
    """The function that `timm.create_model` calls for this network's name."""
    layers = {"first_conv": first_conv(network.arch), "classifier": "head.linear"}

    def create(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        cfg = kwargs.get("pretrained_cfg")
        if isinstance(cfg, Mapping) and cfg.get("source") in FOLDERS:
            arguments = kwargs.get("pretrained_model_args") or {}
            check_folder(network.name, arguments, cfg, pretrained, kwargs.get("cache_dir"))
            kwargs["pretrained_cfg"] = {**cfg, **layers, "fixed_input_size": False}  # names of layers are ours
        return build_model_with_cfg(
            partial(TimmNetwork, network.arch),
            network.name,
            pretrained,
            pretrained_filter_fn=checkpoint_filter_fn,
            feature_cfg={"out_indices": tuple(range(len(network.arch.stages))), "feature_cls": "getter"},
            **kwargs,
        )

    create.__name__ = create.__qualname__ = network.name
    create.__doc__ = f"""{network.name} ({network.source}); to be trained with drop_path_rate={network.drop_path}.

    Args:
        pretrained: no weights are published; see this module.
        kwargs: `TimmNetwork`'s, and what every model of timm takes.
    """
    return create


default_cfgs = generate_default_cfgs({network.name: default_cfg(network) for network in paper_networks()})
"""Where `register_model` looks for them."""

for _network in paper_networks():
    globals()[_network.name] = register_model(entrypoint(_network))

# Behind the class, which it needs: whichever of the two is imported first, both are registered.
importlib.import_module("search_spaces.timm_searched")
