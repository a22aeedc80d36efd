"""Hostile files and words with the real command; see tests/hostile."""

import time
import unicodedata
from pathlib import Path

import pytest

from tests.command_line import Commands, Result, cold
from tests.hostile.case import CASES, Case
from tests.hostile.every import COLD, FAST, chosen
from tests.hostile.world import World

MEMORY = 2**30
"""Bytes that a command may take beside its libraries."""

SECONDS = 5.0
"""Of processor time, that a command may take beyond its start."""

LONGEST = 25_000
"""Characters on standard error, of which a list of what is allowed takes most."""

SHOWN = 40
"""Characters of a long word that a message shows at least."""

HANG = 30.0
"""Seconds by the clock after which a command is killed: it waits for something."""

START = 60.0
"""Seconds that a new interpreter may take to import the libraries, on a busy machine."""


def hostile_names(world: World, typed: tuple[str, ...]) -> set[str]:
    """What a message may name, before the command adds files: files that the case has changed, or else the last word's key and value."""
    key, _, value = typed[-1].partition("=") if typed else ("", "", "")
    return world.hostile() or {key.rpartition(".")[2][:SHOWN], value[:SHOWN]} - {""}


def names_its_reason(case: Case, names: set[str], given: str, err: str) -> None:
    """The message says what is hostile: nothing else has refused the input."""
    if case.said:
        assert case.said in err, f"{case.said!r} is not in:\n{err[:3000]}"
        return
    assert any(name in given or ascii(name)[1:-1] in given for name in names), f"none of {names} is in:\n{given[:3000]}"


def check(case: Case, world: World, names: set[str], result: Result, before: dict[str, str]) -> None:
    """Everything that holds after a case."""
    assert not world.marker.exists(), "code from a stranger was run"
    assert result.code in case.codes, f"exit code {result.code}\n{result.out[-2000:]}\n{result.err[-3000:]}"
    if result.code == 2:
        given, _, _ = result.refused()
        names_its_reason(case, names, given, result.err)
        assert "memory" not in given or "needs about" in given, (
            f"it was refused for want of memory only:\n{given[:500]}"
        )
    shown = result.out + result.err
    raw = {letter for letter in shown if letter not in "\n\t" and unicodedata.category(letter) in ("Cc", "Cf")}
    assert not raw, f"raw control characters: {sorted(map(ascii, raw))}"
    assert len(result.err) < LONGEST, f"a message of {len(result.err):,} characters"
    after = world.listing()
    changed = {
        name: (before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }
    asked = {name for name in changed for made in case.made if name.startswith(f"desk/{made}".rstrip("/"))}
    assert changed.keys() <= asked, (
        f"outside of the run folder: { {name: changed[name] for name in changed.keys() - asked} }"
    )
    if case.after is not None:
        case.after(world)


@pytest.mark.parametrize("case", chosen(FAST), ids=str)
def test_hostile(case: Case, nas: Commands, tmp_path: Path) -> None:
    tried(case, nas, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.name not in FAST], ids=str)
def test_more_that_is_hostile(case: Case, nas: Commands, tmp_path: Path) -> None:
    tried(case, nas, tmp_path)


def tried(case: Case, nas: Commands, folder: Path) -> None:
    world = World(folder)
    typed = tuple(case.prepare(world))
    names, before = hostile_names(world, typed), world.listing()
    result = nas(*typed, cwd=world.desk, memory=MEMORY, kill=HANG, env=world.env)
    assert result.code != -9, f"it was killed after {HANG:.0f} s"
    assert result.seconds < SECONDS, f"it took {result.seconds:.1f} s"
    check(case, world, names, result, before)


@pytest.mark.slow
@pytest.mark.parametrize("case", chosen(COLD), ids=str)
def test_hostile_in_a_new_process(case: Case, tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    typed = tuple(case.prepare(world))
    names, before, start = hostile_names(world, typed), world.listing(), time.monotonic()
    result = cold(*typed, cwd=world.desk, MPLCONFIGDIR=str(tmp_path / "fonts"), **world.env)
    assert time.monotonic() - start < START + SECONDS
    check(case, world, names, result, before)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 172  # twice as many as were first tried
