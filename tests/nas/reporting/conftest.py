"""Made searches and their reports, for all tests of the report. They are shared: change nothing in them.

Fixtures import what they need: pytest reads this file before shape checks are installed, where one of the folder's files is named.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nas.reporting import SearchView
    from nas.runs.store import RunStore


@pytest.fixture(scope="session")
def view() -> "SearchView":
    """A search with everything."""
    from tests.nas.reporting.made_searches import search_view

    return search_view(seeds=3)


@pytest.fixture(scope="session")
def full(view: "SearchView", tmp_path_factory: pytest.TempPathFactory) -> "RunStore":
    """Its report."""
    from tests.nas.reporting.made_searches import reported

    return reported(tmp_path_factory.mktemp("full") / "run", view)


@pytest.fixture(scope="session")
def three() -> "tuple[SearchView, ...]":
    """Three searches of a run: of one cost, of two limits with unknown values and given networks, and one closed by hand."""
    from tests.nas.reporting.made_searches import search_view

    return (
        search_view("small", seeds=1),
        search_view("fast", budget="macs=3M,latency_ms=1.2", unknown=True, given=2, samplers=("tpe", "random")),
        search_view("closed", budget="1.2M", evaluations=7, finished=False, closed=True),
    )


@pytest.fixture(scope="session")
def beside(three: "tuple[SearchView, ...]", tmp_path_factory: pytest.TempPathFactory) -> "RunStore":
    """Their report."""
    from tests.nas.reporting.made_searches import reported

    return reported(tmp_path_factory.mktemp("three") / "run", *three)
