"""The laws of supernets and of strategies, as test classes to inherit in a test file of your own; no checkout is needed.

A part or a space, beside the laws of `search_spaces.testing`:

    @pytest.mark.parametrize("space", [elastic_space("mixer", "my_mixer")], ids=name_of)
    class TestMyMixerShared(SpaceLaws, CostLaws, SupernetLaws):
        pass

A strategy:

    @pytest.mark.parametrize("strategy", [MyStrategy])
    class TestMyStrategy(StrategyLaws):
        pass

It needs what `search_spaces.testing` needs.
"""

# ruff: noqa: E402 - search_spaces.testing says first what is missing, and pytest is told before the imports

from search_spaces import testing as _needed  # noqa: F401, I001

import pytest

pytest.register_assert_rewrite(f"{__name__}.supernet_laws", f"{__name__}.strategy_laws")

from supernet.testing.strategy_laws import Memory, StrategyLaws, batches, moments, same, small_space
from supernet.testing.supernet_laws import SupernetLaws, borrowed, images, repeated, state_of, supernet_of

__all__ = [
    "Memory",
    "StrategyLaws",
    "SupernetLaws",
    "batches",
    "borrowed",
    "images",
    "moments",
    "repeated",
    "same",
    "small_space",
    "state_of",
    "supernet_of",
]
