"""A few hundred inputs of each target of tests/fuzzing, and all those that once found a fault."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.fuzzing.known import known, numbers, restore, store
from tests.fuzzing.targets import TARGETS
from tests.fuzzing.trial import SECONDS, Trial, try_input

PATIENCE = 10 * SECONDS
"""Times are judged by `make fuzz`. Here only what hardly ends is a fault: the machine may be slow, and the first input imports libraries."""


def tried(name: str, numbers: range) -> list[Trial]:
    torch.set_num_threads(1)
    TARGETS[name].ready()
    return [try_input(TARGETS[name], number, most=PATIENCE) for number in numbers]


@pytest.mark.parametrize("name", TARGETS)
def test_inputs(name: str) -> None:
    """The first inputs: some are accepted, some refused, and none does anything else."""
    trials = tried(name, range(TARGETS[name].few))
    outcomes = Counter(trial.outcome == "refused" for trial in trials)
    assert outcomes[True]
    assert outcomes[False]
    assert len({trial.kind for trial in trials}) > 1


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if numbers(name)])
def test_known_inputs(name: str) -> None:
    torch.set_num_threads(1)
    TARGETS[name].ready()
    for target, number in known(TARGETS[name]):
        try_input(target, number, most=PATIENCE)


def test_a_known_input_is_kept_as_it_was_made(tmp_path: Path) -> None:
    """Also its links, pipes and odd names, and what it lacks of a run."""
    numbers_of = {"images": (425, 2684, 4051), "report": range(180, 186), "configuration": (518, 2332)}
    for name, chosen in numbers_of.items():
        for number in chosen:
            made, restored = tmp_path / f"{name}-{number}", tmp_path / f"{name}-{number}-restored"
            for folder in (made, restored):
                folder.mkdir()
            TARGETS[name].write(number, made)
            store(TARGETS[name], number, tmp_path / "kept")
            restore(name, number, restored, tmp_path / "kept")
            assert seen(made) == seen(restored), (name, number)


def seen(folder: Path) -> dict[str, object]:
    """What is in a folder: bytes, targets of links, and kinds."""
    return {
        path.relative_to(folder).as_posix(): path.readlink()
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else path.lstat().st_mode
        for path in folder.rglob("*")
    }


def test_an_input_depends_on_its_number_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    for target in TARGETS.values():
        made = []
        for _ in range(2):
            folder = tmp_path_factory.mktemp("input")
            kind = target.write(7, folder)
            files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
            made.append((kind, files))
        assert made[0] == made[1], target.name


def test_shares_are_enough() -> None:
    assert all(target.few >= {"extract": 80, "spaces": 100}.get(name, 200) for name, target in TARGETS.items())
    assert sum(target.share for target in TARGETS.values()) >= 300_000
