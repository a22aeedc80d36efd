"""Laws that take seconds for each named space: `make test` tries them on digits, images32 and unified, which has every part of the papers'
own spaces, and `make test-all` on those, too.
"""

from collections.abc import Iterable
from typing import Any

import pytest

from search_spaces.space import SearchSpace

OF_PAPERS = ("emsnet", "mat", "partialformer", "hat_net", "linglo", "transxnet")


def often(spaces: Iterable[SearchSpace | str]) -> list[Any]:
    """Spaces or their names as parameters of a test. It is slow for those of the papers."""
    return [
        pytest.param(one, marks=pytest.mark.slow) if getattr(one, "name", one) in OF_PAPERS else one for one in spaces
    ]
