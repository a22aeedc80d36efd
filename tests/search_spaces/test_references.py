"""Every part against its equations, written anew with loops and sums in `references`, in float64: outputs and all gradients."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from search_spaces import registry
from search_spaces.mixers.c_mhsa import Propagation, Sample
from search_spaces.testing import Case, cases, noise, randomise
from tests.search_spaces.references import convolutions, d_mixer, embeddings, ffns, norms_and_positions
from tests.search_spaces.references.attention import ATTENTION
from tests.search_spaces.references.convolutions import CONVOLUTIONS
from tests.search_spaces.references.d_mixer import D_MIXER, reference_d_mixer
from tests.search_spaces.references.embeddings import EMBEDDINGS, HEADS
from tests.search_spaces.references.ems import EMS
from tests.search_spaces.references.ffns import FFNS
from tests.search_spaces.references.norms_and_positions import NORMS, POSITIONS, SCALES
from tests.search_spaces.references.operations import References, Weights, gelu, normed, per_channel, silu, softmax

REFERENCES: References = (
    ATTENTION | CONVOLUTIONS | D_MIXER | EMBEDDINGS | EMS | FFNS | HEADS | NORMS | POSITIONS | SCALES
)

ELSEWHERE: set[tuple[str, str]] = set()
"""Parts whose reference stands in a test file of their own."""


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_part_has_a_reference(kind: str) -> None:
    missing = [name for name in registry.parts(kind) if (kind, name) not in REFERENCES.keys() | ELSEWHERE]
    assert not missing, f"write a naive version of {missing} into REFERENCES, or name its test in ELSEWHERE"


def compare(module: torch.nn.Module, reference: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Outputs, and the gradients of every parameter and of the inputs that want one, in float64."""
    state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    names = [name for name, _ in module.named_parameters()]
    for name in names:
        state[name].requires_grad_()

    y = module(*inputs)
    expected = reference(state, *inputs)
    torch.testing.assert_close(y, expected, atol=1e-10, rtol=1e-8)

    cotangent = noise(*y.shape, seed=4, dtype=torch.float64)
    xs = {f"input {i}": x for i, x in enumerate(inputs) if x.requires_grad}
    own = [parameter for _, parameter in module.named_parameters()]
    kwargs = {"allow_unused": True, "materialize_grads": True}
    found = torch.autograd.grad((y * cotangent).sum(), [*xs.values(), *own], **kwargs)
    wanted = torch.autograd.grad((expected * cotangent).sum(), [*xs.values(), *(state[n] for n in names)], **kwargs)
    for name, one, other in zip([*xs, *names], found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-7, msg=lambda text, name=name: f"{name}: {text}")


def compare_case(case: Case, module: torch.nn.Module, options: Any, height: int, width: int) -> None:
    inputs = case.inputs(height, width, batch=2, dtype=torch.float64)
    inputs[0].requires_grad_()
    reference = REFERENCES[case.kind, case.name]
    compare(module.double(), lambda w, *xs: reference(w, options, *xs), *inputs)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5), (3, 10)])
@pytest.mark.parametrize("case", [case for case in cases() if (case.kind, case.name) in REFERENCES], ids=str)
def test_reference(case: Case, height: int, width: int) -> None:
    compare_case(case, case.make(), case.options, height, width)


@pytest.mark.parametrize("case", cases("embedding") + cases("mixer") + cases("ffn"), ids=str)
def test_reference_where_shares_of_the_width_are_no_whole_numbers(case: Case) -> None:
    dims = (5, 22) if case.kind == "embedding" else (22,)
    module = randomise(registry.make(case.kind, case.part, *dims)).eval()
    count = len(case.inputs(1, 1))
    inputs = [noise(2, dims[0], 7, 5, seed=1 + i, dtype=torch.float64) for i in range(count)]
    reference = REFERENCES[case.kind, case.name]
    compare(module.double(), lambda w, *xs: reference(w, case.options, *xs), inputs[0].requires_grad_(), *inputs[1:])


@pytest.mark.parametrize("case", cases("mixer", "h_mhsa"), ids=str)
def test_h_mhsa_with_a_norm_that_is_never_used(case: Case) -> None:
    options = dataclasses.replace(case.options, unused_norm=True)
    module = randomise(case.module_class(*case.dims, options)).eval()
    assert any(name.startswith("unused_norm.") for name in module.state_dict())
    compare_case(case, module, options, 7, 5)


@pytest.mark.parametrize("resize", ["grid", "flat"])
@pytest.mark.parametrize("case", cases("position_bias", "dense_table"), ids=str)
def test_dense_table_on_maps_of_its_size(case: Case, resize: str) -> None:
    """Nothing is resized; then one side alone is, and maps that are smaller, to one position."""
    side, options = case.options.map_size, dataclasses.replace(case.options, resize=resize)
    module = randomise(case.module_class(options))
    y = module(noise(1, 1, side, side))
    assert torch.equal(y.flatten(3).flatten(1, 2), next(module.parameters()))
    for height, width in [(side, side), (side, side + 3), (side + 1, side), (side // 2, side // 2), (1, 1)]:
        compare_case(case, module, options, height, width)


@pytest.mark.parametrize(("keys_down", "keys_across"), [(0, 0), (2, 1), (-1, 3)])
@pytest.mark.parametrize("more_heads", [-1, 0, 2])
@pytest.mark.parametrize(
    "case", [case for case in cases("mixer", "d_mixer") if case.options.attention_ratio > 0], ids=str
)
def test_d_mixer_adds_its_position_bias(case: Case, more_heads: int, keys_down: int, keys_across: int) -> None:
    """Also a bias for fewer or more heads than it has, and for another grid of keys."""
    module = case.make().double()
    heads = round(case.options.attention_ratio * case.dims[0]) // case.options.head_dim
    height, width = 7, 5
    keys = (-(-height // case.options.sr_ratio) + keys_down, -(-width // case.options.sr_ratio) + keys_across)
    (x,) = case.inputs(height, width, batch=2, dtype=torch.float64)
    bias = noise(heads + more_heads, height, width, *keys, seed=3, dtype=torch.float64)
    compare(module, lambda w, *xs: reference_d_mixer(w, case.options, *xs), x.requires_grad_(), bias.requires_grad_())


@pytest.mark.parametrize("change", [{}, {"skip": False}, {"branch_norm": False}, {"num_branches": 1}], ids=str)
@pytest.mark.parametrize("case", cases("ffn", "rp_cpe_ffn"), ids=str)
def test_rp_cpe_is_one_convolution_in_evaluation(case: Case, change: dict[str, Any]) -> None:
    options = dataclasses.replace(case.options, **change)
    module = randomise(case.module_class(*case.dims, options)).eval().double()
    single = dataclasses.replace(options, num_branches=1, branch_norm=False, skip=False, diverse=False)
    merged = module.reparameterised()
    assert module.reparameterised_options(options) == (None if single == options else single)
    if single == options:
        assert merged is None
        return
    plain = case.module_class(*case.dims, single).double().eval()
    plain.load_state_dict(merged.state_dict())  # it is what its options say
    for height, width in [(8, 8), (7, 5), (1, 1)]:
        (x,) = case.inputs(height, width, batch=2, dtype=torch.float64)
        y = module(x)
        torch.testing.assert_close(merged(x), y, atol=1e-10, rtol=1e-8)
        torch.testing.assert_close(plain(x), y, atol=1e-10, rtol=1e-8)
    randomise(merged, 9)
    assert torch.equal(module(x), y)  # on copies of the weights


def batch_norm_in_training(w: Weights, x: Tensor) -> Tensor:
    return per_channel(w["weight"]) * normed(x, (0, 2, 3), 1e-5) + per_channel(w["bias"])


def normalises_batches(case: Case) -> bool:
    return any(isinstance(module, torch.nn.BatchNorm2d) for module in case.make().modules())


@pytest.mark.parametrize("case", [case for case in cases() if normalises_batches(case)], ids=str)
def test_reference_in_training(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same equations with the batch's statistics in place of the running ones, outputs and gradients."""
    for references in (convolutions, d_mixer, embeddings, ffns, norms_and_positions):
        monkeypatch.setattr(references, "batch_norm", batch_norm_in_training)
    module = case.make().train()
    compare_case(case, module, case.options, 8, 8)
    norms = [child for child in module.modules() if isinstance(child, torch.nn.BatchNorm2d)]
    assert {int(norm.num_batches_tracked) - 5 for norm in norms} <= {1, 2}  # the norm in IDConv sees two maps


@pytest.mark.parametrize(("name", "function"), [("gelu", gelu), ("silu", silu), ("relu", lambda x: x.clamp(min=0))])
def test_activations(name: str, function: Callable[[Tensor], Tensor]) -> None:
    from search_spaces import layers

    x = noise(100, dtype=torch.float64) * 3
    torch.testing.assert_close(layers.ACTIVATIONS[name](x), function(x))


def test_attention_is_softmax_attention() -> None:
    from search_spaces.layers import attention

    q, k, v = noise(2, 3, 5, 4), noise(2, 3, 6, 4, seed=1), noise(2, 3, 6, 7, seed=2)
    y = attention(q, k, v)
    expected = torch.einsum("banm,bame->bane", softmax(torch.einsum("band,bamd->banm", q, k) / 2, -1), v)
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize(("height", "width", "size"), [(56, 56, 6), (7, 14, 6), (9, 5, 4), (3, 2, 4), (8, 12, 4)])
@pytest.mark.parametrize("maximum", [False, True])
def test_a_token_is_sampled_from_the_positions_that_it_is_given_back_to(
    maximum: bool, height: int, width: int, size: int
) -> None:
    """Each cell has a number of its own: sampled and propagated with ones, every position has it again."""
    sample, propagation = Sample(1, 1, size, maximum=maximum), Propagation(1, size)
    for parameter in (*sample.parameters(), *propagation.parameters()):
        torch.nn.init.ones_(parameter)
    rows, columns = torch.arange(height) // size, torch.arange(width) // size
    numbers = (rows[:, None] * (columns[-1] + 1) + columns).reshape(1, 1, height, width).double()
    with torch.no_grad():
        tokens = sample.double()(numbers)
        assert tokens.shape[2:] == (rows[-1] + 1, columns[-1] + 1)
        torch.testing.assert_close(propagation.double()(tokens, height, width), numbers)


@pytest.mark.parametrize(("side", "size"), [(8, 2), (8, 4), (12, 6), (6, 3)])
def test_means_of_cells_that_divide_the_map_are_those_of_adaptive_pooling(side: int, size: int) -> None:
    sample = randomise(Sample(3, 5, size)).double()
    x = noise(2, 3, side, side, dtype=torch.float64)
    with torch.no_grad():
        expected = sample.conv(torch.nn.functional.adaptive_avg_pool2d(x, side // size))
        torch.testing.assert_close(sample(x), expected)


def test_partial_attention_breaks_ties_by_position() -> None:
    case = next(iter(cases("mixer", "partial_attention")))
    module, (x, residual) = case.make(), case.inputs(4, 5)
    flat, ramp = torch.zeros_like(residual), -torch.arange(20.0).reshape(1, 1, 4, 5).expand_as(residual)
    with torch.no_grad():
        torch.testing.assert_close(module(x, flat), module(x, ramp))
        assert not torch.equal(module(x, residual), module(x, ramp))


def test_partial_attention_moves_with_its_tokens() -> None:
    """It sees a set: permuting positions permutes the output."""
    case = cases("mixer", "partial_attention")[1]
    module = case.make().double()
    x, residual = case.inputs(4, 5, dtype=torch.float64)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))

    def moved(y: Tensor) -> Tensor:
        return y.flatten(2)[:, :, order].reshape(y.shape)

    with torch.no_grad():
        torch.testing.assert_close(moved(module(x, residual)), module(moved(x), moved(residual)))


def test_a_wrong_shape_fails_by_its_annotation() -> None:
    """The shape checks are on: a map without a batch axis would otherwise be normalised as something else."""
    norm = next(case for case in cases("norm", "layer_norm")).make()
    with pytest.raises(Exception, match=r"b c h w") as error:
        norm(noise(16, 8, 8))
    assert type(error.value).__module__.startswith("jaxtyping")
