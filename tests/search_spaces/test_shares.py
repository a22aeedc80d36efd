"""The number of foreground tokens of partial attention where the size of the map is open."""

from fractions import Fraction

import pytest

from search_spaces.mixers.partial_attention import MOST_PARTS, nearest


@pytest.mark.parametrize("share", [1 / 64, 1 / 32, 1 / 16, 0.1, 1 / 8, 0.2, 0.25, 0.3, 1 / 3, 0.5, 0.75, 0.9, 1.0])
def test_shares_by_whole_numbers_are_those_of_floats(share: float) -> None:
    """For every map up to 64 x 64, ties included."""
    part = Fraction(share).limit_denominator(MOST_PARTS)
    assert [nearest(part, n) for n in range(1, 4097)] == [round(share * n) for n in range(1, 4097)]
