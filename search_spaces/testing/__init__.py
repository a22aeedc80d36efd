"""The laws of parts and spaces, as test classes to inherit in a test file of your own; no checkout is needed.

    import my_mixers  # registers the mixer gated_conv

    @pytest.mark.parametrize("case", cases("mixer", "gated_conv"), ids=str)
    class TestGatedConv(PartLaws):
        pass

    @pytest.mark.parametrize("space", [elastic_space("mixer", "gated_conv")], ids=name_of)
    class TestGatedConvShared(SpaceLaws, CostLaws, SupernetLaws):  # the last from supernet.testing
        pass

A space: the second class with `[load_space("my_space.toml")]`.

    comparing.py        random weights and inputs, and how outputs are compared
    cases.py            examples of parts
    part_laws.py        PartLaws
    spaces.py           a space around a part, and members of spaces
    space_laws.py       SpaceLaws
    cost_laws.py        CostLaws
    registered_costs.py RegisteredCostLaws
    reference_count.py  MACs by fvcore

It needs pytest, hypothesis and fvcore: `pip install "hybrid-mixer-nas[testing]"`.
"""

# ruff: noqa: E402 - what is missing is said first, and pytest is told before the imports

from importlib.util import find_spec

_MISSING = [name for name in ("pytest", "hypothesis", "fvcore") if find_spec(name) is None]
if _MISSING:
    raise ImportError(
        f'the laws of search_spaces.testing need {", ".join(_MISSING)}: pip install "hybrid-mixer-nas[testing]"'
    )

import pytest

# What an assertion of a law compares is shown, as in a test file; pytest does so for files that it is told of before their import.
pytest.register_assert_rewrite(
    *(f"{__name__}.{name}" for name in ("comparing", "part_laws", "space_laws", "cost_laws", "registered_costs"))
)

from search_spaces.testing.cases import CLASSES, DIM, IN_DIM, SIZES, Case, cases
from search_spaces.testing.comparing import assert_same, no_shape_checks, noise, randomise, tame
from search_spaces.testing.cost_laws import CostLaws
from search_spaces.testing.part_laws import PartLaws
from search_spaces.testing.reference_count import fvcore_macs
from search_spaces.testing.registered_costs import RegisteredCostLaws
from search_spaces.testing.space_laws import SEEDS, Excess, SpaceLaws, few
from search_spaces.testing.spaces import (
    elastic_space,
    elastic_spaces,
    members,
    name_of,
    named_spaces,
    shared_out,
    small,
)

__all__ = [
    "CLASSES", "DIM", "IN_DIM", "SEEDS", "SIZES", "Case", "CostLaws", "Excess", "PartLaws", "RegisteredCostLaws", "SpaceLaws", "assert_same", "cases",
    "elastic_space", "elastic_spaces", "few", "fvcore_macs", "members", "name_of", "named_spaces", "no_shape_checks", "noise", "randomise",
    "shared_out", "small", "tame",
]  # fmt: skip
