"""Mutates network folders, and sees that each is either loaded or refused in three parts, in bounded time and memory.

    python tests/fuzzing.py 100000                 a hundred thousand inputs, about ten minutes on one core
    python tests/fuzzing.py 1000 --first 5000      inputs 5000 to 5999
    python tests/fuzzing.py 1 --first 5123         one of them again

Input number n is the same on every machine: it depends on n alone. `make test` runs a few hundred (tests/search_spaces/test_network_descriptions.py),
among them those of `KNOWN`, which found faults once.
"""

import argparse
import copy
import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.files.folder import ARCH, CONFIG, MODEL, WEIGHTS
from search_spaces.network import build
from search_spaces.registry import complete
from search_spaces.timm_configs import config_of

CORPUS = Path(__file__).with_name("fuzz_corpus.json")

KNOWN: tuple[int, ...] = ()
"""Inputs that once crashed, hung, or took more memory than they may."""

SECONDS = 5.0
"""The longest that one input may take."""

LONGEST = 5000
"""Characters of a message."""

GROWTH = 512 * 2**20
"""Bytes of memory that all inputs together may add to what the libraries take."""

NUMBERS = (
    0, -1, 1, 2, 3, 7, 16, 255, 4096, 65_535, 65_536, 65_537, 10**6, 2**31 - 1, 2**31, 10**9, 2**53, 2**63 - 1, 2**64, 10**18, 10**19, 10**400,
    -(10**9), 0.0, -0.5, 0.5, 1e-300, 1e18, 1e300,
)  # fmt: skip

TEXTS = (
    "",
    "none",
    "linear_head",
    "hybrid_mixer",
    "../../etc/passwd",
    "/dev/zero",
    "a" * 300,
    "é\u0000",
    "resnet50",
    "transxnet_tiny",
)

WORDS = (
    "part",
    "stages",
    "model_args",
    "arch",
    "pretrained_cfg",
    "url",
    "file",
    "hf_hub_filename",
    "__class__",
    "shape",
    "dtype",
    "data_offsets",
)


@cache
def seeds() -> list[dict[str, Any]]:
    """The architectures that are mutated: a small network around each part."""
    return json.loads(CORPUS.read_text())


def renew() -> None:
    """Writes the corpus again, with the parts that there are now. Inputs of equal numbers are then other ones."""
    from search_spaces.testing.spaces import elastic_spaces, ends

    found = dict.fromkeys(json.dumps(complete(ends(space)[0]).to_dict()) for space in elastic_spaces())
    CORPUS.write_text("[\n" + ",\n".join(found) + "\n]\n")


@cache
def base(index: int) -> tuple[dict[str, Any], bytes]:
    """config.json and the bytes of the weights of a network of the corpus."""
    network = build(Architecture.from_dict(seeds()[index]))
    arch = network.arch
    config = {
        "architecture": "hybrid_mixer",
        "num_classes": arch.num_classes,
        "label_names": [str(number) for number in range(arch.num_classes)],
        "digest": arch.digest,
        "model_args": {"arch": arch.to_dict()},
        "pretrained_cfg": json.loads(json.dumps(config_of(arch))),
    }
    return config, save(network.state_dict(), {"nas": json.dumps({"digest": arch.digest})})


def _places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to all values inside."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [place for key, value in items for place in ((*path, key), *_places(value, (*path, key)))]


def _at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


def _other(rng: random.Random, value: Any, data: Any) -> Any:
    """What is put in the place of a value."""
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice(TEXTS)
    if kind == 1:
        return rng.choice((None, True, [], {}, [[]], {"part": "mlp"}))
    if kind == 2:
        nested: Any = value
        for _ in range(rng.choice((1, 3, 20, 100))):
            nested = [nested]
        return nested
    if kind == 3:
        return [value] * rng.choice((2, 65, 1000))
    if kind == 4 and (places := _places(data)):
        return copy.deepcopy(_at(data, rng.choice(places)))
    if kind == 5 and isinstance(value, int | float):
        return value + rng.choice((-1, 1, 2, 0.5))
    return rng.choice(NUMBERS)


def mutated(rng: random.Random, data: Any) -> Any:
    """A copy with one to three changes of structure or of values."""
    data = copy.deepcopy(data)
    for _ in range(rng.randint(1, 3)):
        places = _places(data)
        if not places:
            break
        *path, key = rng.choice(places)
        parent = _at(data, tuple(path))
        kind = rng.randrange(6)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[rng.choice(WORDS)] = _other(rng, parent[key], data)
        elif kind == 2 and isinstance(parent, list):
            parent += [copy.deepcopy(parent[key])] * rng.choice((1, 10, 5000))
        else:
            parent[key] = _other(rng, parent[key], data)
    return data


def _mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    kind = rng.randrange(6)
    if kind == 0:
        return bytes(changed[: rng.randrange(len(changed) + 1)])
    if kind == 1:
        return bytes(changed) + rng.randbytes(rng.choice((1, 8, 1000)))
    if kind == 2:
        return rng.choice((0, 1, 7, 2**20, 2**40, 2**63, 2**64 - 1)).to_bytes(8, "little") + bytes(changed[8:])
    if kind == 3:
        return rng.choice((b"PK\x03\x04", b"\x80\x02", b"\x80\x05", b"\x00" * 8)) + bytes(
            changed[rng.choice((0, 2, 8)) :]
        )
    end = min(len(changed), rng.choice((16, 200, 5000)))
    for _ in range(rng.choice((1, 4, 30))):
        changed[rng.randrange(end)] = rng.randrange(256)
    return bytes(changed)


def _mutated_header(rng: random.Random, data: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(mutated(rng, json.loads(data[8 : 8 + length]))).encode()
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def write_input(number: int, folder: Path) -> str:
    """Writes input number `number` into an empty folder, and says what was changed."""
    rng = random.Random(f"network folder {number}")
    config, weights = base(rng.randrange(len(seeds())))
    kind = rng.choice(
        ("config", "config", "config", "arch", "arch", "text", "header", "header", "bytes", "other weights")
    )
    text = json.dumps(config)
    if kind == "config":
        text = json.dumps(mutated(rng, config))
    elif kind == "text":
        text = _mutated_bytes(rng, text.encode()).decode("latin-1")
    elif kind == "header":
        weights = _mutated_header(rng, weights)
    elif kind == "bytes":
        weights = _mutated_bytes(rng, weights)
    elif kind == "other weights":
        weights = base(rng.randrange(len(seeds())))[1]
    if kind == "arch":
        (folder / ARCH).write_text(json.dumps(mutated(rng, config["model_args"]["arch"])))
        (folder / WEIGHTS).write_bytes(weights)
    else:
        (folder / CONFIG).write_text(text, encoding="latin-1")
        (folder / MODEL).write_bytes(weights)
    return kind


def load_as_nas(folder: Path) -> None:
    from nas import load_network

    load_network(folder)


class LeftToTimmError(Exception):
    """timm refuses the file before it calls anything of ours."""


def load_as_timm(folder: Path) -> None:
    """What timm does with the folder. What its own code makes of a file that is no config.json for it is not ours to judge."""
    import timm
    from timm.models._hub import load_model_config_from_path

    try:
        cfg, name, arguments = load_model_config_from_path(folder)
        timm.models.model_entrypoint(name)
        calls = {key: value for key, value in arguments.items() if value is not None}
    except Exception as error:
        raise LeftToTimmError from error
    if (
        name != "hybrid_mixer"
        or {"pretrained_cfg", "pretrained", "cache_dir", "pretrained_cfg_overlay", "pretrained_model_args"}
        & calls.keys()
    ):
        raise LeftToTimmError
    entry = timm.models.model_entrypoint(name)
    entry(pretrained=True, pretrained_cfg=cfg, pretrained_model_args=dict(arguments), cache_dir=None, **calls)


class FaultyError(Exception):
    """An input was neither loaded nor refused as it should be."""


def _outcome(loader: Callable[[Path], None], folder: Path) -> str:
    try:
        loader(folder)
    except LeftToTimmError:
        return "left to timm"
    except InputError as error:
        if not (error.given and error.allowed and error.instead):
            raise FaultyError("a part of the message is empty") from error
        if len(str(error)) > LONGEST:
            raise FaultyError(f"a message of {len(str(error)):,} characters") from error
        return "refused"
    return "loaded"


def try_input(number: int) -> tuple[str, str]:
    """Loads one input both ways.

    Returns:
        What was changed, and whether the folder was loaded or refused.

    Raises:
        FaultyError: it was refused in another form than three short parts, or took too long.
        Exception: it crashed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, outcome = Path(name), []
        kind = write_input(number, folder)
        loaders = (load_as_nas,) if kind == "arch" else (load_as_nas, load_as_timm)
        for loader in loaders:
            start = time.process_time()
            outcome.append(_outcome(loader, folder))
            took = time.process_time() - start
            if took > SECONDS:
                raise FaultyError(f"it took {took:.1f} s")
    return kind, " and ".join(dict.fromkeys(outcome))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", type=int, nargs="?", default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--renew", action="store_true", help="write the corpus again from the parts that there are now")
    asked = parser.parse_args()
    if asked.renew:
        renew()
    torch.set_num_threads(1)
    try_input(-1)  # imports
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    counts: Counter[tuple[str, str]] = Counter()
    faults = 0
    for number in range(asked.first, asked.first + asked.inputs):
        try:
            counts[try_input(number)] += 1
        except Exception as error:
            faults += 1
            say(f"input {number}: {type(error).__name__}: {str(error)[:300]}")
        if (number + 1 - asked.first) % 5000 == 0:
            say(f"{number + 1 - asked.first} inputs, {faults} faults")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    for (kind, outcome), count in sorted(counts.items()):
        say(f"{kind:15} {outcome:20} {count:7}")
    say(f"{asked.inputs} inputs, {faults} faults, memory grew by {grown / 2**20:.0f} MiB")
    return int(faults > 0 or grown > GROWTH)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
