"""Extraction: a sub-network with the statistics it was evaluated with, as a network of its own, and the proof that both do the same.

A network's folder has arch.json (what it is), weights.safetensors (its weights and normalisation statistics) and card.json (what is known
of it: `nas.networks.cards`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.goals.budget import worded
from nas.networks.cards import CARD
from nas.records import Evaluation
from nas.runs.run import Run
from nas.runs.searches import EVALUATED_BY, Search
from nas.runs.store import RunStore
from nas.runs.weights import ARCH, WEIGHTS, load_network, save_tensors
from nas.searching.evaluation import Evaluator, evaluate
from search_spaces.architecture import Architecture
from search_spaces.costs import BUILT_IN, costs_of
from search_spaces.errors import InputError
from search_spaces.reparameterisation import reparameterise, reparameterised
from supernet.calibration import calibrate


@dataclass(frozen=True)
class Extraction:
    """Extracts networks of a run's supernet, as searches with these settings evaluated them."""

    run: Run
    search: Search
    evaluator: Evaluator

    @classmethod
    def of(cls, run: Run, search: Search) -> "Extraction":
        config = replace(run.config, search=search.settings)
        return cls(run, search, Evaluator.of(config, run.split, run.supernet(), run.device))

    def serves(self, search: Search) -> bool:
        """Whether another search evaluated with the same images and batches."""
        return all(getattr(self.search.settings, key) == getattr(search.settings, key) for key in EVALUATED_BY)

    def _statistics(self, arch: Architecture) -> dict[str, Tensor]:
        return calibrate(self.evaluator.supernet, arch, self.evaluator.calibration)

    def write(self, store: RunStore, folder: str, arch: Architecture, card: Mapping[str, Any], *, merge: bool) -> None:
        """Writes a network into a folder of the store.

        Args:
            card: what is known of it.
            merge: parallel branches that are one convolution after training become one.
        """
        network = self.evaluator.supernet.extract(arch, self._statistics(arch))
        if merge:
            network = reparameterise(network)
        about = {"digest": network.arch.digest, "split": self.run.split.digest}
        save_tensors(store, f"{folder}/{WEIGHTS}", network.state_dict(), about)
        store.write_json(f"{folder}/{CARD}", card)
        store.write_text(f"{folder}/{ARCH}", network.arch.to_json(indent=1) + "\n")

    def check(self, folder: Path, record: Evaluation, again: str, shown: Sequence[str], *, merged: bool) -> str:
        """Compares the network in a folder with the supernet on a batch, and with its recorded accuracy.

        Args:
            again: the command that writes the folder again, for messages.
            shown: names of the costs that are said.

        Returns:
            What was found, in one line.

        Raises:
            InputError: it is another network, or does not do what was evaluated.
        """
        run, arch = self.run, record.architecture
        network = load_network(folder).to(run.device)
        expected = reparameterised(arch).digest if merged else arch.digest
        if network.arch.digest != expected:
            raise InputError(f"{folder} holds network {network.arch.digest}", expected, again)
        buffers = self._statistics(arch)
        images = next(iter(self.evaluator.validation))[0]
        with torch.no_grad():
            logits = self.evaluator.supernet(images, arch, buffers)
            difference = (network(images) - logits).abs().max().item()
        accuracy = evaluate(network, self.evaluator.validation)
        # Bitwise on the CPU. The accuracy may be from another device or number of threads, which round differently.
        exact = run.device.type == "cpu" and expected == arch.digest
        rounding = 1e-4 if run.device.type == "cpu" else 1e-2
        close = difference <= (0 if exact else rounding * max(1.0, logits.abs().max().item()))
        if not close or abs(accuracy.top1 - record.top1) * accuracy.images > max(1, accuracy.images / 500):
            raise InputError(
                f"{folder} does not do what was evaluated: its logits differ from the supernet's by up to {difference:g}, "
                f"its top-1 is {accuracy.top1:.6f} and was {record.top1:.6f}",
                "the files as nas wrote them, and the machine and number of threads that searched",
                again,
            )
        # What was measured or registered is of the network as it was evaluated; merged, it is counted again.
        costs = costs_of(network.arch, BUILT_IN) if merged else record.costs
        words = ", ".join(worded(name, costs[name]) for name in shown if name in costs)
        return (
            f"{folder}  {words}  top-1 {accuracy.top1:.4f} (evaluated {record.top1:.4f})  "
            f"largest difference from the supernet on {len(images)} images: {difference:g}"
        )
