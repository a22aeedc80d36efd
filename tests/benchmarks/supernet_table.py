"""Evaluates every network of a small space with the weights of a trained supernet: a table on which samplers are compared.

    python tests/benchmarks/supernet_table.py RUN [--space results/supernet_table/space.toml] [--out FILE.csv] [--jobs 1]

RUN is a run with a trained supernet, whose space has all networks of the small one. Every network gets normalisation statistics of its own
and is evaluated on all search-validation images, as in a search; the test images are not opened. One row per network: a column per gene of
the small space (empty where the network does not have it), the digest, top1, loss, images, macs and params. The same command resumes
where it was stopped. FILE.json beside it says what the table was made of, and how long it took.

The 3,840 networks of the space named above take about ten minutes on one core, as those that begin alike share what they compute.
"""

import argparse
import contextlib
import csv
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from nas import machine
from nas.config.parsing import config_from
from nas.executors import make_executor
from nas.log import Progress, say
from nas.runs.run import open_run
from nas.runs.store import RunStore
from nas.searching.evaluation import score
from nas.searching.searching import setup_of
from search_spaces.architecture import Architecture
from search_spaces.costs.macs import macs
from search_spaces.costs.params import params
from search_spaces.named import load_space
from search_spaces.space import SearchSpace

GROUP = 96
"""Networks that are handed out at once. What a stopped command has to do again is no more than this."""

VALUES = ("digest", "top1", "loss", "images", "macs", "params")


def members(space: SearchSpace) -> Iterator[tuple[dict[str, Any], Architecture]]:
    """Every network once, with the choices that matter for it; neighbours share their first stages."""
    seen = set()
    for genes in itertools.product(*(range(len(gene.choices)) for gene in space.genes)):
        arch = space.decode(genes)
        if arch.digest in seen:
            continue
        seen.add(arch.digest)
        used = set(space.active(genes))
        yield (
            {
                gene.name: gene.choices[index] if place in used else ""
                for place, (gene, index) in enumerate(zip(space.genes, genes, strict=True))
            },
            arch,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--space", default="results/supernet_table/space.toml")
    parser.add_argument("--out", default="supernet_table.csv")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    asked = parser.parse_args()
    config = config_from({**RunStore.open(asked.run).read_json("run.json")["config"], "run": asked.run})
    run = open_run(config, writes=False)
    machine.prepare(1, "cpu")
    first = run.space.smallest(macs)
    space = load_space(asked.space).bind(first.in_channels, first.num_classes, first.resolution)
    everything = list(members(space))
    outside = [arch.digest for _, arch in everything if not run.space.contains(arch)]
    if outside:
        say(f"{len(outside)} networks of {asked.space} are not of the space of {asked.run}", sys.stderr)
        return 2
    out = Path(asked.out)
    names = [gene.name for gene in space.genes]
    if not out.exists():
        out.write_text(",".join([*names, *VALUES]) + "\n")
    with out.open(newline="") as file:
        done = {row["digest"] for row in csv.DictReader(file)}
    left = [(genes, arch) for genes, arch in everything if arch.digest not in done]
    progress = Progress("evaluating", len(everything), len(done))
    start, count = time.monotonic(), len(done)
    setup = setup_of(run)
    with contextlib.closing(make_executor("auto", asked.jobs)) as executor, out.open("a", newline="") as rows:
        table = csv.writer(rows)
        for place in range(0, len(left), GROUP):
            group = left[place : place + GROUP]
            results = executor.map(setup, score, [arch for _, arch in group], weight=macs)
            for (genes, arch), found in zip(group, results, strict=True):
                table.writerow([
                    *(genes[name] for name in names), arch.digest, f"{found.top1:.6f}", f"{found.loss:.6f}", found.images, macs(arch), params(arch),
                ])  # fmt: skip
                count += 1
                progress.update(count)
            rows.flush()
    described, file = run.store.read_json("run.json"), out.with_suffix(".json")
    before = json.loads(file.read_text())["seconds"] if file.exists() and done else 0.0
    about = {
        "networks": len(everything), "seconds": round(before + time.monotonic() - start, 1), "jobs": asked.jobs,
        "calibration_images": config.search.calibration_images, "space": space.name, "space_digest": space.digest,
        "machine": machine.describe(1), "versions": machine.versions(), "commit": machine.commit(),
        "command": ["python", "tests/benchmarks/supernet_table.py", "RUN", *(["--jobs", str(asked.jobs)] if asked.jobs > 1 else [])],
        "supernet": {
            key: described[key] for key in ("split_digest", "machine", "versions", "commit", "command") if key in described
        } | {"seed": config.seed},
    }  # fmt: skip
    file.write_text(json.dumps(about, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
