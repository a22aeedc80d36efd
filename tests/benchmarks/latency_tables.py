"""How many measured networks a learned latency needs: devices that others have measured, with the library's own model.

    python tests/benchmarks/latency_tables.py help_latency.npz
    python tests/benchmarks/latency_tables.py help_latency.npz --columns fbnet/gold_6240,ofa/v100_64 --train 100 --seeds 2

The table is HELP's (github.com/HayeonLee/HELP): 5,000 networks of FBNet's space on Xeons, phones and GPUs, and 5,000 of OFA's MobileNetV3 space
on GPUs. FBNet's columns pixel3, raspi4, eyeriss and fpga are sums of tables of operators and are left out. Latencies of phones are whole
milliseconds.

For each column and number of training networks: Kendall's tau and MAPE on 1,000 networks that no fit has seen, mean and worst of the
seeds, of `nas.latency.learned_networks` on counted features, and of a ridge regression on one-hot choices. `additive` is least squares on the
one-hot choices of 4,000 networks: what a sum over choices can reach at all, on a device as noisy as it is. `drift` is the correlation of what
the additive model leaves over between one row of the table and the next: rows are independent draws, so above about .05 it is the device
that changed while it was measured, which no model of networks can predict.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import RidgeCV

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from nas.latency.accuracy import PredictionErrors, accuracy
from nas.latency.features import Features
from nas.latency.learned_networks import fit_networks

Array = np.ndarray

TABLE_SUMS = ("pixel3", "raspi4", "eyeriss", "fpga")

HELD_OUT = 1_000


class Operation(NamedTuple):
    """One step of a network of the tables: an inverted residual (`kernel` above 0), a single convolution, or nothing.

    Args:
        kind: "stem", "block", "projection" (a skip that changes the size), "skip" or "head".
        dims: input, hidden and output channels.
        side: of the input map.
        residual: whether the input is added.
        attention: whether there is squeeze-and-excitation.
        hard: whether the activation is h-swish.
    """

    kind: str
    dims: tuple[int, int, int] = (0, 0, 0)
    kernel: int = 0
    groups: int = 1
    side: int = 0
    stride: int = 1
    residual: bool = False
    attention: bool = False
    hard: bool = False


class Conv(NamedTuple):
    """A convolution; `reads` and `writes` are elements of maps."""

    macs: int
    params: int
    reads: int
    writes: int


def conv(dim: int, out: int, kernel: int, groups: int, side: int, stride: int = 1) -> Conv:
    after = -(-side // stride)
    params = dim * out // groups * kernel**2
    return Conv(params * after**2, params, dim * side**2, out * after**2)


def convolutions(op: Operation) -> dict[str, list[Conv]]:
    """The convolutions of an operation by family."""
    dim, hidden, out = op.dims
    after = -(-op.side // op.stride)
    if op.kind == "skip":
        return {}
    if op.kind == "stem":
        first, dim = conv(3, dim, 3, 1, op.side, 2), op.dims[0]
        return {"dense": [first, conv(dim, out, 1, 1, after)], "depthwise": [conv(dim, dim, 3, dim, after)]}
    if op.kind == "head":
        return {"dense": [conv(dim, hidden, 1, 1, op.side), conv(hidden, out, 1, 1, 1), conv(out, 1000, 1, 1, 1)]}
    if op.kind == "projection":
        return {"dense": [conv(dim, out, 1, 1, op.side, op.stride)]}
    pointwise = [conv(dim, hidden, 1, op.groups, op.side), conv(hidden, out, 1, op.groups, after)]
    found = {"depthwise": [conv(hidden, hidden, op.kernel, hidden, op.side, op.stride)]}
    found |= {"dense" if op.groups == 1 else "grouped": pointwise}
    squeezed = max(8, hidden // 4)
    return found | (
        {"squeezed": [conv(hidden, squeezed, 1, 1, 1), conv(squeezed, hidden, 1, 1, 1)]} if op.attention else {}
    )


@cache
def describe(op: Operation) -> Features:
    """Counted features of an operation, as `nas.latency.features` counts them on a unit."""
    found = convolutions(op)
    everything = [one for some in found.values() for one in some]
    amounts = {f"macs {family}": float(sum(one.macs for one in some)) for family, some in found.items()}
    amounts |= {
        f"elements {family}": float(sum(one.reads + one.writes for one in some)) for family, some in found.items()
    }
    amounts["params"] = float(sum(one.params for one in everything))
    amounts["calls"] = float(len(everything) + op.residual + 2 * op.attention)
    if everything:
        amounts[f"kernel {op.kernel}"] = 1.0
    totals = {
        "macs": sum(one.macs for one in everything),
        "elements": sum(one.reads + one.writes for one in everything),
    }
    traits: dict[str, float | str] = {
        f"log {name}": float(np.log1p(value)) for name, value in (totals | amounts).items()
    }
    traits |= {"kind": op.kind, "kernel": float(op.kernel), "groups": float(op.groups), "stride": float(op.stride)}
    traits |= {"side": float(np.log1p(op.side)), "hard": float(op.hard), "attention": float(op.attention)}
    traits |= {f"channels {place}": float(np.log1p(dim)) for place, dim in enumerate(op.dims)}
    return Features(amounts, traits)


FBNET = ((16, 1, 1), (24, 4, 2), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1))
"""Channels, blocks and first stride of each stage (FBNet, arXiv:1812.03443, table 1), behind a stem of 16 channels at 112 x 112."""

FBNET_OPERATORS = ((3, 1, 1), (3, 1, 2), (3, 3, 1), (3, 6, 1), (5, 1, 1), (5, 1, 2), (5, 3, 1), (5, 6, 1))
"""Kernel, expansion and groups of each choice; the ninth is the skip."""


def fbnet_choices() -> Iterator[list[Operation]]:
    """Per layer, what each choice is."""
    dim, side = 16, 112
    for out, blocks, first in FBNET:
        for block in range(blocks):
            stride = first if block == 0 else 1
            same = stride == 1 and dim == out
            here = [
                Operation("block", (dim, dim * expansion, out), kernel, groups, side, stride, same)
                for kernel, expansion, groups in FBNET_OPERATORS
            ]
            yield [*here, Operation("skip") if same else Operation("projection", (dim, 0, out), 0, 1, side, stride)]
            dim, side = out, side // stride


OFA = ((24, 2, False, False), (40, 2, True, False), (80, 2, False, True), (112, 1, True, True), (160, 2, True, True))
"""Channels, first stride, squeeze-and-excitation and h-swish of each stage of OFA's MobileNetV3 (arXiv:1908.09791), at width 1."""


def ofa_network(kernels: Array, expansions: Array, depths: Array, resolution: int) -> Iterator[Operation]:
    yield Operation("stem", (16, 0, 16), side=resolution)
    dim, side = 16, resolution // 2
    for stage, (out, first, attention, hard) in enumerate(OFA):
        for block in range(depths[stage]):
            kernel, expansion = int(kernels[4 * stage + block]), int(expansions[4 * stage + block])
            stride = first if block == 0 else 1
            dims = (dim, dim * expansion, out)
            yield Operation("block", dims, kernel, 1, side, stride, block > 0, attention, hard)
            dim, side = out, -(-side // stride)
    yield Operation("head", (dim, 960, 1280), side=side, hard=True)


@dataclass(frozen=True)
class Family:
    """The networks of a space: each as its operations, and one-hot (n, c)."""

    networks: list[dict[Operation, int]]
    one_hot: Array


def times_each(operations: Iterator[Operation]) -> dict[Operation, int]:
    found: dict[Operation, int] = {}
    for op in operations:
        found[op] = found.get(op, 0) + 1
    return found


def fbnet(table: Mapping[str, Array]) -> Family:
    genes, choices = table["fbnet_genes"].astype(int), list(fbnet_choices())
    networks = [times_each(here[gene] for here, gene in zip(choices, row, strict=True)) for row in genes]
    return Family(networks, (genes[:, :, None] == np.arange(9)).reshape(len(genes), -1).astype(float))


def ofa(table: Mapping[str, Array]) -> Family:
    kernels, expansions, depths, sides = (table[f"ofa_{name}"].astype(int) for name in ("ks", "e", "d", "r"))
    rows = zip(kernels, expansions, depths, sides, strict=True)
    networks = [times_each(ofa_network(k, e, d, int(r))) for k, e, d, r in rows]
    there = (np.arange(4) < depths[:, :, None]).reshape(len(sides), -1)
    choices = [(kernels == k) & (expansions == e) & there for k in (3, 5, 7) for e in (3, 4, 6)]
    return Family(networks, np.concatenate((sides[:, None] == np.unique(sides), *choices), axis=1).astype(float))


FAMILIES: dict[str, Callable[[Mapping[str, Array]], Family]] = {"fbnet": fbnet, "ofa": ofa}


def ridge(one_hot: Array, ms: Array, new: Array) -> Array:
    """Predictions for new networks; cross-validation chooses the penalty."""
    return RidgeCV(np.logspace(-3, 3, 13)).fit(one_hot, ms).predict(new)


def least_squares(one_hot: Array, ms: Array, new: Array) -> Array:
    return RidgeCV([1e-3]).fit(one_hot, ms).predict(new)


def tested(family: Family, ms: Array, train: int, seed: int) -> tuple[str, PredictionErrors, PredictionErrors]:
    """The chosen kind of model, and its accuracy and the ridge's on networks that were held out."""
    order = np.random.default_rng(seed).permutation(len(ms))
    some, others = order[:train], order[-HELD_OUT:]
    model = fit_networks([family.networks[row] for row in some], ms[some], describe, seed)
    learned = accuracy(model.predict([family.networks[row] for row in others]), ms[others])
    return model.name, learned, accuracy(ridge(family.one_hot[some], ms[some], family.one_hot[others]), ms[others])


def additive(family: Family, ms: Array) -> PredictionErrors:
    order = np.random.default_rng(0).permutation(len(ms))
    some, others = order[:-HELD_OUT], order[-HELD_OUT:]
    return accuracy(least_squares(family.one_hot[some], ms[some], family.one_hot[others]), ms[others])


def drift(family: Family, ms: Array) -> float:
    left = ms - least_squares(family.one_hot, ms, family.one_hot)
    left = np.clip(left, *np.quantile(left, (0.01, 0.99)))
    return float(np.corrcoef(left[1:], left[:-1])[0, 1])


def columns_of(table: Mapping[str, Array], wanted: str) -> list[tuple[str, str]]:
    names = [name.removeprefix("lat_").split("__") for name in table if name.startswith("lat_")]
    found = [(family, device) for family, device in names if family in FAMILIES and device not in TABLE_SUMS]
    return [pair for pair in found if not wanted or "/".join(pair) in wanted.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="help_latency.npz")
    parser.add_argument("--columns", default="", help="SPACE/DEVICE,...; all measured ones by default")
    parser.add_argument("--train", default="50,100,200,400", help="numbers of training networks")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    table = dict(np.load(arguments.table, allow_pickle=False))
    families = {name: make(table) for name, make in FAMILIES.items()}
    head = "column                   train  learned tau (worst)  MAPE    ridge tau (worst)  MAPE    additive tau  MAPE  drift  seconds"
    print(head)  # noqa: T201
    for family, device in columns_of(table, arguments.columns):
        ms = table[f"lat_{family}__{device}"].astype(float)
        full, moved = additive(families[family], ms), drift(families[family], ms)
        for train in map(int, arguments.train.split(",")):
            start = time.monotonic()
            found = [tested(families[family], ms, train, seed) for seed in range(arguments.seeds)]
            seconds = (time.monotonic() - start) / arguments.seeds
            words = []
            for results in ([one for _, one, _ in found], [one for _, _, one in found]):
                tau, worst = np.mean([one.tau for one in results]), min(one.tau for one in results)
                words.append(f"{tau:.3f} ({worst:.3f})  {np.mean([one.mape for one in results]):8.1%}")
            kinds = ", ".join(sorted({name for name, _, _ in found}))
            line = [
                f"{family + '/' + device:24} {train:5}",
                *words,
                f"{full.tau:.3f} {full.mape:8.1%}",
                f"{moved:5.2f}",
                f"{seconds:.1f}",
            ]
            print("   ".join((*line, kinds)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
