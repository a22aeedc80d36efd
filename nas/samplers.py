"""Who proposes architectures: Optuna's samplers over a space's genes. The only file that imports optuna.

A study is replayed, not restored: evaluations.jsonl is the truth, proposals follow from the seed and the results so far, so a
search that starts again asks for the same architectures and finds their results there. The study in study.db is a copy for
Optuna's own tools.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from search_spaces.architecture import Architecture, Value
from search_spaces.space import Genes, SearchSpace

optuna.logging.set_verbosity(optuna.logging.WARNING)


def make_sampler(name: str, seed: int, population: int) -> BaseSampler:
    """An Optuna sampler by the name that the configuration gives it."""
    if name == "nsga2":
        return NSGAIISampler(population_size=population, seed=seed)
    return RandomSampler(seed=seed)


def _name_metrics(study: optuna.Study) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(["top1", "macs"])


def _label(value: Value) -> Any:
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


class Proposer:
    """Asks an Optuna study for architectures of a space: top-1 up, MACs down, MACs constrained by the budget.

    Args:
        budget: the constraint that Optuna records (MACs - budget, feasible when at most 0), or None.
    """

    def __init__(self, space: SearchSpace, name: str, *, seed: int, population: int, budget: int | None) -> None:
        self.space, self.name, self.budget = space, name, budget
        self.labels = {gene.name: [_label(value) for value in gene.choices] for gene in space.genes}
        self.distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(labels) for name, labels in self.labels.items()
        }
        self.study = optuna.create_study(
            study_name=name, directions=["maximize", "minimize"], sampler=make_sampler(name, seed, population)
        )
        _name_metrics(self.study)

    def ask(self) -> tuple[Trial, Genes]:
        """A proposal: Optuna's trial, and its genes."""
        trial = self.study.ask(self.distributions)
        return trial, tuple(labels.index(trial.params[name]) for name, labels in self.labels.items())

    def tell(self, trial: Trial, genes: Genes, arch: Architecture, top1: float, macs: int) -> None:
        """The result of a proposal.

        Args:
            genes: of the evaluated `arch`, which differs from the proposal when that was over the budget.
        """
        trial.set_user_attr("digest", arch.digest)
        trial.set_user_attr(
            "evaluated", {gene.name: _label(gene.choices[i]) for gene, i in zip(self.space.genes, genes, strict=True)}
        )
        if self.budget is not None:
            trial.set_constraint("macs", float(macs - self.budget))
        self.study.tell(trial, [top1, float(macs)])

    def trials(self) -> Sequence[FrozenTrial]:
        """All finished trials, in order."""
        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def mirror(proposers: Sequence[Proposer], path: Path) -> None:
    """Brings the studies in an SQLite file up to date with `proposers`, one study each; a damaged file is made anew.

    Raises:
        OSError: the file cannot be written.
    """
    storage = None
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        for proposer in proposers:
            study = optuna.create_study(
                study_name=proposer.name, storage=storage, directions=["maximize", "minimize"], load_if_exists=True
            )
            if not study.metric_names:
                _name_metrics(study)
            known = len(study.get_trials(deepcopy=False))
            trials = [trial for trial in proposer.trials() if trial.number >= known]
            if trials:
                study.add_trials(trials)
    except Exception as error:
        if storage is not None:
            storage.engine.dispose()
        raise OSError(str(error)) from error
    storage.engine.dispose()
