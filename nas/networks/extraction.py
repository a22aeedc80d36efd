"""Extraction: a sub-network with the statistics it was evaluated with, as a network of its own, and the proof that both do the same.

What a network's folder has is in `nas.networks.folder`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

from nas.goals.budget import worded
from nas.goals.selection import Selected
from nas.networks.cards import Chosen, best_weights, whole_card
from nas.networks.folder import copy_weights, write_card, write_description
from nas.networks.steps import LOADED, RETRAINED, SUPERNET, Comparison, Forward, check_top1, compare, forms
from nas.records import Evaluation
from nas.runs.inputs import supernet_digest
from nas.runs.run import Run
from nas.runs.searches import EVALUATED_BY, Search, read_search, search_names
from nas.runs.store import RunStore
from nas.runs.weights import CONFIG, MODEL, WEIGHTS, load_network, save_tensors
from nas.searching.evaluation import Batches, calibration_of, validation_of
from search_spaces.architecture import Architecture
from search_spaces.costs import BUILT_IN, costs_of
from search_spaces.errors import InputError
from search_spaces.network import Network
from search_spaces.reparameterisation import reparameterise, reparameterised
from search_spaces.textfiles import resolved
from supernet.calibration import calibrate
from supernet.supernet import Supernet

SOME = 500
"""Images of search-validation on which a network is compared in all of its forms; `nas export` compares its files on as many. On the others, one form scores what was recorded. Where the
record is of the weights that are there, and logits are equal bit for bit, that is not needed."""


@dataclass(frozen=True)
class Extraction:
    """Extracts networks of a run's supernet, as searches with these settings evaluated them.

    Args:
        supernet: of the run.
        calibration: images that networks get statistics from.
    """

    run: Run
    search: Search
    supernet: Supernet
    calibration: list[Tensor]
    _last: dict[str, dict[str, Tensor]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The statistics of the network that was asked for last, by its digest: it is written, and then compared."""

    @classmethod
    def of(cls, run: Run, search: Search) -> "Extraction":
        calibration = calibration_of(replace(run.config, search=search.settings), run.split, run.device)
        return cls(run, search, run.supernet(), calibration)

    @cached_property
    def same_weights(self) -> bool:
        """Whether all that searches of the run recorded is of the supernet that is there now, by its digest."""
        return _of_one_supernet(self.run.store)

    @cached_property
    def validation(self) -> Batches:
        """All images of search-validation."""
        return self._validation(None)

    @cached_property
    def some_validation(self) -> Batches:
        """The batches of them that have the first `SOME` images. The others are not even opened."""
        size = self.search.settings.batch_size
        return self._validation(-(-SOME // size) * size)

    def _validation(self, limit: int | None) -> Batches:
        config = replace(self.run.config, search=self.search.settings)
        return validation_of(config, self.run.split, self.run.device, limit)

    def serves(self, search: Search) -> bool:
        """Whether another search evaluated with the same images and batches."""
        return all(getattr(self.search.settings, key) == getattr(search.settings, key) for key in EVALUATED_BY)

    def statistics(self, arch: Architecture) -> dict[str, Tensor]:
        """The normalisation statistics that a network was evaluated with; the tensors are not to be written to."""
        if arch.digest not in self._last:
            self._last.clear()
            self._last[arch.digest] = calibrate(self.supernet, arch, self.calibration)
        return dict(self._last[arch.digest])

    def of_search(self, search: Search, store: RunStore, *, merge: bool, license: str) -> "Folders":
        """What writes and checks the folders of a search's networks.

        Args:
            store: that gets them; the run's, or another folder.
            merge: parallel branches that are one convolution after training become one.
        """
        return Folders(self, search, store, merge, license)


@dataclass(frozen=True)
class Folders:
    """The folders of a search's networks: see `Extraction.of_search`."""

    extraction: Extraction
    search: Search
    store: RunStore
    merge: bool
    license: str

    @property
    def _run(self) -> Run:
        return self.extraction.run

    def _within(self, folder: str) -> bool:
        """Whether a folder is the network's own in the run, which also keeps the weights as they were extracted."""
        own = self._run.store.path(self.search.path("networks"))
        return resolved(self.store.path(folder)).parent == resolved(own)

    def write(self, folder: str, entry: Selected) -> Chosen:
        """Writes the files of a network into a folder of the store, without its card.

        Returns:
            The weights that its model.safetensors has.

        Raises:
            InputError: the weights of a retraining are damaged, or a file cannot be written.
        """
        run, arch = self._run, entry.arch
        chosen = self._chosen(entry)
        supernet, statistics = self.extraction.supernet, self.extraction.statistics(arch)
        about = {"digest": arch.digest, "split": run.split.digest}
        if self._within(folder):
            save_tensors(self.store, f"{folder}/{WEIGHTS}", supernet.extract(arch, statistics).state_dict(), about)
            copy_weights(self.store, folder, chosen)
            write_description(self.store, folder, arch, run, self.license)
            return chosen
        own = run.store.path(self.search.path(f"networks/{arch.digest}"))
        network = supernet.extract(arch, statistics) if chosen.retraining is None else load_network(own, chosen.file)
        if self.merge:
            network = reparameterise(network)
        save_tensors(self.store, f"{folder}/{MODEL}", network.state_dict(), {**about, "digest": network.arch.digest})
        write_description(self.store, folder, network.arch, run, self.license)
        return chosen

    def _chosen(self, entry: Selected) -> Chosen:
        """The best weights of a network whose file is there: that of a retraining may have been removed."""
        chosen = best_weights(self.search, entry.record.digest)
        path = self.search.path(f"networks/{entry.record.digest}/{chosen.file}")
        return chosen if chosen.retraining is None or self._run.store.exists(path) else Chosen()

    def check(self, folder: str, entry: Selected, again: str, shown: Sequence[str], *, write: bool) -> str:
        """Compares the network in a folder with the supernet step by step, and with its recorded accuracy on all images of search-validation.
        Where the record is of the weights that are there, the accuracy follows from logits that are equal to the supernet's.

        Args:
            again: the command that writes the folder again, for messages.
            shown: names of the costs that are said.
            write: writes the card, with what was found. Without it, everything is compared on all images, not on `SOME`.

        Returns:
            What was found, in one line.

        Raises:
            InputError: it is another network, or does not do what was evaluated.
        """
        chosen, place = self._chosen(entry), self.store.path(folder)
        found = {
            file: self._compared(steps, SOME if write else None, self._is_exact(entry.record))
            for file, steps in self._steps(folder, entry, chosen, again).items()
        }
        for file, comparison in found.items():
            self._judge(place, file, comparison, entry.record, chosen, again)
        if write:
            checked = {file: [step.to_dict() for step in comparison.steps] for file, comparison in found.items()}
            if chosen.retraining is None and WEIGHTS in checked:  # model.safetensors is a copy of it
                checked = {WEIGHTS: checked[WEIGHTS][:2], MODEL: checked[WEIGHTS]}
            write_card(self.store, folder, whole_card(self._run, self.search, entry, chosen, checked, self.license))
        return self._said(place, found, entry, chosen, shown)

    def _compared(self, steps: Mapping[str, Forward], some: int | None, exact: bool) -> Comparison:
        """
        Args:
            some: images on which all steps are compared. The recorded accuracy is counted again on all images, unless the loaded network is to
                have the supernet's logits bit for bit, and the record is of this supernet.
            exact: see `_is_exact`.
        """
        extraction = self.extraction
        if some is not None and exact and extraction.same_weights and SUPERNET in steps:
            return compare(steps, extraction.some_validation, some=some)
        return compare(steps, extraction.validation, LOADED, some)

    def _steps(self, folder: str, entry: Selected, chosen: Chosen, again: str) -> dict[str, dict[str, Forward]]:
        """By file of weights, the steps that are to do the same. Folders of earlier versions have nothing for timm."""
        place, device = self.store.path(folder), self._run.device
        for_timm = self.store.exists(f"{folder}/{CONFIG}")
        retrained = chosen.retraining is not None and for_timm
        found: dict[str, dict[str, Forward]] = {}
        if self._within(folder):
            network = self._load(place, WEIGHTS, entry, again)
            found[WEIGHTS] = {SUPERNET: self._supernet(entry.arch), LOADED: network}
            if retrained:
                network = self._load(place, MODEL, entry, again)
                found[MODEL] = {LOADED: network}
        else:
            network = self._load(place, "", entry, again)
            first = {SUPERNET: self._supernet(entry.arch)}
            if retrained:
                own = self._run.store.path(self.search.path(f"networks/{entry.record.digest}"))
                first = {RETRAINED: load_network(own, chosen.file).to(device)}
            found[MODEL if for_timm else WEIGHTS] = {**first, LOADED: network}
        if for_timm:
            last = found[MODEL if retrained else next(iter(found))]
            last |= forms(place, device, network)
        return found

    def _supernet(self, arch: Architecture) -> Forward:
        """The sub-network as it was evaluated."""
        supernet, buffers = self.extraction.supernet, self.extraction.statistics(arch)
        return lambda x: supernet(x, arch, buffers)

    def _load(self, place: Path, weights: str, entry: Selected, again: str) -> Network:
        """
        Raises:
            InputError: it is another network.
        """
        network = load_network(place, weights).to(self._run.device)
        if network.arch.digest != self._expected(entry.arch):
            raise InputError(f"{place} holds network {network.arch.digest}", self._expected(entry.arch), again)
        return network

    def _expected(self, arch: Architecture) -> str:
        return reparameterised(arch).digest if self.merge else arch.digest

    def _judge(
        self, place: Path, file: str, comparison: Comparison, record: Evaluation, chosen: Chosen, again: str
    ) -> None:
        """
        Raises:
            InputError: steps differ, or the accuracy is not the recorded one.
        """
        device = self._run.device.type
        first = comparison.steps[0]
        recorded = record.top1
        if chosen.retraining is not None and first.name != SUPERNET:
            recorded = chosen.retraining.validation_top1
        # The accuracy may be from another device or number of threads, which round differently.
        comparison.check(device, str(place), again, (LOADED,) if self._is_exact(record) else ())
        if _saw_all(comparison, record):
            check_top1(comparison.of(LOADED), recorded, str(place / file), again)

    def _is_exact(self, record: Evaluation) -> bool:
        """Whether the loaded network has the supernet's logits bit for bit: on the CPU, unless branches were merged."""
        return self._run.device.type == "cpu" and self._expected(record.architecture) == record.digest

    def _said(
        self, place: Path, found: Mapping[str, Comparison], entry: Selected, chosen: Chosen, shown: Sequence[str]
    ) -> str:
        record = entry.record
        # What was measured or registered is of the network as it was evaluated; merged, it is counted again.
        merged = self._expected(record.architecture) != record.digest
        costs = costs_of(reparameterised(record.architecture), BUILT_IN) if merged else record.costs
        words = ", ".join(worded(name, costs[name]) for name in shown if name in costs)
        said = []
        for comparison in found.values():
            first, loaded = comparison.steps[0], comparison.of(LOADED)
            made = chosen.retraining
            if made is not None and first.name != SUPERNET:
                said.append(f"{made.init} {made.seed}: top-1 {loaded.top1:.4f} (retrained {made.validation_top1:.4f})")
            elif _saw_all(comparison, record):
                said.append(f"top-1 {loaded.top1:.4f} (evaluated {record.top1:.4f})")
            else:
                said.append(f"top-1 {record.top1:.4f} as evaluated on {record.images:,} images")
            others = [step for step in comparison.steps if step.name not in (first.name, LOADED)]
            said += [f"{step.name} differs by {step.difference:.2g}" for step in others]
            if first.name != LOADED:
                images = f"on {first.images} images: {loaded.difference:g}"
                said.append(f"largest difference from the {first.name} {images}")
        return f"{place}  {', '.join(entry.roles)}  {words}  {'  '.join(said)}"


def _saw_all(comparison: Comparison, record: Evaluation) -> bool:
    """Whether the loaded network saw all images behind the recorded accuracy."""
    return comparison.whole is not None or comparison.of(LOADED).images >= record.images


def _of_one_supernet(store: RunStore) -> bool:
    """Whether all searches of a run wrote down the digest of the supernet that is there now. Then each of their records is of its weights."""
    now = supernet_digest(store)
    try:
        searches = [read_search(store, name) for name in search_names(store)]
    except InputError:  # of a damaged one, which may be another than the one that is asked for
        return False
    return bool(now) and all(search.conditions.get("supernet") == now for search in searches)
