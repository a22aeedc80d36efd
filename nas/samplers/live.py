"""study.db while a search runs, so that optuna-dashboard and Optuna's own tools can be opened beside it.

It is a copy: the search never waits for it and never fails by it. What is missing is appended every few seconds by the process that
records evaluations, in one short transaction; a file that another program has locked is left for the next time, and the search writes
the whole of it at its end.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from nas.log import say
from nas.records import SAMPLER, Evaluation
from nas.samplers.database import settle
from nas.samplers.storage import FAILURES, Search, can_insert, insert_trials, reason_of, studies_of, write_studies
from search_spaces.space import SearchSpace

EVERY = 5.0
"""Seconds between two updates."""

SHARE = 0.02
"""The most that updates may take of the time of a search, where they take long: less often then."""

PATIENCE = 0.1
"""Seconds to wait for another program that has locked the file."""


class LiveStudies:
    """Keeps the studies of one running search up to date.

    Args:
        path: of study.db.
        space: of the run.
        search: what the studies are of; its evaluations are those that are there already.
        clock: seconds, rising.
    """

    def __init__(
        self, path: Path, space: SearchSpace, search: Search, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path, self.space, self.search, self.clock = path, space, search, clock
        self.due = clock() + EVERY
        self._written: int | None = None  # evaluations that the file has; None where nobody has looked
        self._last: int | None = None  # number of the last of them
        self._told = False

    def update(self, evaluations: Sequence[Evaluation]) -> bool:
        """Appends what is missing, where that is due.

        Args:
            evaluations: all of the search, by their numbers. One that was made again may lie between those of the last update.

        Returns:
            Whether the file has all of them now.
        """
        start = self.clock()
        if start < self.due:
            return False
        done = False
        try:
            done = self._append(evaluations) if self._is_continued(evaluations) else self._write(evaluations)
        except (*FAILURES, OSError) as error:
            self._written = None
            if not self._told:
                self._told = True
                say(f"{self.path} cannot be written now ({reason_of(error)}): the search continues and writes it later")
        now = self.clock()
        self.due = now + max(EVERY, (now - start) / SHARE)
        return done

    def _is_continued(self, evaluations: Sequence[Evaluation]) -> bool:
        """Whether the file has been written, and all that is new comes after what it has."""
        written = self._written
        return written is not None and (written == 0 or evaluations[written - 1].n == self._last)

    def _is_now_written(self, evaluations: Sequence[Evaluation]) -> None:
        self._written, self._last = len(evaluations), evaluations[-1].n if evaluations else None

    def _write(self, evaluations: Sequence[Evaluation]) -> bool:
        """Brings the file up to date with all evaluations, whatever it has."""
        settle(self.path)
        if self.path.exists() and self.path.stat().st_size:
            try:  # Optuna waits for half a minute where the file is locked
                with _opened(self.path) as database:
                    database.execute("ROLLBACK")
            except sqlite3.DatabaseError as error:
                if "locked" in str(error):
                    raise
        write_studies(self.path, self.space, [replace(self.search, evaluations=evaluations)])
        self._is_now_written(evaluations)
        return True

    def _append(self, evaluations: Sequence[Evaluation]) -> bool:
        """Adds the trials of the latest evaluations; where the file is not as it was left, leaves it to the next time."""
        assert self._written is not None
        before = [e.origin.name for e in evaluations[: self._written] if e.origin.kind == SAMPLER]
        new = studies_of(self.space, [replace(self.search, evaluations=evaluations[self._written :])])
        with _opened(self.path) as database:
            known = can_insert(database)
            for name, (_, trials) in new.items():
                number = before.count(name.removeprefix(f"{self.search.name}/"))
                found = database.execute("SELECT study_id FROM studies WHERE study_name = ?", (name,)).fetchone()
                count = "SELECT COUNT(*) FROM trials WHERE study_id = ?"
                if not known or found is None or database.execute(count, found).fetchone() != (number,):
                    database.execute("ROLLBACK")
                    self._written = None
                    return False
                insert_trials(database, found[0], number, trials)
            database.execute("COMMIT")
        self._is_now_written(evaluations)
        return True


class _opened:
    """A file that is there, in a transaction that writes; closed without a commit where there was none."""

    def __init__(self, path: Path) -> None:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        self.database = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)

    def __enter__(self) -> sqlite3.Connection:
        try:
            self.database.execute("PRAGMA synchronous = OFF")
            self.database.execute("BEGIN IMMEDIATE")
        except BaseException:
            self.database.close()
            raise
        return self.database

    def __exit__(self, *_: object) -> None:
        self.database.close()
