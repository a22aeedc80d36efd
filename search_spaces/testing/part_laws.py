"""What the contract of a part promises."""

import copy
import dataclasses
import io
from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import registry
from search_spaces.architecture import Part
from search_spaces.costs import pieces
from search_spaces.costs.operators import operators_of
from search_spaces.errors import InputError
from search_spaces.testing.cases import SIZES, WRONG_TYPES, WRONG_VALUES, Case, option_types
from search_spaces.testing.comparing import assert_same, no_shape_checks, noise, randomise
from search_spaces.testing.reference_count import fvcore_macs

NEGLIGIBLE = 1e-12
"""Of the largest gradient of the part; in float64 rounding noise is below, and a gradient that is there far above."""


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
        known = case.module_class.unmoved(case.options)
        still = {name for name, norm in norms.items() if norm <= NEGLIGIBLE * max(norms.values())}
        expected = {name for name in norms if any(fnmatchcase(name, pattern) for pattern in known)}
        assert still == expected, "weights without gradient, or one of `unmoved` that has one"

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
                module(*case.inputs(*SIZES[-1]))

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
            exported = torch.export.export(module, inputs, dynamic_shapes=(sizes,) * len(inputs), strict=False)
            program = exported.module()
            for batch, height, width in ((2, 16, 28), (1, 9, 9), (5, 21, 14)):
                inputs = case.inputs(height, width, batch=batch)
                torch.testing.assert_close(program(*inputs), module(*inputs), atol=1e-5, rtol=1e-4)

    @pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::FutureWarning")
    def test_jit_trace(self, case: Case) -> None:
        module, inputs = case.make(), case.inputs(7, 5, batch=2)
        with torch.no_grad(), no_shape_checks():
            traced: Any = torch.jit.trace(module, inputs)
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
        if not operators_of(module):  # fvcore does not know what a part says of its own operators
            assert found.macs == fvcore_macs(module, *case.inputs(height, width))
        shape = case.output_shape(height, width)
        if case.kind != "position_bias":
            assert (found.height, found.width) == (shape[2:] if len(shape) == 4 else (0, 0))
