"""Samplers by name and by path: what is made of which options, and what is said of those that cannot be made."""

import subprocess
import sys
import textwrap
from pathlib import Path

import optuna
import pytest
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler

from nas.samplers import ABOUT, NAMES, check_sampler, make_sampler
from nas.samplers.additive import AdditiveSampler
from nas.samplers.crowded import CrowdedNSGAIISampler
from nas.samplers.predictor import PredictorSampler
from nas.samplers.regularised_evolution import RegularisedEvolutionSampler
from nas.samplers.uniform import UniformSampler
from search_spaces.errors import InputError


def test_names_are_known_without_optuna() -> None:
    code = "import sys, nas.samplers; nas.samplers.check_sampler('gp'); sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert set(ABOUT) == set(NAMES)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("random", UniformSampler), ("nsga2", CrowdedNSGAIISampler), ("nsga3", NSGAIIISampler), ("tpe", TPESampler),
        ("gp", GPSampler), ("evolution", RegularisedEvolutionSampler), ("optuna.samplers.TPESampler", TPESampler),
        ("predictor", PredictorSampler), ("additive", AdditiveSampler),
    ],
)  # fmt: skip
def test_every_name_makes_a_sampler(name: str, kind: type[BaseSampler]) -> None:
    assert type(make_sampler(name, seed=1, population=7)) is kind


def test_the_population_is_of_those_that_have_one_and_options_go_first() -> None:
    for name in ("nsga2", "nsga3"):
        sampler = make_sampler(name, seed=1, population=7)
        assert isinstance(sampler, NSGAIISampler | NSGAIIISampler)
        assert sampler.population_size == 7
    sampler = make_sampler("nsga2", seed=1, population=7, options={"population_size": 9, "mutation_prob": 0.5})
    assert isinstance(sampler, NSGAIISampler)
    assert sampler.population_size == 9


def test_the_seed_decides() -> None:
    def draws(name: str, seed: int) -> list[float]:
        study = optuna.create_study(sampler=make_sampler(name, seed=seed, population=4))
        return [study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}).params["x"] for _ in range(3)]

    for name in (*NAMES, "optuna.samplers.RandomSampler"):
        assert draws(name, 1) == draws(name, 1) != draws(name, 2)


@pytest.mark.parametrize(
    ("name", "options", "given", "allowed"),
    [
        ("nsga4", {}, "unknown search.samplers 'nsga4'", "nsga2, nsga3"),
        ("a..b", {}, "unknown search.samplers 'a..b'", "nsga2, nsga3"),
        ("nsga2", {"populations": 3}, "unknown option of sampler nsga2: 'populations'", "population_size"),
        ("nsga2", {"seed": 3}, "unknown option of sampler nsga2: 'seed'", "mutation_prob"),
        ("gp", {"n_startup_trials": "many"}, "option n_startup_trials of sampler gp is 'many'", "int"),
        ("tpe", {"multivariate": 1}, "option multivariate of sampler tpe is 1", "bool"),
        ("nsga2", {"population_size": True}, "option population_size of sampler nsga2 is True", "int"),
        ("nsga2", {"mutation_prob": 2.0}, "mutation_prob is 2.0", "what its documentation allows"),
        ("nsga2", {"population_size": 1}, "sampler nsga2 cannot be made of", "what its documentation allows"),
        ("nowhere.Sampler", {}, "No module named 'nowhere'", "the dotted path"),
        ("optuna.samplers.RandomSample", {}, "unknown sampler in optuna.samplers 'RandomSample'", "RandomSampler"),
        ("optuna.samplers.nsgaii", {}, "is module", "a class"),
        ("collections.OrderedDict", {}, "gives OrderedDict, which is no Optuna sampler", "BaseSampler"),
    ],
)
def test_what_cannot_be_made(name: str, options: dict[str, object], given: str, allowed: str) -> None:
    with pytest.raises(InputError) as caught:
        make_sampler(name, seed=0, population=5, options=options)
    assert given in caught.value.given
    assert allowed in caught.value.allowed
    assert caught.value.instead


def test_a_path_that_is_none_is_found_out_early() -> None:
    check_sampler("my_package.MySampler")
    with pytest.raises(InputError, match=r"search\.samplers=random"):
        check_sampler("ranom")


def test_a_sampler_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "foreign_samplers.py").write_text(
        textwrap.dedent("""
            from optuna.samplers import RandomSampler

            class Mine(RandomSampler):
                def __init__(self, seed=None, size: int = 3):
                    super().__init__(seed=seed)
                    self.size, self.given = size, seed

            class Unseeded(RandomSampler):
                def __init__(self):
                    super().__init__(seed=0)

            def factory(**options):
                return Mine(**options)
            """)
    )
    (tmp_path / "foreign_broken.py").write_text("import math\n\nmath.nothing\n")
    (tmp_path / "foreign_syntax.py").write_text("def :\n")
    monkeypatch.syspath_prepend(tmp_path)
    mine = make_sampler("foreign_samplers.Mine", seed=5, population=9, options={"size": 4})
    assert vars(mine)["size"] == 4
    assert vars(mine)["given"] == 5
    assert vars(make_sampler("foreign_samplers.factory", seed=6, population=9, options={"size": 2}))["given"] == 6
    assert isinstance(make_sampler("foreign_samplers.Unseeded", seed=5, population=9), RandomSampler)
    with pytest.raises(InputError, match=r"unknown sampler in foreign_samplers 'Yours'"):
        make_sampler("foreign_samplers.Yours", seed=5, population=9)
    with pytest.raises(InputError, match=r"foreign_broken.py, line 3: AttributeError"):
        make_sampler("foreign_broken.Mine", seed=5, population=9)
    with pytest.raises(InputError, match=r"foreign_syntax.py, line 1"):
        make_sampler("foreign_syntax.Mine", seed=5, population=9)


def test_exact_functions_are_for_those_that_take_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To any other sampler an argument of such a name is an option like any other."""
    (tmp_path / "foreign_exact.py").write_text(
        textwrap.dedent("""
            from optuna.samplers import RandomSampler

            class Own(RandomSampler):
                def __init__(self, seed=None, known: int = 3):
                    super().__init__(seed=seed)
                    self.known = known

            class Exact(Own):
                takes_exact = True
            """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    exact = {"known": {1: len}, "search_space": {}}
    own = make_sampler("foreign_exact.Own", seed=1, population=4, options={"known": 4}, exact=exact)
    assert vars(own)["known"] == 4
    assert vars(make_sampler("foreign_exact.Exact", seed=1, population=4, exact=exact))["known"] == {1: len}
    for name in ("foreign_exact.Exact", "predictor"):
        with pytest.raises(InputError, match=r"unknown option of sampler .*: 'known'"):
            make_sampler(name, seed=1, population=4, options={"known": 4}, exact=exact)


def test_a_grid_is_searched() -> None:
    grid = {"x": ["b", "a"], "y": ["c", "d"]}
    options = {"search_space": grid}
    sampler = make_sampler(
        "optuna.samplers.GridSampler", seed=1, population=4, options=options, exact={"search_space": {}}
    )
    study = optuna.create_study(sampler=sampler)
    space = {name: optuna.distributions.CategoricalDistribution((*values, "z")) for name, values in grid.items()}
    found = set()
    for _ in range(3):
        trial = study.ask(space)
        found.add(tuple(trial.params.values()))
        study.tell(trial, 0.0)
    assert len(found) == 3
    assert found < {("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")}
