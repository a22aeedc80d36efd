"""What charts and tables of the report are written with: scales, short numbers and codes of mixers."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nas.reporting.chart import Scale
from nas.reporting.mixers import Mixers
from nas.reporting.words import compact
from search_spaces.architecture import Architecture, Block, Part, Stage


@settings(max_examples=120, deadline=None)
@example(values=[1.0, 0.9999999999999999], most=6)
@given(
    values=st.lists(st.one_of(st.integers(1, 10**12), st.floats(1e-3, 1.0)), min_size=1, max_size=6),
    most=st.integers(5, 8),
)
def test_scale_holds_its_values(values: list[float], most: int) -> None:
    for logarithmic in (False, True):
        scale = Scale.over(values, logarithmic=logarithmic)
        assert all(0 <= scale.at(value) <= 1 for value in values)
        assert all(scale.downwards().at(value) == 1 - scale.at(value) for value in values)
        ticks = scale.ticks(most)
        assert ticks == sorted(set(ticks))
        assert all(-1e-9 <= scale.at(tick) <= 1 + 1e-9 for tick in ticks)
        assert scale.log or 2 <= len(ticks) <= most + 1
        assert len(ticks) >= 1


def test_scale_prints_round_numbers() -> None:
    assert Scale(0.0, 0.8, False).ticks() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    assert Scale(3e5, 6e6, True).ticks() == [5e5, 1e6, 2e6, 5e6]


@pytest.mark.parametrize(
    ("number", "text"),
    [(847, "847"), (31_234, "31.2K"), (2_350_000, "2.35M"), (999_600, "1.00M"), (3e12, "3.00T"), (0, "0"), (12, "12"),
     (3.5, "3.50"), (0.01254, "0.0125"), (99.96, "100"), (123.4, "123"), (-2.5e6, "-2.50M"), (999.7, "1.00K")],
)  # fmt: skip
def test_compact(number: float, text: str) -> None:
    assert compact(number) == text


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=20, unique=True))
def test_mixer_codes_differ(names: list[str]) -> None:
    parts = [Part.of(name) for name in names]
    blocks = tuple(Block(position=part, norm=part, mixer=part, ffn=part, scale=part) for part in parts)
    stage = Stage(width=1, embedding=parts[0], blocks=blocks)
    mixers = Mixers.of([Architecture(in_channels=1, num_classes=1, resolution=1, stages=(stage,), head=parts[0])])
    assert set(mixers.codes) == set(names)
    assert len(set(mixers.codes.values())) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9]{1,3}", code) for code in mixers.codes.values())
