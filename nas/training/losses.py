"""The log of a supernet's training, and whether it has learned anything: its last losses beside the loss of guessing."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from nas.config.parsing import recorded_config
from nas.log import say
from nas.records.shapes import ANY_NUMBER, Maybe, Table, Whole
from nas.runs.store import RunStore
from search_spaces.counting import worded
from search_spaces.errors import InputError

LEARNED = 0.03
"""Less than this share below the loss of guessing is next to nothing."""

NO_MEAN = 1.5
"""Above this share of it a loss is something else, such as a sum over sub-networks."""

_ALWAYS = {
    "step": Whole(),
    "epoch": Whole(),
    "skipped": Whole(),
    **dict.fromkeys(("lr", "grad_norm"), Maybe(ANY_NUMBER)),
}

LINE = Table(_ALWAYS)
"""Of train.jsonl; every strategy has losses of its own beside them."""


def guessing(counts: Sequence[int], smoothing: float) -> float:
    """The least cross-entropy, in nats, of one answer for all images.

    Args:
        counts: images of each class.
        smoothing: of the labels, as `label_smoothing` of torch's cross-entropy.
    """
    total = sum(counts)
    shares = [(1 - smoothing) * count / total + smoothing / len(counts) for count in counts]
    return -sum(share * math.log(share) for share in shares if share)


def numbers_of(line: Mapping[str, Any]) -> dict[str, float]:
    """What a line of train.jsonl has beside its step, but for what is not known, or no number."""
    return {key: value for key, value in line.items() if key != "step" and not ANY_NUMBER.fault(value, "value")}


def at_chance(store: RunStore, steps: int | None = None) -> str:
    """That a run's supernet has learned next to nothing, in a sentence, if all its losses in the last fourth of its steps so far are those
    of guessing; else nothing.

    Also nothing where train.jsonl cannot be read, or where run.json does not say how many images each class has: no result depends on it.

    Args:
        steps: of the whole training, if it goes on.

    Raises:
        InputError: run.json cannot be read.
    """
    identity = store.identity()
    try:
        lines = store.records("train.jsonl")
        smoothing = recorded_config(identity, str(store.folder)).train.label_smoothing
    except InputError:
        return ""
    counts = identity["images"]["counts"]["train"] if identity.get("images") else []
    if not lines or not any(counts) or any(LINE.fault(line, "") for line in lines):
        return ""
    last = [numbers_of(line) for line in lines if line["step"] > 0.75 * lines[-1]["step"]]
    losses = [[line[name] for line in last if name in line] for name in lines[-1] if name not in _ALWAYS]
    if not losses or not all(losses):
        return ""
    ends = [median(values) for values in losses]
    guess = guessing(counts, smoothing)
    if not all((1 - LEARNED) * guess <= end <= NO_MEAN * guess for end in ends):
        return ""
    guesses = f"{ends[0]:.2f}, and guessing among {worded(len(counts))} classes has {guess:.2f}"
    other = "for more epochs, at another rate, for a narrower budget, by another strategy, or from a trained network (init=FOLDER)"
    if steps is not None:
        return (
            f"the supernet has learned next to nothing in {lines[-1]['step']:,} of {steps:,} steps: its loss is {guesses}. Some supernets begin "
            f"later. If this one does not, train another run {other}"
        )
    return (
        f"the supernet has learned next to nothing, and a search chooses by chance: its loss at the end of training is {guesses}. Train another run "
        f"{other}"
    )


def say_at_chance(store: RunStore, run: str, steps: int | None = None) -> None:
    """Prints what `at_chance` finds.

    Args:
        run: the run's folder as it was typed.
        steps: as there.
    """
    if said := at_chance(store, steps):
        say(f"{run}: {said}")
