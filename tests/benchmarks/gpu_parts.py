"""The parts of `gpu.py` that are no command of this project. Each prints a few lines; see there.

python tests/benchmarks/gpu_parts.py forms --device cuda --work WORK
"""

import argparse
import copy
import random
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from nas import machine
from nas.log import say
from nas.machine.available import available
from nas.runtimes import Setting
from nas.runtimes.cuda import CudaRun
from nas.runtimes.eager import Eager
from search_spaces.architecture import Architecture
from search_spaces.costs.unit_times import representatives
from search_spaces.network import Network, build
from search_spaces.papers import paper_network
from search_spaces.registry import complete
from search_spaces.space_units import space_units
from search_spaces.testing import tame
from search_spaces.units import make_unit, unit_inputs
from supernet.calibration import calibrate
from supernet.ranks import ALONE
from supernet.supernet import Supernet
from tests.benchmarks.gpu_training import Asked, Trained, bound, largest, nccl, resume, training

PAPERS = ("emsnet_xxtiny", "hat_net_tiny", "linglo_b0", "mat_1", "partialformer_b0", "transxnet_tiny")

FORMATS = (("float32", True), ("float32", False), ("bfloat16", True))
"""Number formats in which networks are compared, and whether TF32 is allowed."""


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Products and convolutions with factors of ten bits, or with all of float32's."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def difference(one: Tensor, other: Tensor) -> float:
    """The largest difference over the largest value of the second."""
    one, other = one.detach().float().cpu(), other.detach().float().cpu()
    return float((one - other).abs().max() / other.abs().max().clamp_min(1e-12))


def modules(asked: Asked) -> Iterator[tuple[str, nn.Module, tuple[Tensor, ...]]]:
    """Units and networks with their names and inputs."""
    space, generator = bound("images32"), torch.Generator().manual_seed(0)
    units = representatives(space_units(space))
    for unit in units[:6] if asked.quick else units:
        yield f"unit {unit}", tame(make_unit(unit).eval()), unit_inputs(unit, 2)
    for arch in drawn("images32", 2 if asked.quick else 10):
        yield f"images32 {arch.digest}", tame(build(arch, 0).eval()), (torch.randn(2, 3, 32, 32, generator=generator),)
    for name in PAPERS[:1] if asked.quick else PAPERS:
        arch = complete(replace(paper_network(name).arch, num_classes=10, resolution=64))
        yield name, tame(Network(arch).eval()), (torch.randn(2, 3, 64, 64, generator=generator),)


def drawn(space: str, count: int) -> list[Architecture]:
    """Random members of a space."""
    rng = random.Random(0)
    return [bound(space).sample(rng) for _ in range(count)]


def forms(asked: Asked) -> None:
    """What the eager runtime makes of each module on the device, beside the module as it is trained on the CPU."""
    if asked.device.type == "cuda":
        free = available(asked.device)
        say(
            f"{torch.cuda.get_device_name(asked.device)}, torch {torch.__version__}, {free and free.size / 2**30:.0f} GiB free"
        )
    found: dict[tuple[str, bool], list[tuple[float, str]]] = {key: [] for key in FORMATS}
    graphs: dict[str, bool] = {}
    clock = time.perf_counter()
    for name, module, inputs in modules(asked):
        with torch.inference_mode():
            expected = copy.deepcopy(module)(*inputs)
        for dtype, allowed in FORMATS:
            try:
                with tf32(allowed):
                    run = Eager().prepare(module, inputs, Setting(device=str(asked.device), dtype=dtype))
                    found[dtype, allowed].append((difference(torch.as_tensor(run()), expected), name))
                    again = difference(torch.as_tensor(run()), expected)
            except Exception as error:
                say(f"FAILED {name} in {dtype}: {type(error).__name__}: {str(error)[:200]}")
                continue
            if again != found[dtype, allowed][-1][0]:
                say(
                    f"  {name} in {dtype}: the second call differs by {again:.1e} from the CPU, the first by {found[dtype, allowed][-1][0]:.1e}"
                )
            graphs[name] = isinstance(run, CudaRun) and run.graph
    say(f"{sum(graphs.values())} of {len(graphs)} modules are CUDA graphs; {time.perf_counter() - clock:.0f} s")
    for name in [name for name, graph in graphs.items() if not graph and asked.device.type == "cuda"]:
        say(f"  no graph: {name}")
    for (dtype, allowed), values in found.items():
        worst, name = max(values)
        say(
            f"{dtype}, TF32 {'on' if allowed else 'off'}: largest difference from float32 on the CPU {worst:.1e} ({name})"
        )


def exact(asked: Asked) -> None:
    """Sub-networks with borrowed weights beside extracted ones, in evaluation and in training, and what is not deterministic."""
    space = bound("images32")
    supernet = Supernet(space, 0).to(asked.device)
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    x = images.contiguous(memory_format=torch.channels_last).to(asked.device)
    worst: dict[str, float] = {}
    for arch in drawn("images32", 4 if asked.quick else 24):
        for allowed in (True, False):
            with tf32(allowed):
                for what, value in compared(supernet, arch, x).items():
                    key = f"{what}, TF32 {'on' if allowed else 'off'}"
                    worst[key] = max(worst.get(key, 0.0), value)
    for what, value in worst.items():
        say(f"supernet and extracted network, {what}: largest relative difference {value:.1e}")
    deterministic(asked)


def compared(supernet: Supernet, arch: Architecture, x: Tensor) -> dict[str, float]:
    """Differences between a sub-network and the extracted one: logits in evaluation and training, and gradients."""
    buffers = calibrate(supernet, arch, [x])
    with torch.no_grad():
        evaluated = difference(supernet.eval().extract(arch, buffers)(x), supernet(x, arch, buffers))
    network = supernet.train().extract(arch)
    torch.manual_seed(0)
    borrowed = supernet(x, arch)
    borrowed.square().mean().backward()
    torch.manual_seed(0)
    own = network(x)
    own.square().mean().backward()
    names, bank = supernet.bank_names(arch), dict(supernet.named_parameters())
    sliced = {
        name: tensor
        for name, tensor in supernet.weights(arch, buffers=False).items()
        if bank[names[name]].grad is not None
    }
    gradients = 0.0
    for name, parameter in network.named_parameters():
        whole = bank[names[name]].grad
        if name in sliced and parameter.grad is not None and whole is not None and whole.shape == parameter.grad.shape:
            gradients = max(
                gradients, difference(whole, parameter.grad) if float(parameter.grad.abs().max()) > 1e-7 else 0.0
            )
    supernet.zero_grad(set_to_none=True)
    return {"evaluation": evaluated, "training": difference(own, borrowed), "gradients": gradients}


def deterministic(asked: Asked) -> None:
    """Says whether a training step gives the same gradients twice, and which operators have no deterministic form."""
    ends = [Trained(asked.device, "images32", 64, "none").run(3, ALONE) for _ in range(2)]
    say(f"three training steps twice: largest difference of a weight {largest(*ends):.1e}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.use_deterministic_algorithms(True, warn_only=True)
        Trained(asked.device, "images32", 64, "none").run(2, ALONE)
        torch.use_deterministic_algorithms(False)
    for text in sorted(
        {str(one.message).partition(" does not have")[0][:120] for one in caught if "determinis" in str(one.message)}
    ):
        say(f"  not deterministic: {text}")


PARTS = {"forms": forms, "exact": exact, "nccl": nccl, "training": training, "resume": resume}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--work", required=True)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    PARTS[arguments.part](Asked(machine.prepare(1, arguments.device), Path(arguments.work), arguments.quick))


if __name__ == "__main__":
    main()
