"""Files of search spaces: their values and their text, read and checked as `nas spaces FILE` does."""

import random
import tempfile
import tomllib
from functools import cache
from pathlib import Path

from search_spaces.named import FOLDER
from tests.command_line import SPACE
from tests.fuzzing.mutation import mutated, mutated_text, toml_bytes
from tests.fuzzing.target import Target

FILE = "space.toml"

BUDGETS = ("budget=1M", "budget=macs=10M,params=1M", "data.resolution=16")


@cache
def seeds() -> tuple[str, ...]:
    """Spaces as text: a small one, those of the papers' claims, and one for images of digits."""
    paths = (*sorted((FOLDER / "claims").glob("*.toml")), FOLDER / "digits.toml")
    return (SPACE, SPACE, SPACE, *(path.read_text(encoding="utf-8") for path in paths))


def make(rng: random.Random, folder: Path) -> str:
    text = rng.choice(seeds())
    if rng.randrange(3) == 0:
        kind, data = "text", mutated_text(rng, text)
    else:
        kind, data = "values", toml_bytes(mutated(rng, tomllib.loads(text)))
    (folder / FILE).write_bytes(data)
    (folder / "words").write_text(rng.choice(("", "", "", *BUDGETS)))
    return kind


def read(folder: Path) -> None:
    from nas.cli import run

    run(["spaces", FILE, *(folder / "words").read_text().split()])


def ready() -> None:
    from nas.cli import run

    with tempfile.TemporaryDirectory() as name:
        path = Path(name, FILE)
        path.write_text(SPACE)
        run(["spaces", str(path)])


TARGET = Target("spaces", make, read, share=12_000, few=100, ready=ready)
