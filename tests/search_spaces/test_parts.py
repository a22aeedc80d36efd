"""Every registered part, in every one of its examples, keeps the contract."""

import pytest

from tests.contracts import PartLaws, cases


@pytest.mark.parametrize("case", cases(), ids=str)
class TestParts(PartLaws):
    pass
