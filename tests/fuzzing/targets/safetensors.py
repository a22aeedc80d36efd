"""safetensors files: their header as a table, and their bytes; read as weights of a network, of a conversion and of a training's start."""

import json
import random
from functools import cache
from pathlib import Path

from tests.fuzzing.mutation import json_bytes, mutated, mutated_bytes, mutated_text
from tests.fuzzing.target import Target

FILE = "model.safetensors"

LENGTH = 8
"""Bytes of the length of the header, with which a file begins."""


@cache
def base() -> tuple[bytes, ...]:
    """Small files: of several shapes, of several types, and without tensors."""
    import torch
    from safetensors.torch import save

    return (
        save(
            {"weight": torch.arange(32.0).reshape(4, 8), "bias": torch.zeros(4)},
            {"nas": json.dumps({"digest": "0123456789ab"})},
        ),
        save(
            {"a": torch.ones(3, dtype=torch.float16), "b": torch.ones(2, 2, dtype=torch.int64), "c": torch.tensor(1.5)}
        ),
        save({}, {"format": "pt"}),
    )


def mutated_header(rng: random.Random, data: bytes) -> bytes:
    """A file with another header: other values, or another text."""
    length = int.from_bytes(data[:LENGTH], "little")
    header = data[LENGTH : LENGTH + length]
    header = (
        mutated_text(rng, header.decode()) if rng.randrange(4) == 0 else json_bytes(mutated(rng, json.loads(header)))
    )
    return len(header).to_bytes(LENGTH, "little") + header + data[LENGTH + length :]


def mutated_file(rng: random.Random, data: bytes) -> bytes:
    """A file with other bytes; the length of its header is a likely place."""
    if rng.randrange(4) == 0:
        return rng.choice((0, 1, 7, 2**20, 2**40, 2**63, 2**64 - 1)).to_bytes(LENGTH, "little") + data[LENGTH:]
    return mutated_bytes(rng, data)


def make(rng: random.Random, folder: Path) -> str:
    data, kind = rng.choice((base()[0], *base())), rng.choice(("header", "header", "bytes"))
    (folder / FILE).write_bytes(mutated_header(rng, data) if kind == "header" else mutated_file(rng, data))
    return kind


def read(folder: Path) -> None:
    import torch

    from nas.commands.convert import read_checkpoint
    from nas.runs.store import RunStore
    from nas.runs.weights import load_tensors
    from search_spaces.errors import InputError
    from tests.fuzzing.trial import check_message

    try:
        read_checkpoint(folder / FILE)
    except InputError as error:
        check_message(error)
    load_tensors(RunStore(folder), FILE, torch.nn.Linear(8, 4))


def ready() -> None:
    import nas.commands.convert  # noqa: F401

    base()


TARGET = Target("safetensors", make, read, share=100_000, few=200, ready=ready)
