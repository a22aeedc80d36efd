"""What the tests of samplers share."""

from collections.abc import Iterator

import pytest

from tests.nas.samplers.databases import opened


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Closes the databases that a test has opened."""
    yield
    while opened:
        opened.pop().engine.dispose()
