"""Models of timm by torch.export, at a fixed size and at any, by torch.jit.trace and, with parts as leaves, by torch.fx.

torch.jit.script is not supported.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.layers import get_notrace_functions, get_notrace_modules
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from search_spaces.inference import inference_form
from search_spaces.network import Network
from search_spaces.papers import paper_network
from search_spaces.reparameterisation import reparameterise
from search_spaces.testing import no_shape_checks, noise
from tests.search_spaces.models_of_timm import SIZE, SMALLEST, paper_arch, small


@pytest.mark.parametrize(
    "name", [name if name == "linglo_b0" else pytest.param(name, marks=pytest.mark.slow) for name in SMALLEST]
)
def test_export(name: str) -> None:
    """torch.export at a fixed size."""
    model = small(name)
    x = noise(1, 3, SIZE, SIZE)
    program = torch.export.export(model, (x,))
    with torch.no_grad():
        assert torch.allclose(program.module()(x), model(x), atol=1e-5)


SMALLEST_SIDE = {
    "emsnet_xxtiny": 257,
    "hat_net_tiny": 113,
    "linglo_b0": 33,
    "mat_1": 225,
    "partialformer_b0": 65,
    "transxnet_tiny": 33,
}
"""Where a range of dynamic image sides may start; search_spaces/README.md has the table and the reason."""

quickest = pytest.mark.parametrize(
    "name", [name if name == "linglo_b0" else pytest.param(name, marks=pytest.mark.slow) for name in SMALLEST]
)


def check_program(model: Any, dynamic: dict[int, Any], shapes: list[tuple[int, int, int]]) -> None:
    """Exports for the first shape (batch, height, width), and runs the program at all of them."""
    with torch.no_grad(), no_shape_checks():
        batch, height, width = shapes[0]
        x = noise(batch, 3, height, width)
        program = torch.export.export(model, (x,), dynamic_shapes=(dynamic,), strict=False).module()
        for batch, height, width in shapes:
            x = noise(batch, 3, height, width, seed=height)
            y = model(x)
            assert (program(x) - y).abs().max() <= 1e-4 * y.abs().max()


@quickest
def test_export_for_any_size(name: str) -> None:
    side = SMALLEST_SIDE[name]
    dim = torch.export.Dim
    dynamic = {0: dim("b"), 2: dim("h", min=side, max=1024), 3: dim("w", min=side, max=1024)}
    check_program(
        small(name), dynamic, [(2, side + 32, side + 64), (3, side, side), (1, side + 63, side + 1), (2, 384, 256 + 32)]
    )


@quickest
def test_ranges_start_where_the_readme_says(name: str) -> None:
    """And one below, a map or a grid of windows has a single row."""
    side = SMALLEST_SIDE[name] - 1
    readme = (Path(__file__).parents[2] / "search_spaces" / "README.md").read_text()
    family = paper_network(name).family
    assert re.search(rf"\| {family} .*\| {side + 1} \|", readme)
    dynamic = {2: torch.export.Dim("h", min=side), 3: torch.export.Dim("w", min=side)}
    with pytest.raises((AssertionError, torch._dynamo.exc.UserError), match=r"Guard failed|Constraints violated"):
        check_program(small(name), dynamic, [(2, side + 33, side + 65), (2, side, side)])


@pytest.mark.parametrize(
    "form",
    ["inference", *(pytest.param(form, marks=pytest.mark.slow) for form in ("reparameterised", "height", "features"))],
)
def test_export_of_other_forms_for_any_size(form: str) -> None:
    """Merged forms, the map before the head, and a dynamic height beside a static width."""
    model = small("linglo_b0", **({"num_classes": 0, "global_pool": ""} if form == "features" else {}))
    if form in ("reparameterised", "inference"):
        model = (reparameterise if form == "reparameterised" else inference_form)(model)
    dim = torch.export.Dim
    dynamic: dict[int, Any] = {2: dim("h", min=33, max=512), 3: dim("w", min=33, max=512)}
    if form == "height":
        dynamic = {2: dim.DYNAMIC}
    check_program(model, dynamic, [(2, 65, 97), (2, 33, 97), (2, 100, 97)])


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::FutureWarning")
@quickest
def test_jit_trace(name: str) -> None:
    model, x = small(name), noise(2, 3, SIZE, SIZE)
    with torch.no_grad(), no_shape_checks():
        traced = torch.jit.trace(model, (x,))
        y = model(x)
        assert (traced(x) - y).abs().max() <= 1e-5 * y.abs().max()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_jit_script_is_not_supported() -> None:
    """As README.md says."""
    with pytest.raises(Exception, match="annotation"):
        torch.jit.script(Network(paper_arch("linglo_b0")))


@pytest.mark.filterwarnings("ignore:NOTE. The nodes obtained by tracing")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", SMALLEST)
def test_fx(name: str, training: bool) -> None:
    """The graph that torchvision's feature extraction traces, at two sizes."""
    model = timm.create_model(name, num_classes=7, drop_path_rate=0.5 * training).train(training)
    tracer = {"leaf_modules": [*get_notrace_modules()], "autowrap_functions": [*get_notrace_functions()]}
    with no_shape_checks():
        train, evaluation = ([names[-1]] for names in get_graph_node_names(model, tracer_kwargs=tracer))
        graph = create_feature_extractor(
            model, train_return_nodes=train, eval_return_nodes=evaluation, tracer_kwargs=tracer
        )
    graph.train(training)
    for size in (SIZE, 96):
        x = noise(2, 3, size, size)
        torch.manual_seed(0)
        (y,) = graph(x).values()
        torch.manual_seed(0)
        assert torch.equal(y, model(x))
    y.sum().backward()
    assert all(p.grad is not None for p in graph.parameters())
    assert len(list(graph.parameters())) == len(list(model.parameters()))
