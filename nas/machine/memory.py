"""What memory a command may use, whether training fits into it, and what to say when memory runs out all the same."""

import errno
import functools
import math
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn

from nas import machine
from nas.config import Config
from nas.data import Split, kept_decoded
from nas.log import say
from nas.machine.available import address_space_is_limited, available
from nas.runs.store import RunStore
from nas.training.strategies import strategy_of
from search_spaces.errors import InputError
from search_spaces.named import check as check_space
from search_spaces.named import read_space, space_names
from search_spaces.space import SearchSpace
from supernet.activation_memory import Activations, sampled_activations
from supernet.memory import MemoryNeed, in_words, training_need
from supernet.steps import Moment

SLACK = 0.95
"""Share of the memory that an offered setting may need: free memory changes from one command to the next."""

PROCESS = 320 * 2**20
"""What each process beside the first takes before it trains: Python, torch and the modules of this project. Measured: 300 MiB that it
shares with no other process."""


def need_of(config: Config, space: SearchSpace, device: torch.device, split: Split | None = None) -> MemoryNeed:
    """What each process of the training needs with the settings of a configuration, in a space that is bound to the data.

    Args:
        split: the images, which each process loads for itself; None for what training needs beside them.
    """
    train = config.train
    return training_need(
        space, _shard(train.batch_size, train.processes), ema=train.ema > 0, paths=strategy_of(train, space, config.seed).paths,
        on_cpu=device.type == "cpu", kept=_within_budget(config, space), images=kept_decoded(config.data, split) if split else 0,
    )  # fmt: skip


def _shard(batch_size: int, processes: int) -> int:
    """Images of the largest shard of a batch."""
    return -(-batch_size // max(1, processes))


def _in_all(need: MemoryNeed, processes: int, on_cpu: bool) -> int:
    """Bytes that all processes of a training need of the memory that they share; on GPUs they share none."""
    if processes <= 1 or not on_cpu:
        return need.total
    # One of them writes the checkpoints.
    return processes * need.total - (processes - 1) * (need.checkpoint - PROCESS)


DRAWS = 8
"""Steps whose largest sub-network tells what those of a whole run need, where a budget bounds them: they need about the same."""


def _within_budget(config: Config, space: SearchSpace) -> Activations | None:
    """The activations of training under a budget; None without one."""
    strategy = strategy_of(config.train, space, config.seed)
    if strategy.fit is None:
        return None
    return sampled_activations([strategy.draw(Moment(step, DRAWS, 1))[0] for step in range(DRAWS)])


def check(config: Config, space: SearchSpace, device: torch.device, split: Split, *, started: bool = False) -> None:
    """Prints what training needs and what the machine has. Nothing is allocated and nothing is written.

    Args:
        space: checked and bound to the data.
        split: the images.
        started: whether the run exists, so that its settings are fixed.

    Raises:
        InputError: it does not fit; what fits is offered.
    """
    need, processes = need_of(config, space, device, split), config.train.processes
    total = _in_all(need, processes, device.type == "cpu")
    words = need.describe() if processes <= 1 else f"{in_words(total)} in {processes} processes, each {need.describe()}"
    _load_what_is_loaded_late()
    has = available(device)
    if has is None:
        say(f"memory: training needs {words}")
        return
    say(f"memory: training needs about {words}; {in_words(has.size)} are {has.bound}")
    if total <= has.size:
        return
    given = f"training the supernet of space {space.name} needs about {words}, and {in_words(has.size)} are {has.bound}"
    offers = fitting(config, space, device, split, int(SLACK * has.size))
    more = f"a machine with {in_words(total)} of free memory"
    if started:
        other = f", or a new run with other settings: run=runs/new {offers[0]}" if offers else ""
        raise InputError(
            given, "more memory, as the settings of a run are fixed; the run is as it was",
            f"the same command on {more}, which resumes the run{other}",
        )  # fmt: skip
    raise InputError(given, " or ".join([*offers, more]), offers[0] if offers else more)


def with_processes_that_fit(config: Config, space: SearchSpace, device: torch.device, split: Split) -> Config:
    """A configuration that chose its number of processes itself: with fewer where so many need more memory than there is."""
    if config.train.processes <= 1:
        return config
    _load_what_is_loaded_late()
    has = available(device)
    for processes in range(config.train.processes, 1, -1):
        fewer = replace(config, train=replace(config.train, processes=processes))
        needed = _in_all(need_of(fewer, space, device, split), processes, device.type == "cpu")
        if has is None or needed <= SLACK * has.size:
            return fewer
    return replace(config, train=replace(config.train, processes=1))


def _load_what_is_loaded_late() -> None:
    """Runs one tiny step where the address space is limited: libraries that torch loads when they are first used take some
    hundred megabytes of it, which would else count as free.
    """
    if not address_space_is_limited():
        return
    with torch.random.fork_rng(devices=[]):
        module = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.Flatten(), nn.Linear(144, 2))
        module = module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        optimizer = torch.optim.AdamW(module.parameters(), foreach=True)
        images = torch.zeros(2, 4, 8, 8).contiguous(memory_format=torch.channels_last)
        nn.functional.cross_entropy(module(images), torch.zeros(2, dtype=torch.int64)).backward()
        optimizer.step()
        query = torch.zeros(1, 1, 4, 4, requires_grad=True)
        nn.functional.scaled_dot_product_attention(query, query, query).sum().backward()


def fitting(config: Config, space: SearchSpace, device: torch.device, split: Split, room: int) -> list[str]:
    """Settings with which training fits into `room` bytes, the mildest change first; each is computed to fit.

    A smaller space is looked for only when nothing milder helps, because each takes a while to measure.
    """
    train = config.train
    on_cpu, kept = device.type == "cpu", _within_budget(config, space)
    paths = strategy_of(train, space, config.seed).paths

    def fits(bound: SearchSpace, batch_size: int, ema: bool, processes: int = train.processes) -> bool:
        shard = _shard(batch_size, processes)
        images = kept_decoded(config.data, split, bound.resolution)
        need = training_need(bound, shard, ema=ema, paths=paths, on_cpu=on_cpu, kept=kept, images=images)
        return _in_all(need, processes, on_cpu) <= room

    def largest_batch(bound: SearchSpace, ema: bool) -> int:
        """The largest batch size up to the configured one; 0 when not even two images fit."""
        if not fits(bound, 2, ema):
            return 0
        low, high = 2, train.batch_size
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(bound, middle, ema) else (low, middle - 1)
        return low

    def typed(bound: SearchSpace, ema: bool) -> list[str]:
        """What to type for a space: nothing when the configured batch size fits."""
        batch_size = largest_batch(bound, ema)
        if not batch_size:
            return []
        words = [f"train.batch_size={batch_size}"] if batch_size < train.batch_size else []
        words += ["train.ema=0"] if train.ema and not ema else []
        return [" ".join(words)]

    alone = train.processes > 1 and fits(space, train.batch_size, train.ema > 0, 1)
    offers = (["train.processes=1"] if alone else []) + typed(space, train.ema > 0)
    if train.ema and (not offers or fits(space, train.batch_size, False)):
        offers += typed(space, False)
    if kept is not None:  # another space, or the same at another resolution, would have to be narrowed again
        return offers
    need = need_of(config, space, device, split)
    images_need_it = _in_all(need, train.processes, on_cpu) - need.activations - need.temporaries - need.images <= room
    for resolution in sorted({config.data.resolution * share // 4 // 4 * 4 for share in (1, 2, 3)}, reverse=True):
        # Weights do not depend on the resolution: where they alone are too much, smaller images do not help.
        if images_need_it and resolution >= 4:
            smaller = space.bind(space.in_channels, space.num_classes, resolution)
            try:
                helps = fits(smaller, train.batch_size, train.ema > 0)
            except (InputError, RuntimeError):  # the space cannot have such small images
                break
            if helps:
                offers.append(f"data.resolution={resolution}")
                break
    return offers or list(_smaller_space(space, lambda bound: typed(bound, train.ema > 0)))


def _smaller_space(space: SearchSpace, typed: Callable[[SearchSpace], list[str]]) -> Iterator[str]:
    """A named space that fits, as it is typed: made for images of about this size, and the largest of those."""

    def order(other: SearchSpace) -> tuple[float, int]:
        return abs(math.log2(other.resolution / space.resolution)), -other.size

    for other in sorted((read_space(name) for name in space_names()), key=order):
        if other.name == space.name:
            continue
        try:
            bound = check_space(other).bind(space.in_channels, space.num_classes, space.resolution)
            words = typed(bound)
        except (InputError, RuntimeError):  # not for images of this size
            continue
        if words:
            yield f"space={other.name} {words[0]}".strip()
            return


# When memory runs out all the same

_SIGNS = (
    "can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory", "bad_alloc", "unable to allocate",
    "could not create a memory", "could not create a primitive", "failed to allocate",
)  # fmt: skip
"""What libraries say in exceptions of other types."""


def ran_out(error: BaseException) -> bool:
    """Whether an exception says that there was no more memory. torch's CPU allocator raises a plain RuntimeError."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError | OSError) and any(sign in str(error).lower() for sign in _SIGNS)


Verb = TypeVar("Verb", bound=Callable[[Config], Any])


def explained(verb: Verb) -> Verb:
    """Decorates a verb: when memory runs out, its error says what to do. Files are whole, because each is written atomically."""

    @functools.wraps(verb)
    def run(config: Config) -> Any:
        try:
            return verb(config)
        except (MemoryError, RuntimeError, OSError) as error:
            if not ran_out(error):
                raise
            # The tensors of the failed step are still referred to by its frames.
            traceback.clear_frames(error.__traceback__)
            given, allowed, instead = _advice(verb.__name__, config, error)
        raise InputError(given, allowed, instead)

    return run  # type: ignore[return-value]


def _advice(verb: str, config: Config, error: BaseException) -> tuple[str, str, str]:
    """What was given, what is allowed and what to type instead, for a verb that ran out of memory."""
    store = RunStore(config.run)
    again = f"nas {verb} run={config.run}"
    more = "the same command with more free memory, which continues where this one stopped"
    reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    given = f"{again} ran out of memory ({reason}); all files of the run are intact"
    if verb == "train":
        smaller = f"run=runs/new train.batch_size={max(2, config.train.batch_size // 2)}"
        if store.exists("work/train.pt"):
            return (
                given, "more free memory, or a new run with a smaller batch: the settings of this one are fixed",
                f"the same command with more free memory, which resumes from the last checkpoint, or {smaller}",
            )  # fmt: skip
        return given, "more free memory, or a new run with a smaller batch: the settings of this one are fixed", smaller
    if verb == "search" and config.search.batch_size > 2:
        smaller = max(2, config.search.batch_size // 4)
        if not store.exists(f"searches/{config.search.title}/evaluations.jsonl"):
            return given, "a smaller batch, or more free memory", f"search.batch_size={smaller}"
        return (
            given, "more free memory, or a search of its own with a smaller batch: results depend on it",
            f"{more}; or search.batch_size={smaller} search.name=batch{smaller}",
        )  # fmt: skip
    if verb == "retrain":
        jobs = config.retrain.jobs or machine.cores()
        if jobs > 1 and config.executor != "here":
            return given, "fewer networks at once, or more free memory", "retrain.jobs=1"
        if not any(store.path("work/retrain").glob("*/*")) and config.retrain.batch_size > 2:
            return (
                given,
                "a smaller batch, or more free memory",
                f"retrain.batch_size={max(2, config.retrain.batch_size // 4)}",
            )
    return given, f"more free memory, as the settings of {verb} are fixed once it has results", more
