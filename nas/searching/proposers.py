"""The samplers of a search, with their options and what they are told of the space."""

from collections.abc import Sequence

from nas.goals.budget import Budget
from nas.goals.objectives import parse_objectives
from nas.goals.roles import RANDOM
from nas.runs.run import Run
from nas.samplers import NAMES, make_sampler
from nas.samplers.proposer import Proposer
from nas.searching.engine import Space
from nas.searching.exact import Exact
from nas.searching.sources import Listed
from nas.searching.starting import space_of
from search_spaces.errors import InputError, unknown
from search_spaces.files.toml import value_or_text
from supernet.seeding import derive_seed


def proposers_of(run: Run, constrained: Sequence[str], source: Space) -> list[Proposer]:
    """The samplers that the configuration names, just made. Those that can be told what is known exactly are told.

    Args:
        constrained: the costs that have a limit, or have to be known.
        source: of the networks that may be evaluated.

    Raises:
        InputError: there is no such sampler, or it takes no such option.
    """
    settings = run.config.search
    options = options_of(settings.options, settings.samplers)
    objectives, space = parse_objectives(settings.objectives), space_of(run)
    listed = source.feasible if isinstance(source, Listed) else None
    exact = Exact(space, objectives, Budget.parse(settings.budget), constrained, listed).arguments()
    found = []
    for name in settings.samplers:
        seed = derive_seed(run.config.seed, "sampler", name, settings.seed) % 2**32
        sampler = make_sampler(name, seed=seed, population=settings.population, options=options[name], exact=exact)
        found.append(Proposer(space, name, sampler, objectives, constrained))
    return found


def options_of(options: Sequence[str], samplers: Sequence[str]) -> dict[str, dict[str, object]]:
    """The options of each sampler, from "SAMPLER.OPTION=VALUE"; a value is read as TOML, else as text.

    Raises:
        InputError: options of a sampler that is not among them.
    """
    found: dict[str, dict[str, object]] = {name: {} for name in samplers}
    for option in options:
        key, _, text = option.partition("=")
        name, _, argument = key.rpartition(".")
        if name not in found:
            if name in NAMES:  # it would not help to give the option to another sampler
                both = ",".join((*(one for one in samplers if one != RANDOM), name))
                raise InputError(
                    f"search.options has {option!r}, and {name} is no sampler of this search",
                    ", ".join(samplers),
                    f"samplers={both}",
                )
            raise unknown("sampler in search.options:", name, samplers, f"search.options={{}}.{argument}={text}")
        found[name][argument] = value_or_text(text)
    return found
