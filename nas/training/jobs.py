"""What is trained alone: a network of a search or a model of timm, from one initialisation and seed, and where its files are in the run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from nas.config import Config
from nas.networks.references import make_reference
from nas.records import Reference, Retraining
from nas.runs.splits import read_split
from nas.runs.store import RunStore
from nas.runs.weights import WEIGHTS, load_network, load_tensors
from nas.searching.evaluation import Accuracy
from search_spaces.architecture import Architecture
from search_spaces.costs.macs import macs
from search_spaces.network import build
from supernet.seeding import derive_seed

PARTS = ("validation", "test")
"""What a trained network is scored on; each part is read once."""


@dataclass(frozen=True)
class Job:
    """One network to train in a search of a run.

    Args:
        config: the run's, with the recipe in `retrain`.
        search: the name of the search.
    """

    config: Config
    search: str
    digest: str
    roles: tuple[str, ...]
    architecture: Architecture
    costs: Mapping[str, float]
    init: str
    seed: int

    @property
    def name(self) -> str:
        """Its key in the search."""
        return f"{self.digest}-{self.init}-{self.seed}"

    @property
    def folder(self) -> str:
        """The network's folder in the run."""
        return f"searches/{self.search}/networks/{self.digest}"

    @property
    def weights(self) -> str:
        """The file of its trained weights in that folder."""
        return f"retrained-{self.init}-{self.seed}.safetensors"

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts of the data that it is scored on at its end."""
        return PARTS

    @property
    def size(self) -> int:
        """MACs: the largest network starts first."""
        return macs(self.architecture)

    def work(self, ending: str) -> str:
        """A file of its own that only an unfinished run has."""
        return f"work/retrain/{self.search}/{self.name}.{ending}"

    def initial(self, store: RunStore, seed: int) -> nn.Module:
        """The network before training.

        Args:
            seed: of fresh weights.
        """
        if self.init == "inherited":
            network = load_network(store.path(self.folder), WEIGHTS)
        else:
            network = build(self.architecture, derive_seed(seed, self.digest))
        network.set_drop_path(self.config.retrain.drop_path)
        return network

    def trained(self, store: RunStore) -> nn.Module:
        """The network as it was stored behind training."""
        return load_network(store.path(self.folder), self.weights)

    def record(self, skipped: int, validation: Accuracy, test: Accuracy) -> Retraining:
        """What is written down of it.

        Args:
            skipped: steps whose gradients were not finite.
        """
        return Retraining(
            digest=self.digest, roles=self.roles, init=self.init, seed=self.seed, architecture=self.architecture,
            costs=self.costs, epochs=self.config.retrain.epochs, skipped_steps=skipped,
            validation_top1=validation.top1, test_top1=test.top1, test_loss=test.loss, test_images=test.images,
        )  # fmt: skip

    @staticmethod
    def read(line: Any) -> Retraining:
        """The inverse of the record's `to_dict`."""
        return Retraining.from_dict(line)


@dataclass(frozen=True)
class ReferenceJob:
    """One of timm's networks to train from fresh weights in a search of a run, as a `Job` of it is trained.

    Args:
        model: its name in timm.
        times: as of `nas.records.Reference`.
    """

    config: Config
    search: str
    model: str
    costs: Mapping[str, float]
    seed: int
    init: str = "scratch"
    times: Mapping[str, Mapping[str, float | bool]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"timm-{self.model}-{self.seed}"

    @property
    def digest(self) -> str:
        return f"timm/{self.model}"

    @property
    def folder(self) -> str:
        return f"searches/{self.search}/references/{self.model}"

    @property
    def weights(self) -> str:
        return f"retrained-scratch-{self.seed}.safetensors"

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts of the data that it is scored on at its end."""
        return PARTS

    @property
    def size(self) -> int:
        return int(self.costs.get("macs", 0))

    def work(self, ending: str) -> str:
        return f"work/retrain/{self.search}/{self.name}.{ending}"

    def _make(self, store: RunStore) -> nn.Module:
        data = self.config.data
        split = read_split(store)
        return make_reference(
            self.model, split.in_channels, len(split.classes), data.resolution, self.config.retrain.drop_path
        )

    def initial(self, store: RunStore, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, self.digest))
            return self._make(store)

    def trained(self, store: RunStore) -> nn.Module:
        network = self._make(store)
        load_tensors(store, f"{self.folder}/{self.weights}", network)
        return network

    def record(self, skipped: int, validation: Accuracy, test: Accuracy) -> Reference:
        return Reference(
            model=self.model, seed=self.seed, costs=self.costs, epochs=self.config.retrain.epochs, skipped_steps=skipped,
            validation_top1=validation.top1, test_top1=test.top1, test_loss=test.loss, test_images=test.images, times=self.times,
        )  # fmt: skip

    @staticmethod
    def read(line: Any) -> Reference:
        return Reference.from_dict(line)
