"""The samplers that come with nas keep the laws of samplers, and the laws find one that does not."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.testing.samplers import SamplerLaws

BAD = """\
import random

from optuna.samplers import RandomSampler


class Global(RandomSampler):
    def sample_independent(self, study, trial, param_name, param_distribution):
        return random.choice(param_distribution.choices)
"""


class TestRandom(SamplerLaws):
    sampler = "random"


class TestNSGA2(SamplerLaws):
    sampler = "nsga2"


class TestNSGA3(SamplerLaws):
    sampler = "nsga3"


class TestTPE(SamplerLaws):
    sampler = "tpe"


class TestEvolution(SamplerLaws):
    sampler, objectives = "evolution", "top1"


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[SamplerLaws]]:
    (tmp_path / "bad_samplers.py").write_text(BAD)
    monkeypatch.syspath_prepend(tmp_path)
    state = random.getstate()
    yield type("Laws", (SamplerLaws,), {"sampler": "bad_samplers.Global"})
    random.setstate(state)


def test_a_sampler_of_global_random_numbers_is_found_out(bad: type[SamplerLaws]) -> None:
    bad().test_proposals_are_members()
    with pytest.raises(AssertionError):
        bad().test_the_seed_decides_alone()
