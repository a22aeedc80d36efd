"""Runtimes compute what the network computes, whatever form they bring it into, and leave the network alone."""

import copy
import dataclasses
import random
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.measuring.fingerprint import fingerprint
from nas.runtimes import ABOUT, NAMES, Runtime, Setting, keep_in, make_runtime, onnx, prepare_all
from nas.runtimes.compiled import Compiled
from nas.runtimes.eager import Eager
from nas.runtimes.onnx import Onnx
from search_spaces.errors import InputError
from search_spaces.named import load_space
from search_spaces.network import build
from search_spaces.testing import no_shape_checks, noise, tame
from search_spaces.units import Unit, make_unit, unit_inputs, units

SPACE = load_space("images32")


@pytest.fixture(autouse=True)
def without_shape_checks() -> Iterator[None]:
    """Neither exporters nor compilers can look through them."""
    with no_shape_checks():
        yield


def network(seed: int = 0) -> nn.Module:
    arch = dataclasses.replace(SPACE.sample(random.Random(seed)), resolution=16)
    made = build(arch).eval()
    tame(made)
    return made


def resnet() -> nn.Module:
    import timm

    made = timm.create_model("test_resnet", num_classes=5).eval()
    tame(made)
    return made


MODULES = {
    "ours": (network, (noise(2, 1, 16, 16),)),
    "timm": (resnet, (noise(2, 3, 32, 32),)),
}


def check(runtime: Runtime, module: nn.Module, inputs: tuple[Tensor, ...], setting: Setting, tolerance: float) -> None:
    """Outputs are the network's, twice, and neither it nor its inputs have changed."""
    state, given = copy.deepcopy(module.state_dict()), [x.clone() for x in inputs]
    with torch.inference_mode():
        expected = module(*inputs)
    run = runtime.prepare(module, inputs, runtime.settled(setting))
    for _ in range(2):
        found = torch.as_tensor(run()).float()
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= tolerance * expected.abs().max()
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert all(torch.equal(x, y) for x, y in zip(inputs, given, strict=True))
    assert not any(child.training for child in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
@pytest.mark.parametrize("kind", MODULES)
def test_eager(kind: str, layout: str) -> None:
    make, inputs = MODULES[kind]
    check(Eager(), make(), inputs, Setting(layout=layout), 1e-4)


def test_eager_in_bfloat16() -> None:
    make, inputs = MODULES["timm"]
    check(Eager(), make(), inputs, Setting(dtype="bfloat16"), 0.1)


@pytest.mark.parametrize("kind", MODULES)
def test_onnx(kind: str) -> None:
    make, inputs = MODULES[kind]
    check(Onnx(), make(), inputs, Setting("onnx"), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODULES)
def test_compiled(kind: str) -> None:
    make, inputs = MODULES[kind]
    check(Compiled(), make(), inputs, Setting("compiled"), 1e-4)


def some_units() -> list[Unit]:
    """A unit of each kind, and a mixer with a position bias."""
    found = {unit.kind: unit for seed in range(3) for _, unit in units(SPACE.sample(random.Random(seed)))}
    biased = load_space("transxnet")
    sampled = [unit for _, unit in units(biased.sample(random.Random(0)))]
    bias = next(unit for unit in sampled if unit.kind == "position_bias")
    with_bias = next(unit for unit in sampled if unit.bias is not None)
    return [*found.values(), *(unit._replace(height=14, width=14) for unit in (bias, with_bias))]


@pytest.mark.parametrize("unit", some_units(), ids=lambda unit: unit.kind + "_with_bias" * bool(unit.bias))
@pytest.mark.parametrize("runtime", [Eager(), Onnx()], ids=lambda runtime: runtime.name)
def test_units(unit: Unit, runtime: Runtime) -> None:
    module = make_unit(unit).eval()
    tame(module)
    check(runtime, module, unit_inputs(unit), Setting(runtime.name), 1e-4)


def test_many_modules_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each computes what it computes alone, whatever lies beside it in one file: equal weights and constants too."""
    monkeypatch.setattr("nas.runtimes.onnx.TOGETHER", 9)
    chosen = some_units()
    modules = [make_unit(unit).eval() for unit in (*chosen, chosen[0])]
    for module in modules:
        tame(module)
    modules.append(modules[0])
    for runtime in (Onnx(), Eager()):
        setting = runtime.settled(Setting(runtime.name))
        jobs = [(module, unit_inputs(module.unit)) for module in modules]
        runs = list(prepare_all(runtime, jobs, setting))
        assert len(runs) == len(jobs)
        for run, (module, inputs) in zip(runs, jobs, strict=True):
            with torch.inference_mode():
                expected = module(*inputs)
            assert (torch.as_tensor(run()) - expected).abs().max() <= 1e-4 * expected.abs().max()
    jobs = [(modules[0], unit_inputs(modules[0].unit)), (Reading().eval(), (noise(1, 3, 4, 4),))]
    runs = prepare_all(Onnx(), jobs, Onnx().settled(Setting("onnx")))
    assert next(runs) is not None
    with pytest.raises(InputError, match="cannot export"):
        next(runs)


def test_exported_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later process exports nothing, unless a file is damaged or the module is another one."""
    exports: list[nn.Module] = []
    real = onnx._exported

    def counting(module: nn.Module, inputs: tuple[Tensor, ...], **names: Any) -> Any:
        exports.append(module)
        return real(module, inputs, **names)

    monkeypatch.setattr(onnx, "_exported", counting)
    inputs = (noise(1, 3, 4, 4),)
    module = Two(4).eval()

    def outputs(module: nn.Module) -> Tensor:
        runtime = Onnx()
        assert keep_in(runtime, tmp_path)
        return torch.as_tensor(runtime.prepare(module, inputs, runtime.settled(Setting("onnx")))())

    first = outputs(module)
    (file,) = tmp_path.iterdir()
    assert torch.equal(outputs(module), first)
    assert len(exports) == 1
    file.write_bytes(file.read_bytes()[:50])
    assert torch.equal(outputs(module), first)
    assert len(exports) == 2
    with torch.no_grad():
        module.conv.weight += 1
    assert not torch.equal(outputs(module), first)
    assert len(exports) == 3
    assert not keep_in(Eager(), tmp_path)


class Two(nn.Module):
    """Two kernels to compile, and the same code for every size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu().mean((2, 3))


@pytest.mark.slow
def test_compiled_networks_of_one_class_do_not_push_each_other_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is compiled once, however many there are beside it."""
    import torch._dynamo.config
    from torch._dynamo.utils import counters

    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 1)
    counters.clear()
    runtime, inputs = Compiled(), (noise(1, 3, 4, 4),)
    setting = runtime.settled(Setting("compiled"))
    runs = [runtime.prepare(Two(width).eval(), inputs, setting) for width in (2, 3, 4)]
    for _ in range(2):
        assert [tuple(run().shape) for run in runs] == [(1, 2), (1, 3), (1, 4)]  # type: ignore[attr-defined]
    assert counters["stats"]["unique_graphs"] == 3
    assert not counters["recompile_limit"]


class Sorting(nn.Module):
    """A stable sort of equal values, which partial attention has, and the exporter lacks."""

    def __init__(self, descending: bool) -> None:
        super().__init__()
        self.descending = descending

    def forward(self, x: Tensor) -> Tensor:
        return x.argsort(dim=1, descending=self.descending, stable=True).float()


@pytest.mark.parametrize("descending", [True, False])
def test_onnx_sorts_equal_values_as_torch_does(descending: bool) -> None:
    x = torch.tensor([[2.0, 1.0, 2.0, 0.0, 1.0, 2.0]])
    runtime = Onnx()
    run = runtime.prepare(Sorting(descending).eval(), (x,), runtime.settled(Setting("onnx")))
    assert torch.equal(torch.as_tensor(run()), Sorting(descending)(x))


class Reading(nn.Module):
    """No graph can have this in it."""

    def forward(self, x: Tensor) -> Tensor:
        return x * float(x.sum().item() > len(str(x.sum().item())))


@pytest.mark.parametrize(
    ("runtime", "words"), [(Onnx(), "cannot export"), (Compiled(), "cannot compile")], ids=["onnx", "compiled"]
)
def test_networks_that_a_runtime_cannot_run(runtime: Runtime, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        runtime.prepare(Reading().eval(), (noise(1, 3, 4, 4),), runtime.settled(Setting(runtime.name)))
    assert "runtime=eager" in error.value.instead


def test_other_outputs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Onnx()
    monkeypatch.setattr("nas.runtimes.onnx.folded", lambda module: nn.Sequential(copy.deepcopy(module), nn.Softmax(1)))
    with pytest.raises(InputError, match="computes other outputs than the network"):
        runtime.prepare(Two(4).eval(), (noise(1, 3, 4, 4),), runtime.settled(Setting("onnx")))


def test_threads_are_set() -> None:
    before = torch.get_num_threads()
    try:
        Eager().prepare(Two(2).eval(), (noise(1, 3, 4, 4),), Setting(threads=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# Runtimes of one's own


def test_names_are_files() -> None:
    assert set(NAMES) == set(ABOUT)
    for name in NAMES:
        runtime = make_runtime(name)
        assert isinstance(runtime, Runtime)
        assert runtime.name == name
        assert type(runtime).__module__ == f"nas.runtimes.{name}"
        assert runtime.versions(Setting(name))["torch"] == torch.__version__


def test_a_runtime_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "foreign_runtimes.py").write_text(
        textwrap.dedent("""
            class Mine:
                name = "foreign_runtimes.Mine"

                def settled(self, setting):
                    return setting

                def prepare(self, module, inputs, setting):
                    return lambda: module(*inputs)

                def versions(self, setting):
                    return {"mine": "1"}

            class Half:
                name = "half"

                def prepare(self, module, inputs, setting):
                    return None
            """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    name = "foreign_runtimes.Mine"
    make, inputs = MODULES["timm"]
    check(make_runtime(name), make(), inputs, Setting(name), 0)
    assert fingerprint(Setting(name))["versions"]["mine"] == "1"
    for path, given, instead in (
        ("foreign_runtimes.Mien", "'Mien'", "foreign_runtimes.Mine"),
        ("foreign_runtimes.Half", "has no settled and no versions", "runtime=eager"),
        ("foreign_nothing.Mine", "cannot be imported", "PYTHONPATH"),
        ("math.pi", "is float", "another runtime"),
    ):
        with pytest.raises(InputError) as error:
            make_runtime(path)
        assert given in error.value.given
        assert instead in error.value.instead
    sys.modules.pop("foreign_runtimes")
