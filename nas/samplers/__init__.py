"""Who proposes architectures: Optuna's samplers by name, one of our own, or any that can be imported.

A sampler of your own is any of Optuna's kind, in one file, named by its dotted path, search.samplers=my_package.Stubborn:

    from optuna.samplers import RandomSampler

    class Stubborn(RandomSampler):
        def __init__(self, *, seed=None, share: float = 0.5):  # search.options=my_package.Stubborn.share=0.8
            super().__init__(seed=seed)
            self.share = share

        def sample_independent(self, study, trial, param_name, param_distribution):
            found = super().sample_independent(study, trial, param_name, param_distribution)
            return param_distribution.choices[0] if trial.number % 10 < 10 * self.share else found

`nas.testing.samplers` has the laws of samplers, as tests to inherit.

Only the modules of this package import optuna, and this one does so when a sampler is made: the names are checked by a command
line that has no use for optuna.
"""

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nas.dotted import check_name, found_at
from search_spaces.errors import InputError, unknown

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass(frozen=True)
class _Known:
    """A sampler that has a name: where it is, what it is made with unless told otherwise, and whether it has a population."""

    path: str
    about: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    has_population: bool = False


_KNOWN = {
    "random": _Known("nas.samplers.uniform.UniformSampler", "uniform, the baseline of every search"),
    "nsga2": _Known(
        "nas.samplers.crowded.CrowdedNSGAIISampler", "NSGA-II with crowded tournaments", has_population=True
    ),
    "nsga3": _Known("optuna.samplers.NSGAIIISampler", "NSGA-III, for many objectives", {"crossover_prob": 1.0}, True),
    "tpe": _Known(
        "optuna.samplers.TPESampler", "tree-structured Parzen estimator", {"multivariate": True, "group": True}
    ),
    "gp": _Known("optuna.samplers.GPSampler", "Gaussian processes; seconds a proposal"),
    "evolution": _Known(
        "nas.samplers.regularised_evolution.RegularisedEvolutionSampler",
        "regularised (ageing) evolution",
        has_population=True,
    ),
    "predictor": _Known(
        "nas.samplers.predictor.PredictorSampler", "learns what is unknown, computes what is known; for few evaluations"
    ),
    "additive": _Known(
        "nas.samplers.additive.AdditiveSampler", "scores per choice and integer programming, a baseline"
    ),
}

NAMES = tuple(_KNOWN)
"""The samplers that have a name of their own."""

ABOUT = {name: known.about for name, known in _KNOWN.items()}
"""What each of `NAMES` is."""

_EXACT = ("known", "constraints", "identity", "search_space", "candidates")
"""Arguments that mean what `nas.searching.exact` says, to a sampler whose class says `takes_exact = True`. To others they may mean anything."""

_NOT_OPTIONS = ("self", "seed", "constraints_func")
"""Arguments of samplers that the search sets itself, beside the exact ones."""

_SIMPLE = {"int": int, "float": (int, float), "bool": bool, "str": str, "None": type(None)}


def check_sampler(name: str, key: str = "search.samplers") -> None:
    """Whether `name` is one of `NAMES`, or has the form of a dotted path; imports nothing.

    Raises:
        InputError: neither.
    """
    check_name(name, NAMES, key, "MySampler")


def make_sampler(
    name: str,
    *,
    seed: int,
    population: int,
    options: Mapping[str, object] | None = None,
    exact: Mapping[str, Any] | None = None,
) -> "BaseSampler":
    """An Optuna sampler.

    Args:
        name: one of `NAMES`, or the dotted path of a class, or of a function that gives a sampler.
        seed: below 2**32. A sampler of a dotted path gets it if it takes an argument `seed`.
        population: individuals of a generation, where the sampler has generations.
        options: further arguments of the sampler's constructor, which go before what is set here.
        exact: what is known without evaluating (`nas.searching.exact`). A sampler whose class has the attribute `takes_exact = True` gets what its
            constructor has arguments for; no other does.

    Raises:
        InputError: there is no such sampler, it cannot be imported, it takes no such option, or it is no Optuna sampler.
    """
    check_sampler(name)
    known = _KNOWN.get(name)
    maker = _found(known.path if known else name, ours=known is not None)
    arguments = _arguments(maker)
    anything = arguments is None
    reserved = _EXACT if getattr(maker, "takes_exact", False) else ()
    given: dict[str, Any] = dict(known.defaults) if known else {}
    if known and known.has_population:
        given["population_size"] = population
    if (options or {}).get("multivariate") is False:
        given.pop("group", None)  # which TPE has only beside it
    for option, value in (options or {}).items():
        if arguments is not None:
            _check_option(name, option, value, arguments, reserved)
        given[option] = value
    if anything or "seed" in arguments:
        given["seed"] = seed
    if arguments is not None:
        told = {argument: value for argument, value in (exact or {}).items() if argument in reserved}
        given |= {argument: value for argument, value in told.items() if argument in arguments}
    try:
        with warnings.catch_warnings():
            _silence_experimental()
            sampler = maker(**given)
    except Exception as error:
        raise InputError(
            f"sampler {name} cannot be made of {_spelt(given, reserved)} ({type(error).__name__}: {error})",
            "what its documentation allows",
            f"other options of sampler {name}",
        ) from error
    from optuna.samplers import BaseSampler

    if not isinstance(sampler, BaseSampler):
        raise InputError(
            f"{name} gives {type(sampler).__name__}, which is no Optuna sampler",
            "a class that inherits optuna.samplers.BaseSampler, or a function that gives one",
            f"one of {', '.join(NAMES)}",
        )
    return sampler


def _silence_experimental() -> None:
    """TPE's `group` is experimental to Optuna. To this project it is a choice, pinned by tests."""
    from optuna.exceptions import ExperimentalWarning

    warnings.simplefilter("ignore", ExperimentalWarning)


def _found(path: str, *, ours: bool) -> Callable[..., Any]:
    """What is at a dotted path.

    Raises:
        InputError: it cannot be imported, or cannot be called.
    """
    found = found_at(path, NAMES, "search.samplers", "sampler", "sample_relative", ours=ours)
    if not callable(found):
        raise InputError(
            f"sampler {path} is {type(found).__name__}",
            "a class that inherits optuna.samplers.BaseSampler, or a function that gives one",
            f"one of {', '.join(NAMES)}",
        )
    return found


def _arguments(maker: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """The arguments that can be given by name; None where any can (`**kwargs`), or where Python cannot tell."""
    try:
        parameters = inspect.signature(maker).parameters
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    return {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }


def _check_option(
    name: str, option: str, value: object, arguments: Mapping[str, inspect.Parameter], reserved: Sequence[str]
) -> None:
    """Raises InputError unless a text can be this argument's value, as far as its annotation says.

    Args:
        reserved: arguments that are no options, as the search sets them.
    """
    allowed = {
        argument: parameter
        for argument, parameter in arguments.items()
        if argument not in (*_NOT_OPTIONS, *reserved) and "Callable" not in str(parameter.annotation)
    }
    if option not in allowed:
        raise unknown(f"option of sampler {name}:", option, allowed, f"search.options={name}.{{}}=VALUE")
    annotation = allowed[option].annotation
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    kinds = [kind.strip() for kind in text.split("|")]
    if all(kind in _SIMPLE for kind in kinds) and not any(
        isinstance(value, _SIMPLE[kind]) and (kind == "bool" or not isinstance(value, bool)) for kind in kinds
    ):
        default = allowed[option].default
        raise InputError(
            f"option {option} of sampler {name} is {value!r}",
            " or ".join(kind for kind in kinds if kind != "None"),
            f"search.options={name}.{option}={default}"
            if default not in (None, inspect.Parameter.empty)
            else f"search.options without {name}.{option}",
        )


def _spelt(given: Mapping[str, Any], reserved: Sequence[str]) -> str:
    return (
        ", ".join(f"{name}={value!r}" for name, value in given.items() if name not in ("seed", *reserved)) or "nothing"
    )
