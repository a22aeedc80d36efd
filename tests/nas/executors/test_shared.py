"""Tensors of a setup: in memory once for all workers, with equal values and equal results."""

import os
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.executors import make_executor, shared
from nas.executors.guard import Words
from nas.executors.processes import Processes
from nas.executors.shared import NoSharedMemory, pack, unpack
from search_spaces.errors import InputError
from search_spaces.named import check, read_space
from supernet.supernet import Supernet
from tests.nas.executors import light


class Held:
    """A setup whose state is what it holds."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __call__(self) -> Any:
        return self.held


def test_packing_keeps_values_views_and_identity() -> None:
    base = torch.arange(12.0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    model[0].weight.requires_grad_(False)
    given = {
        "base": base, "view": base.view(3, 4).t()[1:], "half": torch.ones(3, dtype=torch.bfloat16), "empty": torch.empty(0, 3),
        "model": model, "again": model[0].weight, "number": torch.tensor(3), "text": "text",
    }  # fmt: skip
    packed = pack(given)
    assert packed.block is not None
    assert packed.block.open().is_shared()
    found = unpack(packed.pickled, packed.block)
    for name in ("base", "view", "half", "empty", "number"):
        assert torch.equal(found[name], given[name])
        assert found[name].stride() == given[name].stride()
        assert found[name].data_ptr() % 64 == given[name].data_ptr() % 64
    assert found["text"] == "text"
    for name, tensor in model.state_dict().items():
        assert torch.equal(found["model"].state_dict()[name], tensor)
    assert found["again"] is found["model"][0].weight
    assert [p.requires_grad for p in found["model"].parameters()] == [p.requires_grad for p in model.parameters()]
    found["base"][1] = 100.0
    assert found["view"][0, 0] == 100.0
    assert unpack(packed.pickled, packed.block)["base"][1] == 100.0  # the same memory
    assert base[1] == 1.0  # and not the caller's


def test_without_tensors_there_is_no_block() -> None:
    assert pack([1, "two"]).block is None
    packed = pack(torch.empty(0))
    assert unpack(packed.pickled, packed.block).shape == (0,)


def held_by(tensor: Tensor, _: int) -> tuple[int, dict[str, int]]:
    """A process and its memory in KiB; `Pss_Shmem` divides what is shared by the number of processes that have it."""
    float(tensor.sum())
    lines = [
        *Path("/proc/self/smaps_rollup").read_text().splitlines()[1:],
        *Path("/proc/self/status").read_text().splitlines(),
    ]
    rows = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    return os.getpid(), {name: int(rows[name][0]) for name in ("Pss_Shmem", "RssShmem", "RssAnon")}


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is measured in /proc")
def test_workers_share_tensors(tmp_path: Path) -> None:
    """What one writes the other reads, and 200 MB are not theirs."""
    setup = Held(torch.zeros(50_000_000))
    with closing(Processes(2)) as pool:
        assert len(set(pool.map(setup, light.meet, [(tmp_path / "here", 2)] * 2))) == 2
        for size in dict(pool.map(setup, held_by, range(8))).values():
            assert size["RssShmem"] > 190_000
            assert size["Pss_Shmem"] < 110_000
        assert list(pool.map(setup, light.threads, [0])) == [(1, "1")]
        (one, other) = pool.map(setup, partial(meet, folder=tmp_path), range(2))
        assert {one[0], other[0]} == set(pool.pids)
        assert (one[1], other[1]) == (other[0], one[0])


def meet(tensor: Tensor, mine: int, folder: Path) -> tuple[int, int]:
    """Writes its process into the tensor, and reads the other's."""
    tensor[mine] = os.getpid() % 2**20
    while int(tensor[1 - mine]) == 0:
        pass
    return os.getpid(), int(tensor[1 - mine])


def logits(supernet: Supernet, seed: int) -> bytes:
    """Of a random network of the space, bit by bit."""
    import random

    arch = supernet.space.sample(random.Random(seed))
    torch.manual_seed(seed)
    with torch.inference_mode():
        return supernet(torch.randn(4, 1, 8, 8), arch).numpy().tobytes()


def test_a_supernet_gives_the_same_bits_in_any_executor() -> None:
    supernet = Supernet(check(read_space("digits")).bind(1, 10, 8), 3).eval()
    found = {}
    for name in ("here", "processes"):
        with closing(make_executor(name, 2)) as executor:
            found[name] = list(executor.map(Held(supernet), logits, range(6)))
    assert found["here"] == found["processes"]
    assert len(set(found["here"])) == 6


def test_no_room_in_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(size: int) -> None:
        raise RuntimeError("unable to allocate shared memory")

    monkeypatch.setattr(torch.UntypedStorage, "_new_shared", full)
    with pytest.raises(NoSharedMemory):
        shared.pack(torch.zeros(5))
    with closing(Processes(2, words=Words("play", "game.players=1"))) as pool, pytest.raises(InputError) as caught:
        list(pool.map(Held(torch.zeros(2**20)), logits, [1, 2]))
    assert "the processes that play need 4 MiB of shared memory" in caught.value.given
    assert caught.value.instead.startswith("game.players=1")
