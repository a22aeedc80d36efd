"""The laws of the project, as test classes to inherit.

A part of your own, in a test file of your own:

    import my_package.my_mixer                       # registers it

    @pytest.mark.parametrize("case", cases("mixer", "my_mixer"), ids=str)
    class TestMyMixer(PartLaws):
        pass

    @pytest.mark.parametrize("space", [elastic_space("mixer", "my_mixer")], ids=name_of)
    class TestMyMixerShared(SpaceLaws, CostLaws, SupernetLaws):
        pass

A space: the same second class with `[load_space("my_space.toml")]`.

Examples of a part are built at `DIM` channels, and inside a supernet at the widths `WIDTHS`; options of different examples
are combined wherever the part allows it. Weights and norm statistics are random before every comparison, for ones and zeros
hide missing copies.
"""

import copy
import dataclasses
import io
import logging
import math
import random
import re
import typing
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import jaxtyping
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import registry
from search_spaces.architecture import SLOTS, Architecture, Part
from search_spaces.costs import activations, pieces
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError, OutsideBudget
from search_spaces.named import check, load_space, space_names
from search_spaces.network import Network, build
from search_spaces.space import REJECTIONS, PartChoice, SearchSpace, StageSpace
from supernet.calibration import calibrate
from supernet.supernet import Supernet

DIM, IN_DIM, CLASSES = 16, 6, 5
WIDTHS = (16, 32)
SIZES = ((1, 1), (7, 5), (8, 8), (3, 10))
"""One position, odd, square, and flatter than most kernels."""

INHERITED = [HealthCheck.differing_executors]
few = settings(max_examples=20, deadline=None, suppress_health_check=INHERITED)


# Randomising and comparing


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal numbers that depend on nothing but their shape and seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@torch.no_grad()
def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Gives every parameter and every norm statistic a random value of ordinary size; returns the module."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict(keep_vars=True).items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(5)
            continue
        z = torch.randn(tensor.shape, generator=generator).to(tensor)
        if name.endswith("running_var"):
            value = 0.5 + z.abs()
        elif tensor.dim() <= 1 and name.endswith("weight"):
            value = 1 + 0.3 * z
        else:
            value = 0.3 * z
        tensor.copy_(value)
    return module


@torch.no_grad()
def tame(module: nn.Module) -> nn.Module:
    """Random weights of the size that keeps the outputs of a deep and wide network finite; returns the module."""
    randomise(module)
    for parameter in module.parameters():
        if parameter.dim() > 1:
            parameter.mul_(3 * parameter[0].numel() ** -0.5)
    return module


def assert_same(one: Tensor, other: Tensor, what: str = "the outputs") -> None:
    """Bitwise equality."""
    assert one.shape == other.shape
    assert torch.equal(one, other), f"{what} differ by {(one - other).abs().max():.3g} at most"


@contextmanager
def no_shape_checks() -> Iterator[None]:
    """Without the checks of annotations: what torch.jit and torch.fx trace with is not what annotations say."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


# fvcore, the independent counter


def _count_attention(inputs: list[Any], outputs: list[Any]) -> int:
    """Both products of fused attention, which fvcore does not know."""
    from fvcore.nn.jit_handles import get_shape

    query, key, value = (get_shape(tensor) for tensor in inputs[:3])
    return math.prod(query[:-2]) * query[-2] * key[-2] * (query[-1] + value[-1])


HANDLERS: dict[str, Callable[[list[Any], list[Any]], int]] = {
    "aten::scaled_dot_product_attention": _count_attention,
}
"""fvcore handlers for operators that it would miss; a part with an operator of its own adds one."""


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


# Parts


@dataclasses.dataclass(frozen=True)
class Case:
    """One example of one registered part."""

    kind: str
    name: str
    index: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}-{self.index}"

    @property
    def module_class(self) -> type[registry.PartModule]:
        return registry.lookup(self.kind, self.name)

    @property
    def options(self) -> Any:
        return (*self.module_class.examples, *self.module_class.variants)[self.index]

    @property
    def mixes_kernels(self) -> bool:
        """Whether kernels are mixed for each image, by a norm that sees one position and a convolution of as many groups as images."""
        local = getattr(self.options, "local", "") if getattr(self.options, "attention_ratio", 1) < 1 else ""
        return self.name == "idconv" or local in ("idconv", "dynamic", "predicted")

    @property
    def part(self) -> Part:
        return Part(self.name, tuple(dataclasses.asdict(self.options).items()))

    @property
    def dims(self) -> tuple[int, ...]:
        return {"embedding": (IN_DIM, DIM), "head": (DIM, CLASSES), "position_bias": ()}.get(self.kind, (DIM,))

    def make(self, seed: int = 0) -> registry.PartModule:
        """The part with random weights and statistics, in evaluation mode."""
        module = registry.make(self.kind, self.part, *self.dims)
        randomise(module, seed)
        return module.eval()

    def inputs(self, height: int, width: int, batch: int = 1, seed: int = 1, **kwargs: Any) -> tuple[Tensor, ...]:
        """What `forward` takes: a map, and for some mixers the map before normalisation too."""
        module = self.module_class
        count = 2 if issubclass(module, registry.TokenMixer) and module.needs_residual else 1
        channels = self.dims[0] if self.dims else DIM
        return tuple(noise(batch, channels, height, width, seed=seed + i, **kwargs) for i in range(count))

    def output_shape(self, height: int, width: int, batch: int = 1) -> tuple[int, ...]:
        if self.kind == "head":
            return batch, CLASSES
        if self.kind == "position_bias":
            keys = (-(-height // self.options.sr_ratio), -(-width // self.options.sr_ratio))
            return self.options.num_heads, height, width, *keys
        stride = 1
        if self.kind == "embedding":  # an option, or a constant of the class
            stride = getattr(self.options, "stride", None) or getattr(self.module_class, "stride")  # noqa: B009
        return batch, DIM, -(-height // stride), -(-width // stride)


def cases(kind: str | None = None, name: str | None = None) -> list[Case]:
    """Every example of every registered part, or of those of one kind or name."""
    return [
        Case(found_kind, found_name, index)
        for found_kind in ([kind] if kind else registry.KINDS)
        for found_name, module in registry.parts(found_kind).items()
        if name in (None, found_name)
        for index in range(len(module.examples) + len(module.variants))
    ]


def _always(options: Any) -> bool:
    return True


_NORM_BEHIND = "the batch norm behind it takes the mean away"
_SAME_SCORES = "softmax does not change when one number is added to all scores of a query"

NO_GRADIENT: dict[tuple[str, str], list[tuple[str, Callable[[Any], bool], str]]] = {
    ("embedding", "mat_stem"): [("conv?.bias", _always, _NORM_BEHIND)],
    ("embedding", "patch_embedding"): [("conv.bias", lambda options: options.norm == "batch_norm", _NORM_BEHIND)],
    ("head", "conv_head"): [
        ("conv.bias", _always, _NORM_BEHIND),
        (
            "norm.bias",
            lambda options: options.norm != "none",
            "so does the one behind the convolution behind this bias",
        ),
    ],
    ("mixer", "d_mixer"): [
        ("osra.key.bias", _always, _SAME_SCORES),
        ("window.key.bias", _always, _SAME_SCORES),
        ("ste.expand.bias", _always, "the batch norm behind it takes the mean away"),
        ("ste.norm2.bias", _always, "so does the one behind the convolution behind this bias"),
    ],
    ("mixer", "global_attention"): [("key.bias", _always, _SAME_SCORES)],
    ("mixer", "h_mhsa"): [
        ("local.key.bias", lambda options: options.window_size > 1, _SAME_SCORES),
        ("pooled.key.bias", lambda options: options.window_size > 1, _SAME_SCORES),
        ("whole.key.bias", lambda options: options.window_size == 1, _SAME_SCORES),
    ],
    ("mixer", "mat_attention"): [
        ("mix_key.bias", _always, _SAME_SCORES),
        ("fuse_key.bias", _always, _SAME_SCORES),
    ],
    ("mixer", "partial_attention"): [
        ("head_mlps.*.bias1", _always, "it adds one number to all scores of a query, before the softmax"),
        ("channel_mlp.*", lambda options: options.foreground_ratio == 1, "no background, so nobody asks it"),
    ],
    ("mixer", "spatial_reduction_attention"): [("key.bias", _always, _SAME_SCORES)],
    ("mixer", "window_attention"): [("key.bias", _always, _SAME_SCORES)],
    ("ffn", "ms_ffn"): [
        ("branches.*.norm2.bias", _always, "behind the next convolution is a batch norm, which takes the mean away"),
    ],
}
"""Parameters that training cannot move: name pattern, for which options, why. A test shows that each entry is needed."""

NEGLIGIBLE = 1e-12
"""Of the largest gradient of the part; in float64 rounding noise is below, and a gradient that is there far above."""

WRONG_TYPES: dict[Any, tuple[Any, ...]] = {
    int: (1.5, "1", True, (1,)),
    float: ("0.5", True, (0.5,)),
    str: (1, True, ("gelu",)),
    bool: (1, "true", 0.0),
    tuple: (3, "3", (("a",),), (True,)),
}
WRONG_VALUES: dict[Any, tuple[Any, ...]] = {
    int: (0, -1),
    float: (-1.0, math.nan, math.inf, -math.inf),
    str: ("no such name", ""),
    bool: (),
    tuple: ((), (-1,), (3, 3)),
}


def option_types(module: type[registry.PartModule]) -> dict[str, Any]:
    hints = typing.get_type_hints(module.Options)
    return {key: typing.get_origin(hint) or hint for key, hint in hints.items()}


class PartLaws:
    """What the contract of a part promises, for one example of it (the argument `case`)."""

    @pytest.mark.parametrize(("height", "width"), SIZES)
    def test_shape_for_any_size(self, case: Case, height: int, width: int) -> None:
        with torch.no_grad():
            y = case.make()(*case.inputs(height, width))
        assert tuple(y.shape) == case.output_shape(height, width)
        assert y.isfinite().all()

    def test_images_of_a_batch_are_independent(self, case: Case) -> None:
        if case.kind == "position_bias":
            pytest.skip("a position bias says nothing of images")
        module, inputs = case.make(), case.inputs(7, 5, batch=3)
        with torch.no_grad():
            together = module(*inputs)
            alone = torch.cat([module(*(x[i : i + 1] for x in inputs)) for i in range(3)])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)

    def test_meta_device(self, case: Case) -> None:
        with torch.device("meta"):
            module = registry.make(case.kind, case.part, *case.dims).eval()
        assert all(tensor.is_meta for tensor in module.state_dict().values())
        y = module(*(x.to("meta") for x in case.inputs(7, 5)))
        assert y.is_meta
        assert tuple(y.shape) == case.output_shape(7, 5)

    def test_state_dict_is_all_of_the_state(self, case: Case) -> None:
        module = case.make()
        held = {name for name, _ in module.named_parameters()} | {name for name, _ in module.named_buffers()}
        assert set(module.state_dict()) == held
        for child in module.modules():
            loose = [key for key, value in vars(child).items() if isinstance(value, Tensor)]
            assert not loose, f"{loose} would not move or be shared: a parameter, a buffer, or computed in forward"

    def test_state_dict_round_trip(self, case: Case) -> None:
        module, inputs = case.make(), case.inputs(7, 5)
        file = io.BytesIO()
        torch.save(module.state_dict(), file)
        file.seek(0)
        other = case.make(seed=5)
        if module.state_dict():
            with torch.no_grad():
                assert not torch.equal(module(*inputs), other(*inputs))  # or the test would show nothing
        other.load_state_dict(torch.load(file, weights_only=True))
        with torch.no_grad():
            assert_same(module(*inputs), other(*inputs))

    def test_deepcopy(self, case: Case) -> None:
        module, inputs = case.make(), case.inputs(7, 5)
        other = copy.deepcopy(module)
        with torch.no_grad():
            before = module(*inputs)
            assert_same(before, other(*inputs))
            randomise(other, 9)
            assert_same(before, module(*inputs))

    def test_dtypes(self, case: Case) -> None:
        module, inputs = case.make(), case.inputs(8, 8, batch=2)
        with torch.no_grad():
            y = module(*inputs)
            with torch.autocast("cpu", torch.bfloat16):
                low = module(*inputs)
            exact = copy.deepcopy(module).double()(*(x.double() for x in inputs))
        assert y.dtype == torch.float32
        assert low.dtype in (torch.float32, torch.bfloat16)
        assert exact.dtype == torch.float64
        assert (y - exact).norm() < 1e-5 * exact.norm()
        assert (low.float() - y).norm() < 0.05 * y.norm()

    def test_channels_last(self, case: Case) -> None:
        module, inputs = case.make(), case.inputs(8, 6, batch=2)
        with torch.no_grad():
            y = module(*inputs)
            module.to(memory_format=torch.channels_last)
            other = module(*(x.contiguous(memory_format=torch.channels_last) for x in inputs))
        torch.testing.assert_close(y, other, atol=1e-5, rtol=1e-5)

    def test_gradient_reaches_every_parameter(self, case: Case) -> None:
        module = case.make().double().train()
        inputs = case.inputs(8, 8, batch=2, dtype=torch.float64)
        inputs[0].requires_grad_()
        y = module(*inputs)
        (y * noise(*y.shape, seed=3, dtype=torch.float64)).sum().backward()
        if case.kind != "position_bias":
            assert inputs[0].grad is not None
            assert inputs[0].grad.abs().max() > 0
        norms = {n: 0.0 if p.grad is None else float(p.grad.abs().max()) for n, p in module.named_parameters()}
        known = [p for p, when, _ in NO_GRADIENT.get((case.kind, case.name), []) if when(case.options)]
        still = {name for name, norm in norms.items() if norm <= NEGLIGIBLE * max(norms.values())}
        expected = {name for name in norms if any(fnmatchcase(name, pattern) for pattern in known)}
        assert still == expected, "weights without gradient, or one in NO_GRADIENT that has one"

    def test_training_on_one_image(self, case: Case) -> None:
        module, inputs = registry.make(case.kind, case.part, *case.dims).train(), case.inputs(7, 5)
        if case.mixes_kernels:  # whose norm sees the global average alone
            with pytest.raises(InputError, match="on a batch of 1 image"):
                module(*inputs)
            for norm in module.modules():
                if isinstance(norm, torch.nn.BatchNorm2d):
                    norm.eval()  # frozen, as one does to fine-tune
        assert module(*inputs).isfinite().all()

    def test_no_output_is_a_parameter(self, case: Case) -> None:
        """Nor a buffer, nor a view of one: whoever hooks a module's output or writes into it would reach the weights."""
        sides = {value for key, value in dataclasses.asdict(case.options).items() if key == "map_size"}
        for module in (case.make(), case.make().for_inference()):
            held = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}

            def check_output(child: nn.Module, inputs: Any, output: Any, held: set[int] = held) -> None:
                assert output.untyped_storage().data_ptr() not in held, type(child).__name__

            for child in module.modules():
                child.register_forward_hook(check_output)
            for height, width in (*SIZES, *((side, side) for side in sides)):
                with torch.no_grad(), FlopCounterMode(display=False):
                    module(*case.inputs(height, width))
            with FlopCounterMode(display=False):
                module(*case.inputs(height, width))

    @pytest.mark.parametrize("form", ["evaluation", "training", "inference", "bfloat16"])
    def test_empty_batch(self, case: Case, form: str) -> None:
        dtype = torch.bfloat16 if form == "bfloat16" else torch.float32
        module = case.make().to(dtype).train(form == "training")
        if form == "inference":
            module = module.for_inference()
        inputs = case.inputs(7, 5, batch=0, dtype=dtype)
        inputs[0].requires_grad_()
        y = module(*inputs)
        assert tuple(y.shape) == case.output_shape(7, 5, batch=0)
        assert y.dtype == dtype
        if form != "inference":
            full = copy.deepcopy(module)
            two = case.inputs(7, 5, batch=2, dtype=dtype)
            two[0].requires_grad_()
            full(*two).sum().backward()
            y.sum().backward()
            for (name, found), other in zip(module.named_parameters(), full.parameters(), strict=True):
                assert (found.grad is None) == (other.grad is None), name
                assert found.grad is None or case.kind == "position_bias" or not found.grad.any(), name

    def test_export(self, case: Case) -> None:
        module, inputs = case.make(), case.inputs(7, 5, batch=2)
        with torch.no_grad():
            exported = torch.export.export(module, inputs, strict=False).module()
            torch.testing.assert_close(exported(*inputs), module(*inputs), atol=1e-6, rtol=1e-5)

    @pytest.mark.parametrize("form", ["part", "inference"])
    def test_export_for_any_size(self, case: Case, form: str) -> None:
        """Batch, height and width are dynamic: one program for odd sizes, and for sizes that windows divide or do not."""
        module = case.make()
        if form == "inference":
            if type(module).for_inference is registry.PartModule.for_inference:
                pytest.skip("it is the part itself")
            module = module.for_inference()
        sizes = {0: torch.export.Dim("b"), 2: torch.export.Dim("h", min=9), 3: torch.export.Dim("w", min=9)}
        inputs = case.inputs(13, 11, batch=3)
        with torch.no_grad(), no_shape_checks():
            program = torch.export.export(module, inputs, dynamic_shapes=(sizes,) * len(inputs), strict=False).module()
            for batch, height, width in ((2, 16, 28), (1, 9, 9), (5, 21, 14)):
                inputs = case.inputs(height, width, batch=batch)
                torch.testing.assert_close(program(*inputs), module(*inputs), atol=1e-5, rtol=1e-4)

    @pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::FutureWarning")
    def test_jit_trace(self, case: Case) -> None:
        module, inputs = case.make(), case.inputs(7, 5, batch=2)
        with torch.no_grad(), no_shape_checks():
            traced = torch.jit.trace(module, inputs)
            # The number of images may be another, but where it is the number of groups of a convolution.
            batches = (2,) if case.mixes_kernels else (2, 3)
            for inputs in (case.inputs(7, 5, batch=batch) for batch in batches):
                torch.testing.assert_close(traced(*inputs), module(*inputs), atol=1e-6, rtol=1e-5)

    @pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5), (1, 1)])
    def test_inference_form(self, case: Case, height: int, width: int) -> None:
        module, inputs = case.make(), case.inputs(height, width, batch=2)
        with torch.no_grad():
            fast = copy.deepcopy(module).for_inference()
            y = module(*inputs)
            for other in (fast, copy.deepcopy(fast).to(memory_format=torch.channels_last)):
                for layout in (torch.contiguous_format, torch.channels_last):
                    found = other(*(x.contiguous(memory_format=layout) for x in inputs))
                    assert (found - y).abs().max() <= 2e-5 * y.abs().max()

    def test_unknown_option_offers_the_nearest(self, case: Case) -> None:
        keys = list(option_types(case.module_class))
        for key in keys:
            with pytest.raises(InputError) as error:
                registry.options(case.kind, Part.of(case.name, **{f"{key}x": 1}))
            assert f"'{key}x'" in error.value.given
            assert error.value.instead.startswith(f"{key} =")
            assert all(other in error.value.allowed for other in keys)
        if not keys:
            with pytest.raises(InputError, match="'size'"):
                registry.options(case.kind, Part.of(case.name, size=1))

    def test_wrong_values(self, case: Case) -> None:
        for key, kind in option_types(case.module_class).items():
            for value in WRONG_TYPES[kind] + WRONG_VALUES[kind]:
                with pytest.raises(InputError) as error:
                    pytest.fail(f"{key} = {value!r}: {registry.options(case.kind, Part.of(case.name, **{key: value}))}")
                assert error.value.allowed
                assert error.value.instead

    def test_options_survive_completion(self, case: Case) -> None:
        assert registry.options(case.kind, case.part) == case.options
        whole = registry.complete_part(case.kind, case.part)
        assert registry.complete_part(case.kind, whole) == whole
        assert whole.values().keys() == set(option_types(case.module_class))

    @pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5)])
    def test_cost(self, case: Case, height: int, width: int) -> None:
        module = case.make()
        found = pieces.part_cost(case.kind, case.part, case.dims, height, width)
        assert found.params == sum(p.numel() for p in module.parameters())
        assert found.macs == fvcore_macs(module, *case.inputs(height, width))
        shape = case.output_shape(height, width)
        if case.kind != "position_bias":
            assert (found.height, found.width) == (shape[2:] if len(shape) == 4 else (0, 0))


# Spaces


def name_of(space: SearchSpace) -> str:
    return space.name


def small(space: SearchSpace, resolution: int = 16) -> SearchSpace:
    """The same choices for small images and few classes; in a space for ImageNet, with at most two narrow widths and two depths."""
    if space.resolution >= 128:
        resolution = 32
        stages = []
        for s, stage in enumerate(space.stages):
            width = (16 + 8 * s, 24 + 16 * s)[: len(stage.width)]
            stages.append(dataclasses.replace(stage, width=width, depth=(1, 2)[: len(stage.depth)]))
        space = dataclasses.replace(space, stages=tuple(stages))
    return space.bind(min(3, space.in_channels), min(10, space.num_classes), min(resolution, space.resolution))


@cache
def named_spaces() -> list[SearchSpace]:
    """The spaces that come with the package, for small images."""
    return [small(load_space(name)) for name in space_names()]


def shared_out(total: int) -> int:
    """The share of each named space in `total` trials, so that the tests of more spaces take no longer; 5 at least."""
    return max(5, total // len(space_names()))


FRAME = {
    "position": ("none", {}),
    "norm": ("layer_norm", {}),
    "mixer": ("depthwise_conv", {"kernel_size": 3}),
    "ffn": ("mlp", {"ratio": 1.0}),
    "scale": ("none", {}),
    "embedding": ("conv_downsampling", {"norm": "none", "kernel_size": 1}),
    "head": ("linear_head", {"norm": "none"}),
}
"""What stands in the other places of an `elastic_space`."""


@cache
def elastic_space(kind: str, name: str, examples: str = "examples") -> SearchSpace:
    """A space around one part: elastic width and depth, and the options of its examples, combined as far as the part allows.

    Args:
        examples: "examples", or "variants" for those of the part's further examples.
    """

    def space(values: dict[str, list[Any]]) -> SearchSpace:
        def slot(place: str) -> tuple[PartChoice, ...]:
            if place == kind:
                return (PartChoice(name, tuple((key, tuple(found)) for key, found in sorted(values.items()))),)
            part, options = FRAME[place]
            if place == "mixer" and kind == "position_bias":  # somebody has to use it
                part, options = "d_mixer", {"head_dim": 4, "sr_ratio": 2, "kernel_size": 3}
            return (PartChoice(part, tuple((key, (value,)) for key, value in sorted(options.items()))),)

        stage = StageSpace(
            width=WIDTHS,
            depth=(1, 2),
            embedding=slot("embedding"),
            blocks=tuple(slot(place) for place in SLOTS),
            position_bias=slot("position_bias") if kind == "position_bias" else (),
        )
        return check(
            SearchSpace(
                name=f"{kind}-{name}{'' if examples == 'examples' else f'-{examples}'}", about="", in_channels=2, num_classes=3, resolution=8,
                stages=(stage, dataclasses.replace(stage, depth=(0, 1))), head=slot("head"),
            )
        )  # fmt: skip

    first, *rest = (dataclasses.asdict(example) for example in getattr(registry.lookup(kind, name), examples))
    values = {key: [value] for key, value in first.items()}
    found = space(values)
    for example in rest:
        for key, value in example.items():
            if value not in values[key]:
                more = values | {key: [*values[key], value]}
                try:
                    found = space(more)
                except InputError:
                    continue
                values = more
    return found


def elastic_spaces() -> list[SearchSpace]:
    """One `elastic_space` for every registered part, and one for those with variants."""
    found = [(kind, name, part) for kind in registry.KINDS for name, part in registry.parts(kind).items()]
    variants = [elastic_space(kind, name, "variants") for kind, name, part in found if part.variants]
    return [elastic_space(kind, name) for kind, name, _ in found] + variants


def members(space: SearchSpace, count: int, seed: int = 0) -> list[Architecture]:
    """Random members; the first two have the smallest and the largest choice everywhere."""
    rng = random.Random(seed)
    ends = [space.decode(tuple(pick(len(g.choices)) for g in space.genes)) for pick in (lambda n: 0, lambda n: n - 1)]
    return (ends + [space.sample(rng) for _ in range(count)])[:count]


@cache
def ends(space: SearchSpace) -> tuple[Architecture, Architecture]:
    """The members of least and of most cost."""
    return space.smallest(macs), space.largest(macs)


class Excess:
    """How far MACs are above a limit; counts its calls and ends a search that does not end by itself."""

    def __init__(self, space: SearchSpace, limit: float) -> None:
        choices = sum(len(gene.choices) for gene in space.genes)
        self.limit, self.calls, self.most = limit, 0, REJECTIONS + 2 + (choices + 20) ** 2

    def __call__(self, arch: Architecture) -> float:
        self.calls += 1
        assert self.calls <= self.most, f"more than {self.most} costs for one draw"
        return macs(arch) / self.limit - 1


SEEDS = st.integers(0, 2**32 - 1)


class SpaceLaws:
    """Laws 1 and 2, for a space (the argument `space`)."""

    @few
    @given(seed=SEEDS)
    def test_encode_and_decode(self, space: SearchSpace, seed: int) -> None:
        rng = random.Random(seed)
        genes = tuple(rng.randrange(len(gene.choices)) for gene in space.genes)
        arch = space.decode(genes)
        code = space.encode(arch)
        assert space.decode(code) == arch
        assert space.decode(code).digest == arch.digest
        active = space.active(genes)
        assert space.active(code) == active
        matters = tuple(index if position in active else 0 for position, index in enumerate(genes))
        assert space.decode(matters) == arch
        assert all(index == 0 for position, index in enumerate(code) if position not in active)
        if space.functions is None:  # else another value of a gene may be the same function
            assert code == matters
        assert space.contains(arch)

    @few
    @given(seed=SEEDS)
    def test_json(self, space: SearchSpace, seed: int) -> None:
        arch = space.sample(random.Random(seed))
        for text in (arch.to_json(), arch.to_json(indent=1)):
            again = Architecture.from_json(text)
            assert again == arch
            assert hash(again) == hash(arch)
            assert again.digest == arch.digest
            assert space.encode(again) == space.encode(arch)
        assert registry.complete(arch) == arch

    @few
    @given(seed=SEEDS, rate=st.sampled_from([0.0, 0.1, 0.9]))
    def test_moves_stay_inside(self, space: SearchSpace, seed: int, rate: float) -> None:
        rng = random.Random(seed)
        one, other = space.sample(rng), space.sample(rng)
        mutant, child = space.mutate(one, rng, rate), space.crossover(one, other, rng)
        assert all(map(space.contains, (one, other, mutant, child)))
        assert (mutant != one) == (space.size > 1)
        codes = [space.encode(arch) for arch in (one, other, child)]
        for position in space.active(codes[2]):
            given = {code[position] for code in codes[:2]}
            words = [(*codes[2][:position], index, *codes[2][position + 1 :]) for index in given]
            assert codes[2][position] in given or child in map(space.decode, words)
        assert space.crossover(one, one, rng) == one

    @few
    @given(seed=SEEDS)
    def test_moves_repeat(self, space: SearchSpace, seed: int) -> None:
        def moves() -> list[Architecture]:
            rng = random.Random(seed)
            one, other = space.sample(rng), space.sample(rng)
            return [one, other, space.mutate(one, rng), space.crossover(one, other, rng)]

        state = random.getstate()
        with no_shape_checks():  # which draw the items that they look at from the global generator
            assert moves() == moves()
        assert random.getstate() == state

    @settings(max_examples=2, deadline=None, suppress_health_check=INHERITED)
    @given(seed=SEEDS, share=st.one_of(st.just(0.0), st.floats(0, 1)))
    def test_budget(self, space: SearchSpace, seed: int, share: float) -> None:
        rng = random.Random(seed)
        least, most = map(macs, ends(space))
        budget = least + int(share * (most - least))
        one = space.sample(rng, Excess(space, budget))
        large = space.sample(rng)
        moved = [
            space.mutate(large, rng, 0.1, Excess(space, budget)),
            space.crossover(one, large, rng, Excess(space, budget)),
            space.repair(large, rng, Excess(space, budget)),
        ]
        for arch in (one, *moved):
            assert space.contains(arch)
            assert macs(arch) <= budget
        assert space.repair(one, rng, Excess(space, budget)) == one

    def test_infeasible_budget(self, space: SearchSpace) -> None:
        rng = random.Random(0)
        one = space.sample(rng)
        least = macs(ends(space)[0])
        for move in (
            lambda budget: space.sample(rng, Excess(space, budget)),
            lambda budget: space.mutate(one, rng, 0.1, Excess(space, budget)),
            lambda budget: space.crossover(one, one, rng, Excess(space, budget)),
            lambda budget: space.repair(one, rng, Excess(space, budget)),
        ):
            with pytest.raises(OutsideBudget) as error:
                move(least - 1)
            assert macs(error.value.nearest) == least
            assert space.contains(error.value.nearest)
            assert macs(move(least)) == least
        assert space.nearest(Excess(space, least - 1)) == error.value.nearest

    def test_ends_are_members_and_no_sample_is_beyond(self, space: SearchSpace) -> None:
        least, most = ends(space)
        assert all(map(space.contains, (least, most)))
        for arch in members(space, 50):
            assert macs(least) <= macs(arch) <= macs(most)

    def test_strangers_are_refused(self, space: SearchSpace) -> None:
        arch = space.sample(random.Random(0))
        stranger = dataclasses.replace(arch, resolution=arch.resolution + 1)
        assert not space.contains(stranger)
        with pytest.raises(InputError, match="resolution"):
            space.mutate(stranger, random.Random(0))
        with pytest.raises(InputError, match="resolution"):
            space.crossover(arch, stranger, random.Random(0))
        with pytest.raises(ValueError, match="indices"):
            space.decode((*space.encode(arch), 0))
        if space.genes:
            with pytest.raises(ValueError, match=re.escape(space.genes[0].name)):
                space.decode((len(space.genes[0].choices), *space.encode(arch)[1:]))

    def test_dict_round_trip(self, space: SearchSpace) -> None:
        again = SearchSpace.from_dict(space.to_dict())
        assert again == space
        assert again.digest == space.digest
        checked = check(again)
        assert checked == space
        assert checked.genes == space.genes

    def test_digest_is_of_the_choices(self, space: SearchSpace) -> None:
        assert dataclasses.replace(space, name="other", about="other").digest == space.digest
        bound = space.bind(space.in_channels + 1, space.num_classes, space.resolution)
        assert bound.digest != space.digest
        assert bound.genes == space.genes
        assert bound.size == space.size


class CostLaws:
    """Law 4, for a space (the argument `space`)."""

    num_members = 30

    def test_cost_is_what_fvcore_counts(self, space: SearchSpace) -> None:
        for seed, arch in enumerate(members(space, self.num_members)):
            with no_shape_checks():
                network = build(arch, seed).eval()
                found = pieces.cost(arch)
                assert found == pieces.count(network, arch.resolution), arch.digest
                assert found.params == sum(p.numel() for p in network.parameters()), arch.digest
                image = noise(1, arch.in_channels, arch.resolution, arch.resolution)
                assert found.macs == fvcore_macs(network, image), arch.digest

    def test_activations_are_those_of_the_whole(self, space: SearchSpace) -> None:
        for seed, arch in enumerate(members(space, min(10, self.num_members))):
            found = activations.activations(arch)
            assert found == activations.whole(build(arch, seed), arch.resolution), arch.digest
            assert found >= 4 * arch.in_channels * arch.resolution**2

    def test_cost_does_not_depend_on_what_was_asked_before(self, space: SearchSpace) -> None:
        archs = members(space, 10)
        found, held = [], []
        for order in (archs, archs[::-1]):
            pieces.piece_cost.cache_clear()
            pieces.part_cost.cache_clear()
            activations.forget()
            found.append({arch: pieces.cost(arch) for arch in order})
            held.append({arch: activations.activations(arch) for arch in order if arch in archs[:3]})
        assert found[0] == found[1] == {arch: pieces.cost(arch) for arch in archs}
        assert held[0] == held[1] == {arch: activations.activations(arch) for arch in archs[:3]}


# Supernets


def supernet_of(space: SearchSpace, seed: int = 0) -> Supernet:
    """A supernet with random weights and statistics, in evaluation mode, of this test's own."""
    return copy.deepcopy(_supernet(space, seed))


@cache
def _supernet(space: SearchSpace, seed: int) -> Supernet:
    supernet = Supernet(space, seed)
    randomise(supernet, seed)
    return supernet.eval()


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def images(space: SearchSpace, batch: int = 2, seed: int = 7) -> Tensor:
    return noise(batch, space.in_channels, space.resolution, space.resolution, seed=seed)


@torch.no_grad()
def borrowed(supernet: Supernet, arch: Architecture) -> dict[str, Tensor]:
    """For every bank tensor, where `arch` borrows from it: a mask of its shape."""
    marks = copy.deepcopy(supernet)
    for tensor in marks.bank().values():
        tensor.zero_()
    for tensor in marks.weights(arch).values():
        tensor.fill_(1)
    return {name: tensor.bool() for name, tensor in marks.bank().items()}


def repeated(space: SearchSpace) -> list[Architecture]:
    """Deep members whose blocks are all alike, one for each mixer and each FFN: blocks of a stage share one skeleton."""
    found = []
    for place in (".mixer", ".ffn"):
        for index in range(max((len(gene.choices) for gene in space.genes if gene.name.endswith(place)), default=1)):
            genes = []
            for gene in space.genes:
                last = len(gene.choices) - 1
                genes.append(last if gene.chosen == "depth" else min(index, last) if gene.name.endswith(place) else 0)
            found.append(space.decode(tuple(genes)))
    return found


class SupernetLaws:
    """Laws 3 and 5, for a space (the argument `space`)."""

    num_members = 12

    def archs(self, space: SearchSpace) -> list[Architecture]:
        return members(space, self.num_members) + repeated(space)

    def test_a_subnetwork_is_its_extracted_network(self, space: SearchSpace) -> None:
        supernet, x = supernet_of(space), images(space)
        for arch in self.archs(space):
            with no_shape_checks(), torch.no_grad():  # they double the time of so many runs; the other laws have them
                supernet.eval()
                buffers = calibrate(supernet, arch, [images(space, 2, seed=11)])
                network = supernet.extract(arch, buffers)
                assert isinstance(network, Network)
                y = supernet(x, arch, buffers)
                assert_same(y, network(x), f"evaluation outputs of {arch.to_json()}")
                assert y.isfinite().all()
                supernet.train()
                torch.manual_seed(3)
                y = supernet(x, arch)
                network.train()
                torch.manual_seed(3)
                assert_same(y, network(x), f"training outputs of {arch.to_json()}")

    def test_empty_batch(self, space: SearchSpace) -> None:
        supernet, x = supernet_of(space), images(space, 2)[:0]
        for arch in members(space, 2):
            with torch.no_grad():
                y = supernet(x, arch)
                assert_same(y, supernet.extract(arch)(x))
            assert y.shape == (0, space.num_classes)

    def test_extraction_copies(self, space: SearchSpace) -> None:
        supernet, x = supernet_of(space), images(space)
        arch = members(space, 3)[2]
        network = supernet.extract(arch)
        again = build(arch, seed=4).eval()
        again.load_state_dict(network.state_dict())  # the plain network has the same names and shapes
        with torch.no_grad():
            before = network(x)
            assert_same(before, supernet(x, arch))
            assert_same(before, again(x))
            randomise(supernet, 8)
            assert_same(before, network(x))
            assert not torch.equal(before, supernet(x, arch))

    def test_gradients_and_influence_stay_in_the_slices(self, space: SearchSpace) -> None:
        supernet, x = supernet_of(space), images(space)
        for arch in members(space, 3):
            supernet.train()
            supernet.zero_grad()
            torch.manual_seed(0)
            supernet(x, arch).square().sum().backward()
            mask = borrowed(supernet, arch)
            for name, parameter in supernet.named_parameters():
                if not mask[name].any():
                    assert parameter.grad is None, name
                elif parameter.grad is not None:
                    assert not parameter.grad[~mask[name]].any(), name
            network = supernet.extract(arch).train()
            network.zero_grad()
            torch.manual_seed(0)
            network(x).square().sum().backward()
            bank = supernet.bank()
            where = supernet.bank_names(arch)
            for name, parameter in network.named_parameters():
                grad = bank[where[name]].grad
                assert (grad is None) == (parameter.grad is None), name
                if grad is not None:
                    inside = grad[mask[where[name]]].reshape(parameter.shape)
                    torch.testing.assert_close(inside, parameter.grad, msg=lambda text, name=name: f"{name}: {text}")

            supernet.eval()
            with torch.no_grad():
                before = supernet(x, arch)
                for name, tensor in bank.items():
                    if tensor.is_floating_point():
                        tensor[~mask[name]] = math.nan
                assert_same(before, supernet(x, arch))
            randomise(supernet, 1)

    def test_statistics_update_in_the_slices_only(self, space: SearchSpace) -> None:
        supernet, x = supernet_of(space).train(), images(space)
        for arch in members(space, 3):
            network, before, mask = supernet.extract(arch), state_of(supernet), borrowed(supernet, arch)
            torch.manual_seed(0)
            supernet(x, arch)
            torch.manual_seed(0)
            network(x)
            bank, where = supernet.bank(), supernet.bank_names(arch)
            for name, tensor in supernet.named_buffers():
                assert_same(tensor[~mask[name]], before[name][~mask[name]], name)
            for name, tensor in supernet.named_parameters():
                assert_same(tensor, before[name], name)
            for name, tensor in network.named_buffers():
                assert_same(bank[where[name]][mask[where[name]]].reshape(tensor.shape), tensor, name)
                if tensor.dim():
                    assert not torch.equal(tensor, before[where[name]][mask[where[name]]].reshape(tensor.shape)), name

    def test_seeds(self, space: SearchSpace) -> None:
        generator = torch.get_rng_state()
        one, same, other = Supernet(space, 1), Supernet(space, 1), Supernet(space, 2)
        assert torch.equal(torch.get_rng_state(), generator)
        bank, again, third = one.bank(), same.bank(), other.bank()
        assert bank.keys() == again.keys() == third.keys()
        assert all(torch.equal(bank[name], again[name]) for name in bank)
        drawn = [name for name, tensor in bank.items() if tensor.is_floating_point() and len(tensor.unique()) > 2]
        assert drawn
        assert not any(torch.equal(bank[name], third[name]) for name in drawn)

    def test_every_element_starts_as_its_part_starts_it(self, space: SearchSpace) -> None:
        """What a constructor fills with one number has such a number in every slice; what it draws is drawn, not left at 0."""
        supernet, archs = Supernet(space), members(space, 6)
        fills: dict[str, set[float]] = {}  # one bank tensor may serve several options, each with a number of its own
        drawn: set[str] = set()
        for seed, arch in enumerate(archs):
            where = supernet.bank_names(arch)
            for name, tensor in build(arch, seed).state_dict().items():
                if (tensor == tensor.flatten()[0]).all():
                    fills.setdefault(where[name], set()).add(float(tensor.flatten()[0]))
                else:
                    drawn.add(where[name])
        assert drawn
        for arch in archs:
            where = supernet.bank_names(arch)
            for name, tensor in supernet.weights(arch).items():
                if where[name] not in drawn:
                    assert set(tensor.flatten().tolist()) <= fills[where[name]], name
                else:
                    assert tensor.all(), name
                    assert tensor.numel() == 1 or tensor.std() > 0, name
