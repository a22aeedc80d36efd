"""A checkpoint is compared with the training that it is for, value by value, before any of it is used."""

import copy
import math
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas.runs.checkpoints import load_checkpoint, save_checkpoint
from nas.runs.store import RunStore
from search_spaces.errors import InputError
from supernet.optimisation import Optimisation, Pieces, Schedule

NAME = "work/train.pt"
SCHEDULE = Schedule(lr=0.1, warmup_steps=1, total_steps=20)


def begun(steps: int = 0, pieces: Callable[[nn.Module], Pieces] | None = None) -> Optimisation:
    """A training of a small module after some steps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        found = Optimisation(
            module, SCHEDULE, weight_decay=0.1, clip=1, ema=0.9, pieces=pieces(module) if pieces else None
        )
        for _ in range(steps):
            module(torch.randn(5, 3)).square().sum().backward()
            found.step()
    return found


def state_of(optimisation: Optimisation) -> dict[str, Any]:
    return copy.deepcopy(optimisation.state_dict())


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


def momentum(module: nn.Module) -> Pieces:
    return Pieces(rates=SCHEDULE, optimizer=torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9))


@pytest.mark.parametrize("pieces", [None, momentum])
@pytest.mark.parametrize("steps", [0, 3])
def test_a_whole_checkpoint_is_taken_as_it_was(steps: int, pieces: Any, store: RunStore) -> None:
    before = begun(steps, pieces)
    save_checkpoint(store, NAME, before.state_dict())
    after = begun(0, pieces)
    load_checkpoint(store, NAME, after)
    assert repr(after.state_dict()) == repr(before.state_dict())


def _in(state: dict[str, Any], *path: Any) -> Any:
    for key in path:
        state = state[key]
    return state


def changed(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        _in(state, *path[:-1])[path[-1]] = to

    return change


def without(*path: Any) -> Callable[[dict[str, Any]], None]:
    return lambda state: _in(state, *path[:-1]).pop(path[-1])


NAN = torch.full((4, 3), math.nan)
FIRST = ("optimizer", "state", 0)
WRONG = {
    "module": changed("module", to=[]),
    "no module": without("module"),
    "module.0.weight": changed("module", "0.weight", to=torch.zeros(4, 2)),
    "module.0.weight of ints": changed("module", "0.weight", to=torch.zeros(4, 3, dtype=torch.int64)),
    "module.0.weight is not finite": changed("module", "0.weight", to=NAN),
    "module.0.weight is a list": changed("module", "0.weight", to=[1.0]),
    "module.0.bias is missing": without("module", "0.bias"),
    "averaged": changed("averaged", to={}),
    "averaged.0.weight": changed("averaged", "0.weight", to=torch.zeros(12)),
    "statistics": changed("statistics", to=None),
    "statistics.1.running_var": changed("statistics", "1.running_var", to=torch.full((4,), math.inf)),
    "counts": changed("counts", to=[1, 2]),
    "counts of floats": changed("counts", to=[3.0, 0, 0]),
    "counts below 0": changed("counts", to=[-1, -1, -1]),
    "counts of more skipped steps than steps": changed("counts", to=[3, 4, 0]),
    "counts beyond all": changed("counts", to=[10**18, 0, 0]),
    "optimizer": changed("optimizer", to=3),
    "optimizer.param_groups": changed("optimizer", "param_groups", to=[]),
    "optimizer.param_groups of others": changed("optimizer", "param_groups", 0, "params", to=[7]),
    "optimizer.param_groups.betas": changed("optimizer", "param_groups", 0, "betas", to=(0.9, "a")),
    "optimizer.param_groups.betas of which steps are complex": changed(
        "optimizer", "param_groups", 0, "betas", to=(0.9, 2**63 - 1)
    ),
    "optimizer.param_groups.eps below 0": changed("optimizer", "param_groups", 0, "eps", to=-1.0),
    "optimizer.param_groups.lr": changed("optimizer", "param_groups", 0, "lr", to=math.nan),
    "optimizer.state": changed("optimizer", "state", to=[]),
    "optimizer.state of no parameter": changed("optimizer", "state", 99, to={}),
    "optimizer.state.0 without a key": without(*FIRST, "exp_avg"),
    "optimizer.state.0.exp_avg": changed(*FIRST, "exp_avg", to=torch.zeros(3)),
    "optimizer.state.0.exp_avg is not finite": changed(*FIRST, "exp_avg", to=NAN),
    "optimizer.state.0.exp_avg of truths": changed(*FIRST, "exp_avg", to=torch.ones(4, 3, dtype=torch.bool)),
    "optimizer.state.0.step": changed(*FIRST, "step", to="3"),
    "more": changed("more", to=1),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_before_anything_is_used(
    change: Callable[[dict[str, Any]], None], store: RunStore
) -> None:
    state = state_of(begun(3))
    change(state)
    save_checkpoint(store, NAME, state)
    after = begun()
    with pytest.raises(InputError, match="does not fit what is trained"):
        load_checkpoint(store, NAME, after)
    assert repr(after.state_dict()) == repr(begun().state_dict())
    assert store.exists(NAME)


@pytest.mark.parametrize(
    "change", [changed("optimizer", "state", 0, "momentum_buffer", to=torch.zeros(99)), changed(*FIRST, to=3)]
)
def test_other_optimisers_are_looked_at_too(change: Callable[[dict[str, Any]], None], store: RunStore) -> None:
    state = state_of(begun(3, momentum))
    change(state)
    save_checkpoint(store, NAME, state)
    with pytest.raises(InputError, match=r"optimizer\.state"):
        load_checkpoint(store, NAME, begun(0, momentum))


def test_one_that_is_larger_than_any_of_this_training(store: RunStore) -> None:
    save_checkpoint(store, NAME, {**begun().state_dict(), "more": torch.zeros(2**25)})
    with pytest.raises(InputError, match=r"bytes, and one of this training at most"):
        load_checkpoint(store, NAME, begun())


def test_files_that_are_no_checkpoints(store: RunStore) -> None:
    path = store.path(NAME)
    path.parent.mkdir()
    for make in (
        path.mkdir,
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to(path.name),
        lambda: path.write_bytes(b""),
        lambda: path.write_bytes(pickle.dumps({"module": 1})),
        lambda: zipfile.ZipFile(path, "w").close(),
    ):
        make()
        with pytest.raises(InputError, match=r"checkpoint .*train\.pt is damaged"):
            load_checkpoint(store, NAME, begun())
        path.rmdir() if path.is_dir() else path.unlink()
    load_checkpoint(store, NAME, begun())  # none is there: training begins
