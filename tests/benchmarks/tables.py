"""Share of the true Pareto front that samplers find per evaluation, on tables in which every network has been evaluated.

    python tests/benchmarks/tables.py --macro nas-bench-macro_cifar10.json                      # this project's samplers and Optuna's
    python tests/benchmarks/tables.py --macro FILE --samplers predictor gp gp-integer --seeds 2 # Gaussian processes take minutes a search
    python tests/benchmarks/tables.py --table FILE.csv --settings plain --seeds 10
    python tests/benchmarks/tables.py --table FILE.csv --space results/supernet_table/space.toml --settings plain half --out FILE.csv

Two objectives, quality up and cost down. Score: hypervolume of what was evaluated over that of the whole table, with the reference point
at the 5 % quantile of the quality and the largest cost. Every trial counts as an evaluation, the repeated ones and those over a limit
too, though those over the limit score nothing. Samplers run in the loop that Optuna documents, one trial after the other. Those that take
exact functions are given the cost, the limit and what parameters stand for; the others are told the cost and the violation of each trial.
Those that learn most from each evaluation stop at `--few`. Where NSGA-II is among the samplers, the last lines of a table say after how
many evaluations each sampler has what NSGA-II has at its last one: the first number at which the mean over the seeds does, and the last
seed to have it. With `--out` the shares of every seed are written as CSV, and FILE.json beside it states versions, machine and command.

Settings: `plain`; `noisy`, where the sampler is shown another measurement than is scored; `half` and `tenth`, under a limit at the 50 % and
the 10 % quantile of the cost, which is then the reference point's too.

Tables: NAS-Bench-Macro (https://github.com/xiusu/NAS-Bench-Macro): 8 operators of 3, scored by the mean of 3 seeds, and `noisy` shows one of
the three, drawn per search. NAS-Bench-Graph (pip install nas-bench-graph), Cora: validation accuracy is shown, test accuracy is scored, in
every setting. `made`: pairs of neighbours interact. A CSV file: one column per gene, then the quality, then the cost; values that are all
numbers are ordered. With `--space` it is what tests/benchmarks/supernet_table.py writes: columns `digest`, `top1` and `macs` are read, and every
set of genes of the space is decoded, of which several are one network. Parameters that are no network of a table are told as pruned and
are no evaluation.
"""

import argparse
import csv
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import scipy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from nas import machine
from nas.samplers.additive import AdditiveSampler
from nas.samplers.predictor import PredictorSampler
from tests.benchmarks.evaluated_tables import Table, graph, macro, made, of_space, read

LOOKS = 50
"""Trials per evaluation after which a sampler that proposes no network of the table is stopped."""

SETTINGS = ("plain", "noisy", "half", "tenth")
CHEAP = ("random", "nsga2", "tpe", "additive", "predictor")
SAMPLERS = (*CHEAP, "gp", "gp-integer")
CAREFUL = ("additive", "predictor", "gp", "gp-integer")
"""Samplers that take seconds to minutes for a few hundred evaluations, and that `--few` is for."""

RIVAL = "nsga2"
"""Its share at its last evaluation is what the others are to reach."""

FIELDS = ("table", "setting", "sampler", "seed", "evaluations", "share", "repeated", "over", "seconds")
"""Columns of the file that is written; the last three are of the whole search."""


def hypervolume(quality: np.ndarray, cost: np.ndarray, reference: tuple[float, float]) -> float:
    """Area that networks dominate, down to the reference quality and up to the reference cost."""
    area, best = 0.0, reference[0]
    for number in np.lexsort((-quality, cost)):
        if quality[number] > best and cost[number] < reference[1]:
            area += (reference[1] - cost[number]) * (quality[number] - best)
            best = quality[number]
    return float(area)


def make(name: str, table: Table, limit: float | None, seed: int) -> optuna.samplers.BaseSampler:
    """One of `SAMPLERS`."""
    match name:
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "nsga2":
            return optuna.samplers.NSGAIISampler(population_size=50, seed=seed)
        case "tpe":
            return optuna.samplers.TPESampler(multivariate=True, seed=seed)
        case "gp" | "gp-integer":
            return optuna.samplers.GPSampler(seed=seed)
    kind = {"predictor": PredictorSampler, "additive": AdditiveSampler}[name]
    limits = {} if limit is None else {"cost": table.known(lambda cost: cost / limit - 1)}
    return kind(
        known={1: table.known(lambda cost: cost)},
        constraints=limits,
        identity=table.number,
        search_space=table.space,
        seed=seed,
    )


def searched(
    table: Table, name: str, evaluations: int, shown: np.ndarray, limit: float | None, seed: int
) -> tuple[list[int], float]:
    """The networks that a sampler evaluates, and the seconds that it takes itself."""
    integer = name == "gp-integer"
    space, number_of = (table.integers, table.number_of_integers) if integer else (table.space, table.number)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=make(name, table, limit, seed))
    found: list[int] = []
    seconds = 0.0
    for _ in range(LOOKS * evaluations):
        clock = time.perf_counter()
        trial = study.ask(space)
        seconds += time.perf_counter() - clock
        number = number_of(trial.params)
        if number < 0:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        found.append(number)
        if limit is not None:
            trial.set_constraint("cost", table.cost[number] / limit - 1)
        clock = time.perf_counter()
        study.tell(trial, (shown[number], table.cost[number]))
        seconds += time.perf_counter() - clock
        if len(found) == evaluations:
            break
    return found, seconds


def curve(quality: np.ndarray, cost: np.ndarray, reference: tuple[float, float]) -> np.ndarray:
    """Hypervolume (n,) after each of n evaluations."""
    found = np.zeros(len(quality))
    front = np.zeros(0, int)
    for number in range(len(quality)):
        worse = (quality[front] <= quality[number]) & (cost[front] >= cost[number])
        if not ((quality[front] >= quality[number]) & (cost[front] <= cost[number])).any():
            front = np.append(front[~worse], number)
            found[number:] = hypervolume(quality[front], cost[front], reference)
    return found


@dataclass(frozen=True)
class Case:
    """One sampler on one table in one setting.

    Args:
        curves: (seeds, evaluations), the share after each of them.
        repeated, over: (seeds,), of the whole search. seconds: of the sampler, (seeds,).
    """

    curves: np.ndarray
    repeated: np.ndarray
    over: np.ndarray
    seconds: np.ndarray

    def after(self, counts: Sequence[int]) -> np.ndarray:
        """Shares (seeds, counts) after numbers of evaluations, NaN after more than were made."""
        made = self.curves.shape[1]
        none = np.full(len(self.curves), np.nan)
        return np.stack([self.curves[:, count - 1] if count <= made else none for count in counts], axis=1)


def measured(table: Table, name: str, setting: str, evaluations: int, seeds: Sequence[int]) -> Case:
    """Searches of one sampler, one per seed."""
    quantile = {"half": 0.5, "tenth": 0.1}.get(setting)
    limit = None if quantile is None else float(np.quantile(table.cost, quantile))
    inside = table.cost <= (np.inf if limit is None else limit)
    reference = float(np.quantile(table.scored, 0.05)), float(table.cost.max() if limit is None else limit)
    whole = hypervolume(table.scored[inside], table.cost[inside], reference)
    scored = np.where(inside, table.scored, -np.inf)  # which is below the reference
    curves, repeated, over, seconds = [], [], [], []
    noisy = setting == "noisy" or table.name.startswith("NAS-Bench-Graph")
    for seed in seeds:
        draw = np.random.default_rng(seed)
        shown = table.shown[draw.integers(len(table.shown))] if noisy else table.scored
        found, took = searched(table, name, evaluations, shown, limit, seed)
        numbers = np.array(found, int)
        share = curve(scored[numbers], table.cost[numbers], reference) / whole
        left = np.full(evaluations - len(share), share[-1] if len(share) else 0.0)  # of a search that found no more
        curves.append(np.concatenate((share, left)))
        repeated.append(len(found) - len(set(found)))
        over.append(int((~inside[numbers]).sum()))
        seconds.append(took)
    return Case(*map(np.array, (curves, repeated, over, seconds)))


def reached(curves: np.ndarray, share: float) -> tuple[int | None, int | None]:
    """After how many evaluations the mean of curves (seeds, evaluations) has a share, and after how many all of them; None for never."""

    def first(shares: np.ndarray) -> int | None:
        above = shares >= share
        return int(np.argmax(above)) + 1 if above.any() else None

    return first(curves.mean(axis=0)), first(curves.min(axis=0))


def line_of(name: str, case: Case, after: Sequence[int]) -> str:
    """Mean and worst share of a sampler, as a line of the printed table."""
    shares = case.after(after)
    texts = ["-" if np.isnan(some).any() else f"{some.mean():.4f} ({some.min():.3f})" for some in shares.T]
    columns = "".join(text[:14].rjust(16) for text in texts)
    return f"  {name:28}{columns}  {case.repeated.mean():8.1f} {case.over.mean():6.1f} {case.seconds.mean():8.2f}"


def rival_lines(cases: Mapping[str, Case]) -> list[str]:
    """After how many evaluations samplers have what NSGA-II has at its last one; no line if it is not among them."""
    if RIVAL not in cases:
        return []
    curves = cases[RIVAL].curves
    goal = float(curves[:, -1].mean())
    lines = [f"  the mean of {RIVAL} after {curves.shape[1]} evaluations, {goal:.4f}, is reached"]
    for name, case in cases.items():
        mean, all_ = ("never" if count is None else f"after {count}" for count in reached(case.curves, goal))
        made = case.curves.shape[1]
        lines.append(f"    {name:26} by the mean {mean}, by the worst seed {all_} (of {made})")
    return lines


def rows_of(
    table: str, setting: str, name: str, case: Case, after: Sequence[int], seeds: Sequence[int]
) -> list[list[Any]]:
    """Lines of the file that is written, see `FIELDS`."""
    searches = zip(
        seeds, case.after(after), case.repeated.tolist(), case.over.tolist(), case.seconds.tolist(), strict=True
    )
    return [
        [table, setting, name, seed, count, f"{share:.6f}", repeated, over, f"{seconds:.2f}"]
        for seed, shares, repeated, over, seconds in searches
        for count, share in zip(after, shares.tolist(), strict=True)
        if not np.isnan(share)
    ]


def versions() -> dict[str, str]:
    """Of what the figures depend on."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "optuna": optuna.__version__,
    }


class Report:
    """Prints cases, and writes them to a file as they come, so that an interrupted comparison leaves what it has.

    Args:
        after: numbers of evaluations, ascending.
        few: evaluations of `CAREFUL` samplers, at most.
        out: the file; None for none.
    """

    def __init__(self, after: Sequence[int], few: int, seeds: Sequence[int], out: Path | None) -> None:
        self.after, self.few, self.seeds, self.out = after, few, seeds, out
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            self._write("w", [FIELDS])
            about = {
                "seeds": list(seeds), "versions": versions(), "machine": machine.describe(1), "commit": machine.commit(), "command": machine.command(),
                "share": "of the hypervolume of the whole table, down to the 5 % quantile of the quality and up to the largest cost or the limit",
                "seconds": "that the sampler took for the whole search, without evaluations",
            }  # fmt: skip
            out.with_suffix(".json").write_text(json.dumps(about, indent=2) + "\n")

    def _write(self, mode: str, rows: Sequence[Sequence[Any]]) -> None:
        if self.out is not None:
            with self.out.open(mode, newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)

    def of(self, table: Table, samplers: Sequence[str], setting: str) -> dict[str, Case]:
        """Measures samplers on one table in one setting."""
        title = f"{table.name}, {setting}"
        print(f"\n{title:30}" + "".join(f"{f'after {n}':>16}" for n in self.after) + "  repeated   over  seconds")  # noqa: T201
        cases = {}
        for name in samplers:
            most = min(self.after[-1], self.few) if name in CAREFUL else self.after[-1]
            case = cases[name] = measured(table, name, setting, most, self.seeds)
            print(line_of(name, case, self.after), flush=True)  # noqa: T201
            self._write("a", rows_of(table.name, setting, name, case, self.after, self.seeds))
        for line in rival_lines(cases):
            print(line, flush=True)  # noqa: T201
        return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--macro", type=Path, help="nas-bench-macro_cifar10.json")
    parser.add_argument("--graph", action="store_true", help="NAS-Bench-Graph too")
    parser.add_argument("--made", action="store_true", help="the table made here too")
    parser.add_argument("--table", type=Path, nargs="*", default=[], help="CSV files: genes, quality, cost")
    parser.add_argument("--space", type=Path, help="the space that the tables are of, if they have digests")
    parser.add_argument("--samplers", nargs="*", default=CHEAP, choices=SAMPLERS)
    parser.add_argument("--settings", nargs="*", default=SETTINGS, choices=SETTINGS)
    parser.add_argument("--after", nargs="*", type=int, default=(50, 100, 133, 200, 400, 800))
    parser.add_argument("--few", type=int, default=200, help=f"evaluations at most of {', '.join(CAREFUL)}")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, help="CSV file of every seed's shares; FILE.json beside it says how they were made"
    )
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tables = [macro(options.macro)] if options.macro else []
    tables += [made()] if options.made else []
    tables += [of_space(path, options.space) if options.space else read(path) for path in options.table]
    if options.graph and (found := graph()) is not None:
        tables.append(found)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    numbers = ", ".join(f"{name} {number}" for name, number in versions().items())
    print(f"{numbers}; seeds {seeds[0]} to {seeds[-1]}; mean (worst) share of the hypervolume", flush=True)  # noqa: T201
    report = Report(sorted(options.after), options.few, seeds, options.out)
    for table in tables:
        for setting in options.settings:
            if setting != "noisy" or len(table.shown) > 1:
                report.of(table, options.samplers, setting)


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    main()
