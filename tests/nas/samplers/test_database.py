"""A study.db from somebody else makes SQLite do nothing but read and write rows of it."""

import contextlib
import os
import random
import shutil
import sqlite3
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nas.goals.budget import Budget
from nas.goals.objectives import parse_objectives
from nas.records import SAMPLER, Evaluation, Origin
from nas.samplers import database as limits
from nas.samplers.database import SIDES, settle
from nas.samplers.storage import Search, write_studies
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace
from tests.command_line import SPACE

SEARCH = Search("mine", parse_objectives(("top1",)), Budget.parse("3M"), ())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study.db with a study that is nobody's copy."""
    import optuna

    path = tmp_path_factory.mktemp("made") / "study.db"
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    optuna.create_study(study_name="of the user", storage=storage)
    storage.engine.dispose()
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / "study.db"))


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace.from_toml(SPACE)


def studies(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        return [name for (name,) in database.execute("SELECT study_name FROM studies")]


def journal_of(path: Path) -> bytes:
    """The journal that a process leaves when it is killed in a transaction, beside the database as it is then."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA cache_size = 1")
    database.execute("BEGIN")
    database.execute("CREATE TABLE filling (text)")
    database.executemany("INSERT INTO filling VALUES (?)", [("x" * 500,)] * 200)
    found = path.with_name(f"{path.name}-journal").read_bytes(), path.read_bytes()
    database.execute("ROLLBACK")
    database.close()
    path.write_bytes(found[1])
    return found[0]


def naming(journal: bytes, victim: Path) -> bytes:
    """A journal that says that it belongs to a transaction over several databases, which the victim lists."""
    name, page = os.fsencode(victim), struct.pack(">I", 2**30 // 4096 + 1)
    return journal + page + name + struct.pack(">II", len(name), sum(name)) + bytes.fromhex("d9d505f920a163d7")


def test_a_journal_that_names_a_file_of_the_user(path: Path, tmp_path: Path, space: SearchSpace) -> None:
    """SQLite deletes the file when it has rolled the journal back: both go before it sees them."""
    victim = tmp_path / "precious"
    journal = path.with_name("study.db-journal")
    victim.write_text("years of work")
    journal.write_bytes(naming(journal_of(path), victim))
    content = path.read_bytes(), journal.read_bytes()
    studies(path)
    if victim.exists():
        pytest.skip("this version of SQLite deletes nothing")
    victim.write_text("years of work")
    path.write_bytes(content[0])
    journal.write_bytes(content[1])
    write_studies(path, space, [SEARCH])
    assert victim.read_text() == "years of work"
    assert not journal.exists()
    assert studies(path) == []


def test_a_journal_of_a_killed_process_is_rolled_back(path: Path, space: SearchSpace) -> None:
    """What the file had before is kept, studies of the user among it."""
    journal = journal_of(path)
    path.with_name("study.db-journal").write_bytes(journal)
    write_studies(path, space, [SEARCH])
    assert studies(path) == ["of the user"]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON trials BEGIN DELETE FROM trials; END",
        "CREATE VIEW v AS SELECT 1",
        "CREATE VIRTUAL TABLE t USING fts5(text)",
        "CREATE TABLE t (text)",
        "CREATE INDEX t ON trials (number) WHERE length(hex(zeroblob(30000000))) > 0",
        "ALTER TABLE trials ADD COLUMN t INTEGER DEFAULT 1",
        "ALTER TABLE trials ADD COLUMN t GENERATED ALWAYS AS (length(hex(zeroblob(30000000))))",
        "ALTER TABLE trials ADD COLUMN t CHECK (length(hex(zeroblob(30000000))) > 0)",
        "DROP INDEX ix_trials_study_id",
    ],
)
def test_a_file_with_other_tables_than_optunas_is_removed(path: Path, statement: str) -> None:
    settle(path)
    assert studies(path) == ["of the user"]
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)
    settle(path)
    assert not path.exists()


COUNT = "WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < {}) "
"""Rows of numbers up to a number."""


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("INSERT INTO trials (number, study_id, state) SELECT n, 1, 'FAIL' FROM k", limits.SPARE_ROWS),
        ("INSERT INTO trial_params (trial_id, param_name) SELECT 1, n FROM k", limits.SPARE_ROWS),
        ("INSERT INTO trial_intermediate_values SELECT n, 1, n, 0, 'FINITE' FROM k", limits.SPARE_ROWS),
        ("INSERT INTO studies (study_name) SELECT n FROM k", limits.STUDY_ROWS),
        ("INSERT INTO study_user_attributes (study_id, key) SELECT 1, n FROM k", limits.STUDY_ROWS),
        ("INSERT INTO study_user_attributes (study_id, key) SELECT 1, CAST(zeroblob(1050000) AS TEXT) FROM k", 1),
    ],
)
def test_a_file_with_more_than_the_records_need_is_removed(path: Path, statement: str, rows: int) -> None:
    """What Optuna would load is bounded; a study of the user, which is not loaded, has as many trials as it likes."""
    names = ("of the user",)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO trials VALUES (1, 0, 1, 'FAIL', NULL, NULL)")
    settle(path, names)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(COUNT.format(rows) + statement)
    if " trial" in statement:
        settle(path)
        settle(path, names, rows=2)
        assert path.exists()
    settle(path, names, rows=0)
    assert not path.exists()


def test_a_file_is_as_large_as_its_records_allow(path: Path) -> None:
    """Pages that nothing is in, and a log of them, count as well: SQLite would read what it finds there."""
    records = path.parent / "searches" / "mine" / "evaluations.jsonl"
    records.parent.mkdir(parents=True)
    records.write_bytes(b"x" * 1000)
    most = limits.SPARE_BYTES + 1000 * limits.BYTES_PER_BYTE
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE t AS SELECT zeroblob(1000000) FROM (SELECT 1 " + "UNION ALL SELECT 1 " * 15 + ")"
        )
        database.execute("DROP TABLE t")
    settle(path)
    assert most - 2_000_000 < path.stat().st_size < most
    os.truncate(path, most + 1)
    settle(path)
    assert not path.exists()


def test_a_file_that_the_records_made_stays(path: Path, space: SearchSpace) -> None:
    """With studies of the user in it, and not a byte is another."""
    path.unlink()
    rng = random.Random(0)
    networks = [space.sample(rng) for _ in range(30)]
    evaluations = [
        Evaluation(
            n=n, origin=Origin(SAMPLER, ("nsga2", "random")[n % 2]), trial=n, digest=arch.digest, architecture=arch,
            costs={"macs": 1.0}, top1=0.5, loss=1.0, images=10,
        )
        for n, arch in enumerate(networks)
    ]  # fmt: skip
    searches = [replace(SEARCH, name=name, budget=Budget(()), evaluations=evaluations) for name in ("mine", "other")]
    write_studies(path, space, searches)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO studies (study_name) VALUES ('of the user')")
    before = path.read_bytes(), path.stat().st_ino
    write_studies(path, space, searches)
    write_studies(path, space, searches[:1])
    assert (path.read_bytes(), path.stat().st_ino) == before


def test_a_view_that_never_ends(path: Path, space: SearchSpace) -> None:
    """In the place of a table that Optuna reads first."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n)"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE version_info")
        database.execute(f"CREATE VIEW version_info AS {endless} SELECT i AS version_info_id FROM n WHERE i = 2")
    start = time.monotonic()
    write_studies(path, space, [SEARCH])
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("side", ["", *SIDES])
def test_links_are_refused(path: Path, tmp_path: Path, space: SearchSpace, side: str) -> None:
    (tmp_path / "precious").write_text("years of work")
    link = path.with_name(f"study.db{side}")
    link.unlink(missing_ok=True)
    link.symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="is a link"):
        write_studies(path, space, [SEARCH])
    assert (tmp_path / "precious").read_text() == "years of work"
    assert link.is_symlink()
