"""Reads, hashes and decodes all images of a data set once, on all cores, before anything is made of them."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from nas import machine
from nas.log import Progress
from search_spaces.errors import InputError

CHUNK = 64
"""Images that a thread takes at once."""

LISTED = 20
"""Files that a message names; of more, only the number."""

Job = TypeVar("Job")
Result = TypeVar("Result")


def on_all_cores(work: Callable[[Job], Result], jobs: Sequence[Job], threads: int = 0, label: str = "") -> list[Result]:
    """`work` of each job, in order, on threads: Pillow, hashes and files let others run meanwhile.

    Warnings of libraries are not shown: what matters of them is an error here.

    Args:
        threads: 0 for one per core.
        label: of a progress line; empty for none.
    """
    chunks = [jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK)]
    progress = Progress(label, len(jobs)) if label else None
    results: list[Result] = []
    with warnings.catch_warnings(), ThreadPoolExecutor(threads or machine.cores()) as pool:
        warnings.simplefilter("ignore")
        try:
            for found in pool.map(lambda chunk: [work(job) for job in chunk], chunks):
                results += found
                if progress:
                    progress.update(len(results), len(results))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results


def all_of_them(errors: Iterable[InputError], total: int) -> None:
    """
    Args:
        errors: one for each file that cannot be used.
        total: files that were tried.

    Raises:
        InputError: there are errors; up to twenty files are named.
    """
    found = list(errors)
    if not found:
        return
    if len(found) == 1:
        raise found[0]
    lines = [error.given for error in found[:LISTED]]
    if len(found) > LISTED:
        lines.append(f"and {len(found) - LISTED:,} more")
    raise InputError(
        f"{len(found):,} of {total:,} images cannot be used:",
        _each_once(error.allowed for error in found),
        _each_once(error.instead.replace(" it,", " them,") for error in found),
        lines,
    )


def _each_once(texts: Iterable[str]) -> str:
    """The different texts, without those that another one contains."""
    found = list(dict.fromkeys(texts))
    return "; ".join(text for text in found if not any(text != other and text in other for other in found))
