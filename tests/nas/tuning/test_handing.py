"""A search that runs beside its caller: who waits for whom."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from nas.tuning.handing import TRIES, Abandoned, Handing
from search_spaces.errors import InputError


@dataclass(frozen=True)
class Network:
    """Stands for an architecture."""

    digest: str


A, B, C = map(Network, "abc")
Begin = Callable[..., Handing]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts a search that maps these rounds of networks and keeps what it gets."""
    started: list[tuple[Handing, threading.Thread]] = []

    def of(got: list[Any], *rounds: list[Network]) -> Handing:
        handing = Handing()

        def conduct() -> None:
            try:
                for jobs in rounds:
                    got.extend(handing.map(dict, dict.get, jobs))
            except Abandoned:
                got.append("abandoned")
                handing.ended(None)
            except Exception as error:
                handing.ended(error)
            else:
                handing.ended(None)

        thread = threading.Thread(target=conduct)
        thread.start()
        started.append((handing, thread))
        return handing

    yield of
    for handing, thread in started:
        handing.close()
        thread.join(10)
        assert not thread.is_alive()


def test_results_reach_the_search_in_the_order_of_its_jobs(begin: Begin) -> None:
    got: list[Any] = []
    handing = begin(got, [A, B], [C])
    assert [handing.next(), handing.next(), handing.next()] == [A, B, None]
    handing.give("b", 2)
    assert got == []  # a's result is due first
    assert handing.next() is None
    handing.give("a", 1)
    assert got == [1, 2]
    assert handing.next() is C
    handing.give("a", 5)  # nobody waits for it
    handing.give("c", 3)
    assert got == [1, 2, 3]
    with pytest.raises(StopIteration):
        handing.next()


def test_a_result_of_a_network_that_was_not_handed_out(begin: Begin) -> None:
    """As after a restart, when a trial that was begun before ends."""
    got: list[Any] = []
    handing = begin(got, [A, B])
    handing.give("b", 2)
    assert [handing.next(), handing.next()] == [A, None]
    handing.give("a", 1)
    assert got == [1, 2]


def test_a_network_that_fails_is_handed_out_again(begin: Begin) -> None:
    got: list[Any] = []
    handing = begin(got, [A, B])
    assert [handing.next(), handing.next()] == [A, B]
    for _ in range(TRIES - 1):
        handing.fail(A)
        assert handing.next() is A
    handing.give("b", 2)
    handing.fail(A)
    with pytest.raises(InputError, match="network a could not be evaluated: 3 trials"):
        handing.next()
    assert got == []


def test_a_search_that_is_given_up(begin: Begin) -> None:
    got: list[Any] = []
    handing = begin(got, [A, B])
    assert handing.next() is A
    handing.close()
    handing.close()
    while not got:
        pass
    assert got == ["abandoned"]
