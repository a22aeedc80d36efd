"""Weights of the authors' own code for HAT-Net and TransXNet, as weights of our networks.

A table says of each of our tensors which official one it is, or which part of it: the official code packs queries, keys and values,
and the scales of an MS-FFN, into one tensor each, which an elastic size cannot cut.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.errors import InputError, unknown
from search_spaces.network import Network
from search_spaces.papers import paper_network, paper_networks
from search_spaces.registry import complete

Shape = tuple[int, ...]
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a tensor comes from: `length` entries from `start` along `axis` of an official tensor that has `shape`."""

    name: str
    shape: Shape
    axis: int = 0
    start: int = 0
    length: int = 1


def _as_it_is(shape: Shape) -> Shape:
    return shape


def _conv1x1(shape: Shape) -> Shape:
    """(outputs, inputs) -> a 1x1 convolution's weight."""
    return *shape, 1, 1


def _grouped(shape: Shape) -> Shape:
    """(groups, channels, inputs) -> a 1x1 convolution's weight; (groups, channels) -> its bias."""
    return (shape[0] * shape[1], *(() if len(shape) == 2 else (shape[2], 1, 1)))


class _Table:
    """Sources of our tensors by name."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self.shapes = shapes
        self.sources: dict[str, Source] = {}

    def take(self, name: str, *ours: str, view: Callable[[Shape], Shape] = _as_it_is, axis: int = 0) -> None:
        """Our tensors, seen as `view` gives them, stand one after the other along `axis` of the official one."""
        views = [view(self.shapes[key]) for key in ours]
        shape = views[0]
        if len(views) > 1:
            shape = (*shape[:axis], sum(found[axis] for found in views), *shape[axis + 1 :])
        start = 0
        for key, found in zip(ours, views, strict=True):
            length = found[axis] if found else 1
            self.sources[key] = Source(name, shape, axis, start, length)
            start += length

    def both(self, name: str, *ours: str, view: Callable[[Shape], Shape] = _as_it_is) -> None:
        """Weight and bias."""
        for end in ("weight", "bias"):
            self.take(f"{name}.{end}", *(f"{key}.{end}" for key in ours), view=view)

    def norm(self, name: str, *ours: str) -> None:
        """A batch norm, or one that several of ours share out by channels."""
        self.both(name, *ours)
        for end in STATISTICS[:2]:
            self.take(f"{name}.{end}", *(f"{key}.{end}" for key in ours))
        for key in ours:
            self.take(f"{name}.{STATISTICS[2]}", f"{key}.{STATISTICS[2]}")


def _transxnet(arch: Architecture, table: _Table) -> None:
    for s, stage in enumerate(arch.stages):
        official = f"network.{2 * s - 1}.proj" if s else "patch_embed.proj"
        table.take(f"{official}.conv.weight", f"stages.{s}.embedding.conv.weight")
        table.norm(f"{official}.bn", f"stages.{s}.embedding.norm.norm")
        for key in table.shapes:
            if key.startswith(f"stages.{s}.position_bias."):
                table.take(f"relative_pos_enc.{s}", key, view=lambda shape: (1, *shape), axis=1)
        for b, block in enumerate(stage.blocks):
            theirs, ours = f"network.{2 * s}.{b}", f"stages.{s}.blocks.{b}"
            mixer = dict(block.mixer.options)
            table.both(f"{theirs}.pos_embed", f"{ours}.position.conv")
            for n in (1, 2):
                table.both(f"{theirs}.norm{n}", f"{ours}.norm{n}")
                table.take(f"{theirs}.layer_scale_{n}.weight", f"{ours}.scale{n}.weight", view=lambda s: (*s, 1, 1, 1))
                table.take(f"{theirs}.layer_scale_{n}.bias", f"{ours}.scale{n}.bias")
            local, idconv = f"{theirs}.token_mixer.local_unit", f"{ours}.mixer.idconv"
            table.take(f"{local}.weight", f"{idconv}.kernels")
            table.take(f"{local}.bias", f"{idconv}.biases")
            table.take(f"{local}.proj.0.conv.weight", f"{idconv}.squeeze.weight")
            table.norm(f"{local}.proj.0.bn", f"{idconv}.norm")
            table.take(f"{local}.proj.1.weight", f"{idconv}.expand", view=_grouped)
            table.take(f"{local}.proj.1.bias", f"{idconv}.expand_bias", view=_grouped)
            wide, osra = f"{theirs}.token_mixer.global_unit", f"{ours}.mixer.osra"
            table.both(f"{wide}.q", f"{osra}.query")
            table.both(f"{wide}.kv", f"{osra}.key", f"{osra}.value")
            table.both(f"{wide}.local_conv", f"{osra}.refine")
            if mixer["sr_ratio"] != 1:
                reduction = f"{osra}.reductions.{mixer['sr_ratio']}"
                table.take(f"{wide}.sr.0.conv.weight", f"{reduction}.conv.weight")
                table.norm(f"{wide}.sr.0.bn", f"{reduction}.norm1")
                table.take(f"{wide}.sr.1.conv.weight", f"{reduction}.scale.weight")
                table.norm(f"{wide}.sr.1.bn", f"{reduction}.norm2")
            proj, ste = f"{theirs}.token_mixer.proj", f"{ours}.mixer.ste"
            for at, name in ((0, "conv"), (3, "squeeze"), (6, "expand")):
                table.both(f"{proj}.{at}", f"{ste}.{name}")
            for at, name in ((2, "norm1"), (5, "norm2"), (7, "norm3")):
                table.norm(f"{proj}.{at}", f"{ste}.{name}")
            mlp, ffn = f"{theirs}.mlp", f"{ours}.ffn"
            branches = [f"{ffn}.branches.{scale}" for scale in dict(block.ffn.options)["scales"]]  # type: ignore[union-attr]
            table.take(f"{mlp}.fc1.0.weight", *(f"{branch}.fc1.weight" for branch in branches))
            table.norm(f"{mlp}.fc1.2", *(f"{branch}.norm1" for branch in branches))
            for n, branch in enumerate(branches):
                table.both(f"{mlp}.dwconv.proj.{n}", f"{branch}.conv")
            table.norm(f"{mlp}.norm", *(f"{branch}.norm2" for branch in branches))
            table.take(f"{mlp}.fc2.0.weight", *(f"{branch}.fc2.weight" for branch in branches), axis=1)
            table.norm(f"{mlp}.fc2.1", f"{ffn}.norm")
    table.both("classifier.0", "head.norm")
    table.take("classifier.2.weight", "head.linear.weight", view=_conv1x1)
    table.take("classifier.2.bias", "head.linear.bias")


def _hat_net(arch: Architecture, table: _Table) -> None:
    for at, name in ((0, "conv1"), (1, "norm"), (3, "conv2")):
        table.both(f"patch_embed.{at}", f"stages.0.embedding.{name}")
    for s, stage in enumerate(arch.stages):
        if s:
            table.both(f"ds{s + 1}.conv", f"stages.{s}.embedding.conv")
            table.both(f"ds{s + 1}.norm", f"stages.{s}.embedding.norm")
        for b, block in enumerate(stage.blocks):
            attn, mixer = f"blocks.{s}.{b}.attn", f"stages.{s}.blocks.{b}.mixer"
            table.both(f"{attn}.norm", f"{mixer}.norm")
            table.both(f"{attn}.proj_norm", f"{mixer}.unused_norm")
            in_windows = dict(block.mixer.options)["window_size"] != 1
            attend, project = ("local", "project") if in_windows else ("whole", "whole_project")
            table.both(f"{attn}.qkv", *(f"{mixer}.{attend}.{name}" for name in ("query", "key", "value")))
            table.both(f"{attn}.proj", f"{mixer}.{project}")
            if in_windows:
                table.both(f"{attn}.grid_norm", f"{mixer}.grid_norm")
                table.both(f"{attn}.ds_norm", f"{mixer}.pool_norm")
                table.both(f"{attn}.q", f"{mixer}.pooled.query")
                table.both(f"{attn}.kv", f"{mixer}.pooled.key", f"{mixer}.pooled.value")
            conv, ffn = f"blocks.{s}.{b}.conv", f"stages.{s}.blocks.{b}.ffn"
            table.both(f"{conv}.conv1.0", f"{ffn}.norm1")
            for at, name in (("conv1.1", "fc1"), ("conv2.0", "conv"), ("conv3.0", "fc2")):
                table.take(f"{conv}.{at}.weight", f"{ffn}.{name}.weight")
            table.both(f"{conv}.conv3.1", f"{ffn}.norm2")
    table.both("classifier.1", "head.linear")


FAMILIES: dict[str, Callable[[Architecture, _Table], None]] = {"hat_net": _hat_net, "transxnet": _transxnet}
"""Families whose authors published code, and so checkpoints."""

CLASSIFIER = {"hat_net": "classifier.1.bias", "transxnet": "classifier.2.bias"}


def official_names() -> list[str]:
    """The networks that official weights can be converted for."""
    return [network.name for network in paper_networks() if network.family in FAMILIES]


def check_name(name: str) -> None:
    """
    Raises:
        InputError: there are no official weights of such a network.
    """
    if name not in official_names():
        raise unknown("network with official weights", name, official_names(), "--model {}")


def sources(arch: Architecture, family: str) -> dict[str, Source]:
    """For each tensor of a network of `arch`, where it comes from in an official checkpoint of its family."""
    with torch.device("meta"):
        shapes = {key: tuple(tensor.shape) for key, tensor in Network(complete(arch)).state_dict().items()}
    table = _Table(shapes)
    FAMILIES[family](complete(arch), table)
    assert table.sources.keys() == shapes.keys(), sorted(table.sources.keys() ^ shapes.keys())
    return table.sources


def _oddity(value: Any) -> str:
    """What keeps this from being a dense tensor of finite floating-point numbers, or whole ones (a norm counts its batches)."""
    if type(value) not in (Tensor, torch.nn.Parameter):
        return type(value).__name__
    plain = value.layout == torch.strided and not value.is_quantized and not value.is_nested
    if not plain or not (value.is_floating_point() or value.dtype == torch.int64):
        return f"a tensor of {value.dtype}, {value.layout}"
    return "" if value.is_meta or bool(value.isfinite().all()) else "a tensor with numbers that are not finite"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _check_plain(state: Mapping[str, Any]) -> None:
    """
    Raises:
        InputError: something in a checkpoint is no plain tensor with a name.
    """
    for key, value in state.items():
        what = _oddity(value) if isinstance(key, str) else f"no name, but {type(key).__name__}"
        if what:
            raise InputError(
                f"{key!r} in the checkpoint is {what}", "names to plain tensors of finite numbers, and nothing else",
                "save the model's state_dict() alone",
            )  # fmt: skip


def _check_shapes(state: Mapping[str, Any], table: Mapping[str, Source], name: str) -> None:
    """
    Raises:
        InputError: keys of a checkpoint are missing, unexpected or misshapen.
    """
    wanted = {source.name: source.shape for source in table.values()}
    missing = [key for key in wanted if key not in state]
    unexpected = [key for key in state if key not in wanted]
    misshapen = [
        f"{key} {tuple(state[key].shape)} instead of {shape}"
        for key, shape in wanted.items()
        if key in state and tuple(state[key].shape) != shape
    ]
    if missing or unexpected or misshapen:
        found = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
        given = "; ".join(f"{len(keys)} {word}: {_some(keys)}" for word, keys in found.items() if keys)
        fitting = _fitting(state)
        raise InputError(
            f"the checkpoint is not one of {name}: {given}",
            f"the {len(wanted)} tensors of the authors' {name}",
            f"--model {fitting[0]}" if fitting else "the authors' file for this network",
        )


def _fitting(state: Mapping[str, Any]) -> list[str]:
    """The networks whose official checkpoint has these names and shapes."""
    given, found = {key: tuple(value.shape) for key, value in state.items()}, []
    for name in official_names():
        network = paper_network(name)
        if {s.name: s.shape for s in sources(network.arch, network.family).values()} == given:
            found.append(name)
    return found


def convert(state: Mapping[str, Any], name: str) -> Network:
    """A network with the weights of an official checkpoint, in evaluation mode.

    Args:
        state: names to tensors, as the authors' code saves them. Another number of classes than 1,000 is taken from it.
        name: of the network, such as "transxnet_tiny".

    Raises:
        InputError: there are no official weights of such a network, something in `state` is no tensor, or keys are missing,
            unexpected or misshapen; all are named, up to five of each.
    """
    check_name(name)
    _check_plain(state)
    network = paper_network(name)
    arch = network.arch
    bias = state.get(CLASSIFIER[network.family])
    if bias is not None and bias.dim() == 1 and len(bias):
        arch = replace(arch, num_classes=len(bias))
    table = sources(arch, network.family)
    _check_shapes(state, table, name)
    with torch.device("meta"):
        built = Network(complete(arch))
    shapes = {key: tensor.shape for key, tensor in built.state_dict().items()}
    weights = {}
    for key, source in table.items():
        tensor = state[source.name].detach()
        part = tensor.narrow(source.axis, source.start, source.length) if source.shape else tensor
        weights[key] = (
            part.reshape(shapes[key]).to(torch.int64 if key.endswith(STATISTICS[2]) else torch.float32).clone()
        )
    built.load_state_dict(weights, assign=True)
    return built.eval().requires_grad_()
