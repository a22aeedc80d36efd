"""Files of torch.save: checkpoints that a training resumes from, and checkpoints that are converted. Both are archives with a pickle inside."""

import io
import random
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tests.fuzzing.mutation import NUMBERS, TEXTS, mutated_bytes
from tests.fuzzing.target import Target

RESUMED, CONVERTED = "work.pt", "official.pth"
"""The name of a file says how it is read."""

MODEL = "transxnet_tiny"

CONVERTED_EVERY = 10
"""A network is built for a conversion, which takes half a second: only for one file in so many, by its size."""

KINDS = ("values", "values", "values", "pickle", "pickle", "archive", "entries", "legacy")


def _network() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(16, 2)
    )


def _optimisation() -> Any:
    from supernet.optimisation import Optimisation, Schedule

    torch.manual_seed(0)
    schedule = Schedule(lr=0.1, warmup_steps=1, total_steps=9)
    return Optimisation(_network(), schedule, weight_decay=0.05, clip=1.0, ema=0.9)


def _step(optimisation: Any) -> None:
    optimisation.module(torch.ones(2, 1, 4, 4)).sum().backward()
    optimisation.step()


@cache
def base(name: str) -> dict[str, Any]:
    """What is mutated: the state of a training after a step, or weights with what scripts store beside them."""
    if name == RESUMED:
        optimisation = _optimisation()
        _step(optimisation)
        return optimisation.state_dict()
    weights = {key: value for key, value in _network().state_dict().items() if "num_batches" not in key}
    weights |= {"patch_embed.proj.conv.weight": torch.zeros(48, 3, 7, 7), "patch_embed.proj.bn.weight": torch.ones(48)}
    return {"state_dict": weights, "epoch": 3, "arch": MODEL, "metric": 0.8}


@cache
def saved(name: str, legacy: bool = False) -> bytes:
    return _bytes_of(base(name), legacy)


def _bytes_of(state: object, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [place for key, value in items for place in ((*path, key), *_places(value, (*path, key)))]


def _copied(data: Any) -> Any:
    """A copy whose lists and tables may be changed; tensors are shared."""
    if isinstance(data, dict):
        return {key: _copied(value) for key, value in data.items()}
    return [_copied(value) for value in data] if isinstance(data, list | tuple) else data


_TENSORS: tuple[Callable[[], object], ...] = (
    lambda: torch.zeros(1).expand(2**18, 2**18),
    lambda: torch.zeros(1).expand(2**13, 2**13),
    lambda: torch.zeros(4)[::2],
    lambda: torch.tensor(float("nan")).expand(4),
    lambda: torch.zeros(0),
    lambda: torch.zeros((0, 2**40)),
    lambda: torch.tensor(3),
    lambda: torch.ones(4, dtype=torch.complex64),
    lambda: torch.ones(4, dtype=torch.bool),
    lambda: torch.ones(4, dtype=torch.float64),
    lambda: torch.ones(4, dtype=torch.float8_e4m3fn),
    lambda: torch.ones(2, 2).to_sparse(),
    lambda: torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8),
    lambda: torch.nn.Parameter(torch.ones(4)),
    lambda: torch.ones(4, device="meta"),
    lambda: bytearray(100),
    lambda: {1, 2},
    lambda: complex(1, 2),
    lambda: torch.float32,
    lambda: torch.Size([1, 2]),
    lambda: {"a": {"b": {}}},
    lambda: [[]],
    lambda: None,
)


def _mutated_state(rng: random.Random, state: dict[str, Any]) -> dict[str, Any]:
    data = _copied(state)
    for _ in range(rng.randint(1, 2)):
        places = _places(data)
        if not places:
            break
        *path, key = rng.choice(places)
        parent = data
        for name in path:
            parent = parent[name]
        kind = rng.randrange(6)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[rng.choice((*TEXTS, *NUMBERS[:20]))] = parent.pop(key)
        elif kind == 2:
            parent[key] = rng.choice(NUMBERS)
        elif kind == 3:
            parent[key] = rng.choice(TEXTS)
        else:
            parent[key] = rng.choice(_TENSORS)()
    return data


def _entries(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def _archive(entries: list[tuple[str, bytes]], packed: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
    return buffer.getvalue()


OPCODES = (
    b"\x96" + (2**33).to_bytes(8, "little"), b"\x8e" + (2**40).to_bytes(8, "little"), b"c__builtin__\neval\n", b"cos\nsystem\n", b"R", b"b", b"0", b".", b"(", b"t", b"}", b"2" * 1000,
    b"r\xff\xff\xff\x7f", b"\x95" + b"\xff" * 8, b"]" * 1000, b"\x80\x05", b"Q", b"\x8a\xff" + b"\x7f" * 255, b"(" * 100_000,
)  # fmt: skip
"""What may be put into a pickle: long sizes, calls, deep stacks."""


def _mutated_pickle(rng: random.Random, data: bytes) -> bytes:
    if rng.randrange(2):
        return mutated_bytes(rng, data)
    spot = rng.choice((2, rng.randrange(len(data) + 1)))
    return data[:spot] + rng.choice(OPCODES) + data[spot:]


def _mutated_entries(rng: random.Random, entries: list[tuple[str, bytes]]) -> bytes:
    spot = rng.randrange(len(entries))
    name, content = entries[spot]
    kind = rng.randrange(6)
    if kind == 0:
        del entries[spot]
    elif kind == 1:
        entries[spot] = (name, bytes(rng.choice((0, 1, len(content) + 4, 2**20, 2**25))))
    elif kind == 2:
        entries[spot] = (
            rng.choice(("../../out/x", "/etc/passwd", "archive/data/../x", name + "/" + name, "a" * 60_000)),
            content,
        )
    elif kind == 3:
        entries.append((name.rpartition("/")[0] + "/more", bytes(rng.choice((1, 2**22)))))
    elif kind == 4:
        entries += [(f"archive/data/{number}", b"") for number in range(rng.choice((10, 2000)))]
    else:
        entries[spot] = (name, mutated_bytes(rng, content))
    return _archive(entries, packed=rng.randrange(2) == 0)


def make(rng: random.Random, folder: Path) -> str:
    name, kind = rng.choice((RESUMED, CONVERTED)), rng.choice(KINDS)
    if kind == "values":
        data = _bytes_of(_mutated_state(rng, base(name)), legacy=rng.randrange(4) == 0)
    elif kind == "pickle":
        entries = _entries(saved(name))
        data = _archive(
            [(n, _mutated_pickle(rng, c) if n.endswith("data.pkl") else c) for n, c in entries], rng.randrange(4) == 0
        )
    elif kind == "archive":
        data = mutated_bytes(rng, saved(name))
    elif kind == "entries":
        data = _mutated_entries(rng, _entries(saved(name)))
    else:
        data = _mutated_pickle(rng, saved(name, True))
    (folder / name).write_bytes(data)
    return kind


def read(folder: Path) -> None:
    if (folder / RESUMED).exists():
        from nas.runs.checkpoints import load_checkpoint
        from nas.runs.store import RunStore

        optimisation = _optimisation()
        load_checkpoint(RunStore(folder), RESUMED, optimisation)
        _step(optimisation)  # what is read must not fail later
        return
    from nas.commands.convert import read_checkpoint
    from search_spaces.official import convert

    state = read_checkpoint(folder / CONVERTED)
    if len((folder / CONVERTED).read_bytes()) % CONVERTED_EVERY == 0:
        convert(state, MODEL)


def ready() -> None:
    for name in (RESUMED, CONVERTED):
        saved(name)


TARGET = Target("checkpoints", make, read, share=15_000, few=200, ready=ready)
