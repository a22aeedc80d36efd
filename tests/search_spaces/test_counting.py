"""Counts of any size in words, against exact arithmetic."""

from decimal import Context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.counting import decimal, scientific, worded


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0"),
        (24, "24"),
        (1797, "1,797"),
        (999_999, "999,999"),
        (1_000_000, "1e+06"),
        (1_999_999, "2e+06"),
        (9_994_999, "9.99e+06"),
        (9_995_000, "1e+07"),
        (10**100 - 1, "1e+100"),
        (1234 * 10**42, "1.23e+45"),
        (2 * 10**400 + 1, "2e+400"),
        (10**5000 - 1, "1e+5000"),
        (125 * 10**50_000, "1.25e+50002"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_counts_in_words(count: int, words: str) -> None:
    assert worded(count) == words
    assert worded(decimal(count)) == words


@given(st.integers(1, 10**30), st.integers(0, 6000))
def test_digits_and_rounding(count: int, zeros: int) -> None:
    text = decimal(count * 10**zeros)
    assert text == str(count) + "0" * zeros
    mantissa, power = scientific(count * 10**zeros)
    rounded = Context(prec=3, rounding="ROUND_HALF_UP").create_decimal(count)
    assert power == rounded.adjusted() + zeros
    assert float(mantissa) == float(rounded.scaleb(-rounded.adjusted()))
