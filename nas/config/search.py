"""The section `search` of the configuration. Standard library only."""

import hashlib
import json
import re
from dataclasses import dataclass

from nas.config.keys import at_least, key, one_of
from nas.goals.budget import Budget
from nas.goals.objectives import parse_objectives
from nas.samplers import check_sampler
from search_spaces.errors import InputError, quoted

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,99}")


def is_search_name(name: str) -> bool:
    """Whether this can be the name of a search, which is a folder of its run."""
    return bool(_NAME.fullmatch(name))


_FIXED = re.compile(r"[\w*-]+(\.[\w*-]+)*=.+")

PAPERS, FRONT = "papers", "front:"
"""Starts of a search that are no files: the papers' networks, and the Pareto front of a search of the run."""

_OPTION = re.compile(r"[A-Za-z_][\w.]*\.[A-Za-z_]\w*=.+")


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """How sub-networks are searched."""

    name: str = key(
        "",
        "name of the search in its run; empty for one made from its budget, objectives, samplers, seed, fix and starts",
    )
    budget: str = key(
        "none",
        "what a network may cost: 4M (at most 4 million MACs), macs=4M,params=100K (any costs), macs=2M..4M (a range, both ends included), "
        "latency_ms@pi5=8 (a cost on one device), or none. The default is train.budget; a looser budget is refused",
    )
    objectives: tuple[str, ...] = key(("top1", "macs"), "one to four of top1 (up), loss (down) and any costs (down)")
    samplers: tuple[str, ...] = key(
        ("nsga2", "random"),
        "who proposes networks: random, nsga2, nsga3, tpe, gp, evolution, predictor, additive, or the dotted path of an Optuna sampler; random is always added",
    )
    options: tuple[str, ...] = key((), "options of samplers, such as tpe.n_startup_trials=20")
    evaluations: int = key(100, "different networks evaluated per sampler; raise it to continue a finished search")
    population: int = key(20, "population of nsga2, nsga3 and evolution")
    batch: int = key(4, "networks that a sampler proposes before it is told their results")
    seed: int = key(0, "seed of the samplers; the run has a seed of its own")
    calibration_images: int = key(
        256, "supernet-train images that recompute the normalisation statistics of each candidate"
    )
    batch_size: int = key(256, "images at once")
    evaluation: str = key(
        "exact",
        "plain: every network alone; exact: networks whose first layers are equal share feature maps and statistics, with the same results; fast: "
        "exact, and networks that are sure to lose are dropped before they have seen all images. Their accuracy is an estimate, and they "
        "cannot win. The accuracy of the others may differ from exact by an image, because batches hold other images",
    )
    networks: tuple[str, ...] = key((), "arch.json files of networks of the space that are evaluated beside the search")
    starts: tuple[str, ...] = key(
        (),
        "networks that every sampler except random proposes first: arch.json files, papers (the papers' networks that fit the space and the "
        "budget), front:SEARCH (the Pareto front of another search of the run)",
    )
    fix: tuple[str, ...] = key(
        (),
        "parts of the architecture that are held fixed: stages.2.mixer=d_mixer, stages.*.ffn.mlp.ratio=4, stages.0.depth=2. The supernet stays "
        "as it is",
    )
    measured: tuple[str, ...] = key(
        (),
        "CSV files of measured costs: a column digest, a column per cost, and architecture (the JSON of arch.json) where the run has not evaluated the network",
    )
    profiles: tuple[str, ...] = key(
        (),
        "profiles of devices (nas profile), or CSV files of measured units (nas profile list=FILE.csv): each gives the cost latency_ms@NAME, and also latency_ms if it describes this device",
    )
    learned: tuple[str, ...] = key(
        (),
        "CSV files of measured costs with a column architecture: each cost is learned from the networks in the file and predicted for all others",
    )
    fill: bool = key(False, "predict the times of units that the profiles lack from those that they have")
    jobs: int = key(0, "networks evaluated at the same time, one per process; 0 takes the number of cores")
    close: bool = key(False, "finish the search with what it has evaluated")
    noisy: bool = key(
        False, "measure networks on this device even if the machine is too noisy to be trusted; the records say so"
    )

    def __post_init__(self) -> None:
        Budget.parse(self.budget)
        parse_objectives(self.objectives)
        at_least(self, evaluations=1, population=2, calibration_images=2, batch_size=2, batch=1, seed=0, jobs=0)
        one_of(self, evaluation=("plain", "exact", "fast"))
        if "random" not in self.samplers:
            object.__setattr__(self, "samplers", (*self.samplers, "random"))  # no result is shown without it
        for name in self.samplers:
            check_sampler(name)
        if len(set(self.samplers)) != len(self.samplers):
            once = ",".join(dict.fromkeys(self.samplers))
            raise InputError(
                f"search.samplers are {list(self.samplers)}", "each at most once", f"search.samplers={once}"
            )
        if self.name and not is_search_name(self.name):
            plain = re.sub("[^A-Za-z0-9._=+-]+", "-", self.name).strip(".-")[:100] or "mine"
            raise InputError(
                f"search.name is {quoted(self.name)}",
                "up to 100 letters, digits and . _ - + =, starting with a letter or digit",
                f"search.name={plain}",
            )
        for setting in self.fix:
            if not _FIXED.fullmatch(setting):
                raise InputError(
                    f"search.fix has {setting!r}",
                    "PATH=VALUE with a path into the space",
                    "search.fix=stages.0.depth=1",
                )
        for option in self.options:
            if not _OPTION.fullmatch(option):
                raise InputError(
                    f"search.options has {option!r}", "SAMPLER.OPTION=VALUE", "search.options=tpe.n_startup_trials=20"
                )

    @property
    def title(self) -> str:
        """The name of the search: the one given, or one made from its budget, objectives, samplers, seed, and what is fixed and started with."""
        if self.name:
            return self.name
        budget = Budget.parse(self.budget)
        # A device's name may end in digits: = keeps them apart from the limit.
        limits = "-".join(f"{name}{'=' * ('@' in name)}{budget.spelt(name)}" for name in budget.names) or "nobudget"
        samplers = "-".join(name.rpartition(".")[2].lower() for name in self.samplers)
        title = f"{limits}_{'-'.join(self.objectives)}_{samplers}_seed{self.seed}".replace("..", "to").replace("@", "+")
        title += "".join(f"_{re.sub('[^A-Za-z0-9._=+-]+', '-', setting.replace('*', 'all'))}" for setting in self.fix)
        if self.starts:  # files have long names
            title += f"_starts-{hashlib.sha256(json.dumps(self.starts).encode()).hexdigest()[:8]}"
        return title if len(title) <= 100 else f"{title[:87]}-{hashlib.sha256(title.encode()).hexdigest()[:12]}"
