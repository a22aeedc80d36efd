"""One score all the way: random networks of `unified` and all papers' networks, from the supernet to exported files, on the same images.

    python tests/benchmarks/one_score.py --out results/export/one_score.csv [--sample 100] [--papers hat_net_tiny,...] [--resolution 64]
    python tests/benchmarks/one_score.py --out results/export/one_score_initial.csv --weights initial
    python tests/benchmarks/one_score.py --out results/export/one_score_moved.csv --weights moved

The supernet is that of `unified` for the random networks, and that of its family's space for each paper's network. Its weights are
`hostile` unless --weights says otherwise: all of them random, scales and biases too, so that a missing copy shows, and large enough to
magnify rounding from block to block. `initial` are those that training starts from, among which tokens may have equal scores, so that
rounding chooses among them; `moved` are these with a normal number times .01 added to each, about what ten steps of AdamW at a rate of
1e-3 move a weight by, so that ties are unlikely. In all cases each network has statistics of its own, computed
on 8 random images. For each network the logits of the supernet on 4 images are compared with those of

    extracted    the network with its own copy of the weights
    loaded       written as safetensors and read by `load_network`
    timm         made by `timm.create_model("local-dir:FOLDER")` of the same folder
    inference    in the form for inference
    onnx         exported with any number of images, run by ONNX Runtime
    pt2          exported with any number of images, saved, loaded and run by torch.export

A row per network has the largest difference of a logit at each step, and the largest logit. `rounding` is the difference of the supernet's
logits from those of the same network in float64: no form in float32 can be expected to be much closer. The form for inference is exported.
Networks are made for 10 classes. The same command resumes where it was stopped; a step that is refused has its reason in place of a number.

The supernet of `unified` takes about 6 GB; --papers all --sample 0 needs 2 GB. On a quiet core a network takes 10 to 60 s, nearly all of
it in the two exports, and everything about an hour.
"""

import argparse
import copy
import csv
import functools
import importlib.util
import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nas.export import Plan, make_format
from nas.export.checking import TOLERANCE
from nas.export.programs import program_of
from nas.log import Progress, say
from nas.runs.weights import load_network
from search_spaces.architecture import Architecture
from search_spaces.canonical import for_resolution
from search_spaces.errors import InputError
from search_spaces.inference import inference_form
from search_spaces.named import load_space
from search_spaces.network import Network
from search_spaces.papers import paper_network, paper_networks
from search_spaces.registry import complete
from search_spaces.testing import no_shape_checks, noise, tame
from supernet.calibration import calibrate
from supernet.supernet import Supernet

STEPS = ("extracted", "loaded", "timm", "inference", "onnx", "pt2")
CLASSES, IMAGES = 10, 4
QUIET = 0.2
"""Factor of random matrices: a member may have no norm at all, and products of features in each of its blocks."""

MOVED = 0.01
"""Standard deviation of what is added to each initial weight."""

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Wanted:
    """A network: its name, the space whose supernet has its weights, and its architecture."""

    name: str
    space: str
    arch: Architecture


def wanted(sample: int, papers: str, resolution: int, numbers: frozenset[int] = frozenset()) -> Iterator[Wanted]:
    """The papers' networks, a family after the other, then random members of `unified`.

    Args:
        numbers: of the random members, those alone; all where there are none.
    """
    names = [network.name for network in paper_networks()] if papers == "all" else [n for n in papers.split(",") if n]
    for name in names:
        network = paper_network(name)
        # With position tables for these images, as the space has them.
        arch = for_resolution(complete(replace(network.arch, num_classes=CLASSES)), resolution)
        yield Wanted(name, network.family, arch)
    rng, space = random.Random(0), load_space("unified").bind(3, CLASSES, resolution)
    for number in range(sample):
        arch = space.sample(rng)
        if not numbers or number in numbers:
            yield Wanted(f"unified {number}", "unified", arch)


@functools.lru_cache(maxsize=1)
def supernet_of(space: str, resolution: int, weights: str) -> Supernet:
    """A supernet in evaluation mode; only the last is kept in memory."""
    supernet = Supernet(load_space(space).bind(3, CLASSES, resolution), 0).eval()
    if weights == "moved":
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in supernet.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=MOVED)
    if weights != "hostile":
        return supernet
    tame(supernet)
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.dim() > 1:
                parameter.mul_(QUIET)
    return supernet


def write(network: Network, folder: Path) -> None:
    """The files of a network, as `nas extract` writes them."""
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    (folder / "arch.json").write_text(network.arch.to_json())
    save_file(state, folder / "weights.safetensors")


def by_timm(network: Network, folder: Path) -> nn.Module | None:
    """The model that timm makes of a folder; None where this version writes no folders for timm."""
    if importlib.util.find_spec("search_spaces.timm_searched") is None:
        return None
    import timm

    import search_spaces  # noqa: F401

    place = folder / "timm"
    place.mkdir()
    arch = network.arch
    config = {
        "architecture": "hybrid_mixer", "num_classes": arch.num_classes, "model_args": {"arch": arch.to_dict()},
        "pretrained_cfg": {"input_size": [arch.in_channels, arch.resolution, arch.resolution], "num_classes": arch.num_classes},
    }  # fmt: skip
    (place / "config.json").write_text(json.dumps(config))
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, place / "model.safetensors")
    return timm.create_model(f"local-dir:{place}", pretrained=True).eval()


def steps(network: Network, folder: Path) -> Iterator[tuple[str, Callable[[], Forward | None]]]:
    """Each step with what makes it; None for one that this version does not have."""
    write(network, folder)
    form = inference_form(network)
    yield "extracted", lambda: network
    yield "loaded", lambda: load_network(folder)
    yield "timm", lambda: by_timm(network, folder)
    yield "inference", lambda: form
    size = (2, network.arch.in_channels, network.arch.resolution, network.arch.resolution)
    program = functools.cache(lambda: program_of(inference_form(network), noise(*size, seed=5), Plan()))
    for name in ("onnx", "pt2"):

        def exported(name: str = name) -> Forward:
            made = make_format(name)
            path = folder / f"network{made.suffix}"
            made.write(program(), Plan(), path)
            return made.load(path)

        yield name, exported


@torch.no_grad()
def row(one: Wanted, resolution: int, weights: str) -> dict[str, str]:
    """The largest difference from the supernet at each step."""
    supernet = supernet_of(one.space, resolution, weights)
    images = noise(IMAGES, 3, resolution, resolution, seed=1)
    buffers = calibrate(supernet, one.arch, [noise(8, 3, resolution, resolution, seed=11)])
    expected = supernet(images, one.arch, buffers)
    network = supernet.extract(one.arch, buffers)
    largest, params = expected.abs().max().item(), sum(p.numel() for p in network.parameters())
    found = {
        "network": one.name, "digest": one.arch.digest, "resolution": str(resolution), "weights": weights, "params": str(params),
        "largest_logit": f"{largest:.4g}", "rounding": f"{_rounding(network, images, expected):.3g}",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for name, make in steps(network, Path(folder)):
            try:
                forward = make()
                found[name] = "" if forward is None else f"{(forward(images) - expected).abs().max().item():.3g}"
            except InputError as error:
                found[name] = f"refused: {error.given}"
    return found


def _rounding(network: Network, images: Tensor, expected: Tensor) -> float:
    """The largest difference from the same network in float64."""
    return (copy.deepcopy(network).double()(images.double()) - expected).abs().max().item()


def known(file: Path, weights: str) -> list[dict[str, str]]:
    """Rows that an earlier command wrote."""
    if not file.exists():
        return []
    with file.open(newline="") as stream:
        found = list(csv.DictReader(stream))
    if found and not {"weights", "rounding", *STEPS} <= found[0].keys():
        raise SystemExit(f"{file} has other columns; give another --out")
    others = sorted({one["weights"] for one in found} - {weights})
    if others:
        raise SystemExit(f"{file} has networks with {others[0]} weights; give another --out")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a .csv file; it is continued where it exists")
    parser.add_argument("--sample", type=int, default=100, help="random networks of unified")
    parser.add_argument("--numbers", type=int, nargs="*", default=[], help="of the random networks, those alone")
    parser.add_argument("--papers", default="all", help="all, or names, or nothing")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument(
        "--weights",
        choices=("hostile", "initial", "moved"),
        default="hostile",
        help="of the supernet; a file has one kind",
    )
    given = parser.parse_args()
    found = known(given.out, given.weights)
    there = {(one["network"], one["resolution"]) for one in found}
    todo = [
        one
        for one in wanted(given.sample, given.papers, given.resolution, frozenset(given.numbers))
        if (one.name, str(given.resolution)) not in there
    ]
    progress = Progress("networks", len(todo) + len(found), len(found))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for one in todo:
        with no_shape_checks():
            found.append(row(one, given.resolution, given.weights))
        new = not given.out.exists()
        with given.out.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, list(found[0]), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(found[-1])
        progress.update(len(found))
    say(summary(found))


def summary(found: list[dict[str, str]]) -> str:
    """A line per step: networks, the largest difference, also as a share of the largest logit, and whether it is allowed."""
    lines = []
    for step in ("rounding", *STEPS):
        numbers = [(float(one[step]), float(one["largest_logit"])) for one in found if one[step][:1].isdigit()]
        if not numbers:
            lines.append(f"{step:10} not run")
            continue
        worst, share = max(a for a, _ in numbers), max(a / b for a, b in numbers)
        over = sum(a > TOLERANCE * max(1.0, b) for a, b in numbers)
        failed = [one["network"] for one in found if one[step] and not one[step][:1].isdigit()]
        lines.append(
            f"{step:10} {len(numbers):4} networks  largest difference {worst:.1e}  of the largest logit {share:.1e}  "
            f"above {TOLERANCE:g}: {over}" + f"  not: {', '.join(failed)}" * bool(failed)
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
