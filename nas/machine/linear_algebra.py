"""One thread for the linear algebra of small matrices.

A library of linear algebra gives a matrix of a few hundred rows to all cores. Most of them then wait at full load for longer than they
work, which takes the cores from whatever else runs, and the last bits of a result depend on how many there are. With one thread, the
proposals of a search and the predictions of a latency model are the same on a machine of any number of cores.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits the BLAS libraries of this process, as a context or as a decorator. torch's own threads are left as they are."""
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> ThreadpoolController:
    """Found once: looking for them takes longer than most of what is limited. numpy and scipy load theirs when they are imported."""
    import scipy.linalg  # noqa: F401  so that its own copy is among them

    return ThreadpoolController()
