"""Words of the command line of every verb, and configuration files; read until the verb's work would begin."""

import dataclasses
import json
import random
from functools import cache
from pathlib import Path

from nas.config import SECTIONS, Config
from nas.config.parsing import config_from
from tests.fuzzing.mutation import NUMBERS, TEXTS, mutated, mutated_text, nested_text, toml_bytes
from tests.fuzzing.target import Target

FILE, WORDS_FILE = "config.toml", "words.json"

STEPS = ("train", "search", "extract", "retrain", "report", "demo", "profile")
"""Verbs with a configuration. The others have options of their own."""

OTHERS = ("cost", "bench", "export", "evaluate", "dense", "ablate", "study")

VALUES = (
    "true", "1e3", "0x10", "1_000", "5M", "macs=3M,params=100K", "top1,macs", "nsga2,random", "a.b.C", "[1,2]", "['a'", "{a=1}", '"""', "'", "1979-05-27",
    "macs<=2M", "digest", "cpu", "cuda:99", "auto", "imagenet/deit.toml", "space.toml", "nan", "-inf", "1e999", "ａ", ",,,", "=", "==", ".", "~", "digits", "tiny",
)  # fmt: skip


@cache
def keys() -> tuple[str, ...]:
    """Every key of the configuration, as it is typed with and without its section."""
    own = [field.name for field in dataclasses.fields(Config) if field.name not in SECTIONS]
    inner = [(name, field.name) for name, kind in SECTIONS.items() for field in dataclasses.fields(kind)]
    return tuple(
        dict.fromkeys([*own, *(f"{name}.{key}" for name, key in inner), *(key for _, key in inner), *SECTIONS])
    )


@cache
def option_keys() -> tuple[str, ...]:
    """Options of the verbs about networks, of `evaluate` and the like."""
    from nas.ablation.asked import Ablated
    from nas.ablation.study.asked import Studied
    from nas.downstream.asked import Dense
    from nas.export.asked import Exported
    from nas.networks.asked import Asked, Timed
    from nas.scoring.asked import Scored

    kinds = (Asked, Timed, Exported, Ablated, Studied, Scored, Dense)
    return tuple(dict.fromkeys(field.name for kind in kinds for field in dataclasses.fields(kind)))


def _value(rng: random.Random) -> str:
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice(TEXTS)
    if kind == 1:
        number = rng.choice(NUMBERS)
        return "9" * 5000 if isinstance(number, int) and abs(number) > 10**300 else str(number)
    if kind == 2:
        return nested_text(rng)
    if kind == 3:
        return ",".join(rng.choice(VALUES) for _ in range(rng.choice((2, 5, 2000))))
    return rng.choice(VALUES)


def _word(rng: random.Random, known: tuple[str, ...]) -> str:
    key = rng.choice(known)
    kind = rng.randrange(12)
    if kind == 0:
        spot = rng.randrange(len(key) + 1)
        key = key[:spot] + rng.choice(("x", "{", "}", ".", "", "{x}", "\u0000", "ä")) + key[spot + 1 :]
    if kind == 1:
        return rng.choice(
            (key, f"--{key}", "=", f"={key}", "", "-", "--", "-h", "help", f"{key}=={key}", rng.choice(TEXTS))
        )
    return f"{key}={_value(rng)}"


def make(rng: random.Random, folder: Path) -> str:
    verb = rng.choice((*STEPS, *STEPS, *OTHERS))
    words = [_word(rng, keys() if verb in STEPS else option_keys()) for _ in range(rng.choice((1, 1, 2, 4)))]
    kind = rng.choice(("words", "words", "words", "values", "text"))
    if kind != "words":
        table = config_from({}).to_dict()
        table["train"].pop("init", None)
        data = toml_bytes(mutated(rng, table)) if kind == "values" else mutated_text(rng, toml_bytes(table).decode())
        (folder / FILE).write_bytes(data)
        words = [FILE, *words] if rng.randrange(3) == 0 else [FILE]
    typed = [
        word.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape") for word in words
    ]  # as a shell would
    (folder / WORDS_FILE).write_text(json.dumps([verb, *typed]))
    return f"{kind}{' of others' * (verb in OTHERS)}"


def read(folder: Path) -> None:
    from nas.ablation.asked import parse as parse_ablation
    from nas.ablation.study.asked import parse as parse_study
    from nas.cli import ABOUT_NETWORKS, profile_config, run
    from nas.config.effective import configure
    from nas.downstream.asked import parse as parse_dense
    from nas.networks.asked import parse as parse_networks
    from nas.scoring.asked import parse as parse_scored

    verb, *words = json.loads((folder / WORDS_FILE).read_text())
    if {"-h", "--help"} & {*words}:
        run([verb, *words])
    elif verb in ABOUT_NETWORKS:
        parse_networks(words, verb, ABOUT_NETWORKS[verb])
    elif verb in OTHERS:
        {"evaluate": parse_scored, "dense": parse_dense, "ablate": parse_ablation, "study": parse_study}[verb](words)
    elif verb == "profile":
        settle(profile_config(words))
    else:
        for config in configure(verb, words):
            settle(config)


def settle(config: Config) -> None:
    """Makes what the commands make of texts in a configuration before they begin."""
    from nas.goals.budget import Budget
    from nas.goals.limiting import budget_of
    from nas.goals.objectives import parse_objectives
    from nas.goals.picking import Picks

    Budget.parse(config.search.budget)
    budget_of(config.train)
    parse_objectives(config.search.objectives)
    Picks.parse(config.extract.pick)


def ready() -> None:
    import nas.config.effective  # noqa: F401

    option_keys()


TARGET = Target("configuration", make, read, share=90_000, few=200, ready=ready)
