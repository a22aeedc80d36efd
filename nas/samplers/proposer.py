"""A sampler at work: one Optuna study in memory, asked for genes and told what is known of them.

A study is replayed, not restored: the records of a search are the truth, proposals follow from the seed and from what was told,
so a search that starts again asks for the same architectures and finds their results there.

What is told is only what is known. A network that was evaluated is told with its values and its violations, again when the sampler
proposes it again. One that is over the budget is never evaluated: its trial ends as pruned, without values, with its violations.
Samplers that learn from constraints alone (TPE) see it; those that need values (NSGA-II, NSGA-III, evolution, Gaussian processes)
pass over it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from nas.goals.objectives import Objective
from nas.samplers.informed import InformedSampler
from nas.samplers.memory import TrialMemory, distribution_of
from search_spaces.architecture import Value
from search_spaces.errors import InputError
from search_spaces.space import Genes, SearchSpace

optuna.logging.set_verbosity(optuna.logging.WARNING)


def label(value: Value) -> Any:
    """A gene's value as Optuna stores it: tuples as text, the rest as it is."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


def labels_of(space: SearchSpace) -> dict[str, list[Any]]:
    """The labels of each gene's choices, by its name."""
    return {gene.name: [label(value) for value in gene.choices] for gene in space.genes}


def distributions_of(space: SearchSpace) -> dict[str, BaseDistribution]:
    """What each gene is to Optuna, by its name."""
    return {gene: distribution_of(labels) for gene, labels in labels_of(space).items()}


class Proposer:
    """Asks one sampler for genes of a space. Trials are known by their numbers, which count from 0.

    Args:
        space: used through `genes`.
        name: of the sampler in this search.
        constraint_names: the limited costs.

    Raises:
        InputError: from `ask`: the sampler cannot have several objectives.
    """

    def __init__(
        self,
        space: SearchSpace,
        name: str,
        sampler: BaseSampler,
        objectives: Sequence[Objective],
        constraint_names: Sequence[str] = (),
    ) -> None:
        self.name, self.constraint_names = name, tuple(constraint_names)
        self._labels = labels_of(space)
        self._index = {gene: {value: i for i, value in enumerate(values)} for gene, values in self._labels.items()}
        self._distributions = distributions_of(space)
        self._memory = TrialMemory()
        self._study = optuna.create_study(
            storage=self._memory,
            study_name=name,
            directions=[objective.direction for objective in objectives],
            sampler=sampler,
        )
        self._open: dict[int, Trial] = {}

    def probe(self) -> None:
        """Asks once, for the errors of `ask`. Informed samplers are not asked: they have several objectives, and in a large space their first
        proposal takes seconds.
        """
        if not isinstance(self._study.sampler, InformedSampler):
            self.ask()

    def ask(self) -> tuple[int, Genes]:
        """The next proposal: its trial, and its genes. Enqueued genes come first."""
        try:
            trial = self._study.ask()
            params = self._suggested(trial)
        except InputError:
            raise
        except Exception as error:  # whatever a sampler raises
            if isinstance(error, ValueError) and "multi-objective" in str(error):
                raise InputError(
                    f"sampler {self.name} cannot have several objectives",
                    "one objective, or a sampler for several",
                    "search.objectives=top1",
                ) from error
            raise InputError(
                f"sampler {self.name} fails ({type(error).__name__}: {error})",
                "an Optuna sampler of categorical parameters, with options that fit together",
                "search.samplers=random, or fix the sampler",
            ) from error
        self._open[trial.number] = trial
        return trial.number, tuple(self._index[name][value] for name, value in params.items())

    def _suggested(self, trial: Trial) -> dict[str, Any]:
        """A value for each gene, in their order: what Optuna's `Trial.suggest_categorical` gives, which takes several times longer.

        Raises:
            ValueError: the sampler gives what is no choice, or a parameter that it does not say it has.
        """
        study, number = self._study, trial._trial_id
        fixed: Mapping[str, Any] = self._memory.get_trial(number).system_attrs.get("fixed_params", {})
        found: dict[str, Any] = {}
        waiting: dict[str, Any] = {}  # what the storage does not have yet

        def stored() -> FrozenTrial:
            self._memory.set_trial_params(number, waiting, self._distributions)
            waiting.clear()
            return self._memory.get_trial(number)

        relative = self._relative(stored()) if fixed.keys() != self._distributions.keys() else {}
        for name, kind in self._distributions.items():
            if name in fixed:
                value = fixed[name]
            elif name in relative:
                value = relative[name]
            else:
                value = study.sampler.sample_independent(study, stored(), name, kind)
            found[name] = waiting[name] = self._choice(name, value)
        if fixed and isinstance(study.sampler, BaseGASampler):
            self._relative(stored())  # or the trial would belong to no generation
        self._memory.set_trial_params(number, waiting, self._distributions)
        return found

    def _relative(self, trial: FrozenTrial) -> dict[str, Any]:
        """What the sampler gives for many genes at once."""
        sampler = self._study.sampler
        space = sampler.infer_relative_search_space(self._study, trial)
        found = sampler.sample_relative(self._study, trial, space)
        for name in found:
            if name not in space:
                raise ValueError(f"sample_relative gives {name}, which infer_relative_search_space does not have")
            kind = self._distributions.get(name, space[name])
            if space[name] is not kind and space[name] != kind:
                check_distribution_compatibility(space[name], kind)
        return found

    def _choice(self, name: str, value: Any) -> Any:
        """The choice of a gene that a value is."""
        try:
            return self._labels[name][self._index[name][value]]
        except (KeyError, TypeError):
            return self._distributions[name].to_external_repr(self._distributions[name].to_internal_repr(value))

    def enqueue(self, genes: Genes) -> None:
        """Makes `genes` the next proposal."""
        pairs = zip(self._labels.items(), genes, strict=True)
        self._study.enqueue_trial({name: values[index] for (name, values), index in pairs})

    def tell(self, number: int, values: Sequence[float], violations: Mapping[str, float]) -> None:
        """The result of a proposal.

        Args:
            values: of the objectives, in their order.
            violations: per limited cost; at most 0 where the limit is kept.
        """
        self._study.tell(self._constrained(number, violations), list(values))

    def refuse(self, number: int, violations: Mapping[str, float]) -> None:
        """A proposal that is not evaluated: over the budget, or asked for twice before its result is known."""
        self._study.tell(self._constrained(number, violations), state=TrialState.PRUNED)

    def _constrained(self, number: int, violations: Mapping[str, float]) -> Trial:
        trial = self._open.pop(number)
        for name in self.constraint_names:
            trial.set_constraint(name, violations[name])
        return trial
