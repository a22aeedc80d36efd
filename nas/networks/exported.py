"""Exported files of a run's networks, scored on the run's search-validation images and noted in the networks' cards."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.config import Config
from nas.config.effective import run_config
from nas.networks.extraction import SOME
from nas.networks.folder import add_steps, known_card
from nas.networks.steps import LOADED, Comparison, Forward, compare
from nas.runs.run import Run, open_run
from nas.runs.store import RunStore
from nas.runs.weights import MODEL
from search_spaces.errors import InputError
from search_spaces.textfiles import resolved

DEEPEST = 4
"""Folders between a run and that of a network: searches/NAME/networks/DIGEST."""


def run_of(folder: Path) -> Path | None:
    """The run that the folder of a network lies in; None for one that lies elsewhere."""
    above = list(resolved(folder).parents)[:DEEPEST]
    return next((place for place in above if (place / "run.json").is_file()), None)


def score_files(folder: Path, network: nn.Module, files: Mapping[str, Forward], batch: int, weights: str) -> str:
    """Scores files beside their network, and adds what was found to the card in its folder. Where the run cannot be opened, or its images
    are elsewhere, that is said instead: the files are good without.

    Args:
        folder: of the network, in a run.
        network: with its weights, in evaluation mode.
        files: their functions by file name.
        batch: images at once that the files take; 0 for any number.
        weights: the file of the network's weights.

    Returns:
        What was found, in one line.

    Raises:
        InputError: the outputs of a file differ from the network's by more than rounding.
    """
    place = run_of(folder)
    if place is None:
        raise ValueError(f"{folder} lies in no run")
    try:
        config = run_config(RunStore.open(place), str(place))
        run = open_run(config, writes=False)
        found = _compared(run, config, {LOADED: network, **files}, batch)
    except InputError as error:
        return f"{folder}  not scored on images of the run: {error.given}"
    found.check("cpu", f"{folder} as a file", f"nas export {folder}")
    said = ", ".join(f"{step.name} {step.top1:.4f}" for step in found.steps)
    return f"{folder}  top-1 on {found.steps[0].images} search-validation images: {said}{_noted(run, folder, found, weights)}"


def _compared(run: Run, config: Config, steps: Mapping[str, Forward], batch: int) -> Comparison:
    batches = run.part("validation").batches(batch or config.search.batch_size, drop_last=bool(batch))

    def plain(x: Tensor, forward: Forward) -> Tensor:
        return torch.as_tensor(forward(x.contiguous()))

    wrapped = {name: lambda x, forward=forward: plain(x, forward) for name, forward in steps.items()}
    return compare(wrapped, batches, some=SOME)


def _noted(run: Run, folder: Path, found: Comparison, weights: str) -> str:
    """Adds the steps to the card of a folder that has one, unless another process writes the run.

    Returns:
        Why the card was left as it is, if it was.
    """
    name = resolved(folder).relative_to(resolved(run.store.folder)).as_posix()
    if not known_card(run.store, name):
        return ""
    try:
        run.store.lock()
    except InputError as error:
        return f" (not in the card: {error.given})"
    add_steps(run.store, name, [step.to_dict() for step in found.steps if step.name != LOADED], weights or MODEL)
    return ""
