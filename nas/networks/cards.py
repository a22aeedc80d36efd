"""card.json: what is known of an extracted network, beside its files: costs, accuracy, times on devices, data, recipe and versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.config import Config
from nas.data import Split
from nas.data.augment import CROP_FROM, CROP_SHARE
from nas.goals.selection import Selected
from nas.networks.commands import commands_of, without_folders
from nas.records import INITS, Evaluation, Retraining
from nas.records.device_times import OVER, PREDICTED, WITHIN, latest
from nas.runs.run import Run
from nas.runs.searches import Search
from nas.runs.settings import RETRAIN_FREE, kept
from nas.runs.weights import WEIGHTS

CARD = "card.json"

FASHION_SIDE = 28
"""Pixels to a side of an image of Fashion-MNIST."""

COUNTED = "counted"
"""What `within_budget` rests on where no time on a device is limited."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The weights of a network that are its model.safetensors.

    Args:
        retraining: that made them; None for the extracted ones.
    """

    retraining: Retraining | None = None

    @property
    def file(self) -> str:
        """In the network's folder of the run."""
        return (
            WEIGHTS
            if self.retraining is None
            else f"retrained-{self.retraining.init}-{self.retraining.seed}.safetensors"
        )

    @property
    def words(self) -> str:
        """What they are."""
        if self.retraining is None:
            return "the weights that the network inherited from the supernet, with normalisation statistics of its own"
        made = self.retraining
        return f"the weights of the network trained by itself for {made.epochs} epochs from {INITS[made.init]} (seed {made.seed})"


def best_weights(search: Search, digest: str) -> Chosen:
    """The best retrained weights of a network if there are any, else the extracted ones.

    The best have the highest top-1 on search-validation, of equal ones the first by seed. The test part decides nothing.
    """
    found = [record for record in search.retrainings() if record.digest == digest]
    return Chosen(min(found, key=lambda record: (-record.validation_top1, record.seed, record.init)) if found else None)


def card_of(search: Search, entry: Selected) -> dict[str, Any]:
    """What a search knows of a network that it selected, as plain JSON.

    Costs and times are of the network as it was evaluated. Merging parallel branches does not change its time on a device, because
    networks are measured in the form for inference, which has them merged. `within_budget_by` says what `within_budget` rests on:
    counts, a measurement of every limited time, or predictions only. A search measures the networks with a role; any other that is
    asked for by its digest has predictions.
    """
    record = entry.record
    devices = _devices(search, record)
    costs = {cost["name"]: cost for cost in search.costs}
    return {
        "digest": record.digest,
        "search": search.name,
        "roles": list(entry.roles),
        "budget": str(search.budget),
        "within_budget": search.budget.allows(record.costs) and record.digest not in search.refuted(),
        "within_budget_by": _rests_on(search, devices),
        "costs": {
            name: {"value": value, "unit": costs.get(name, {}).get("unit", ""), "about": costs.get(name, {}).get("about", "")}
            for name, value in record.costs.items()
        },
        "evaluated": {
            "weights": "inherited from the supernet",
            "images": f"{record.images} of search-validation",
            "top1": record.top1,
            "loss": record.loss,
        },
        "devices": devices,
    }  # fmt: skip


def whole_card(
    run: Run,
    search: Search,
    entry: Selected,
    chosen: Chosen,
    checked: Mapping[str, Sequence[Mapping[str, Any]]],
    license: str = "apache-2.0",
) -> dict[str, Any]:
    """The card of a network's folder: what the search knows, and what the run and its retrainings add.

    Args:
        chosen: the weights in model.safetensors.
        checked: by file of weights, the steps on which it was compared: see `nas.networks.steps`.
        license: of the weights, as the hub calls it.
    """
    digest = entry.record.digest
    retrained = [found for found in search.retrainings() if found.digest == digest]
    recipe = kept(search.retraining) if retrained and search.retraining else {}
    identity = run.store.identity()
    return {
        **card_of(search, entry),
        "weights": {
            "file": chosen.file,
            "are": chosen.words,
            "init": chosen.retraining and chosen.retraining.init,
            "seed": None if chosen.retraining is None else chosen.retraining.seed,
        },
        "retrained": [_retraining(found) for found in retrained],
        "recipe": {key: without_folders(key, value) for key, value in recipe.items() if key not in RETRAIN_FREE},
        "data": _data(run),
        "plugins": list(search.conditions.get("plugins", run.config.plugins)),
        "versions": identity.get("versions", {}),
        "commands": commands_of(run.config, identity.get("space_name", "SPACE"), search, digest, bool(retrained)),
        "license": license,
        "checked": {name: list(steps) for name, steps in checked.items()},
    }  # fmt: skip


def _retraining(record: Retraining) -> dict[str, Any]:
    keys = ("init", "seed", "epochs", "skipped_steps", "validation_top1", "test_top1", "test_loss", "test_images")
    return {key: getattr(record, key) for key in keys}


def _data(run: Run) -> dict[str, Any]:
    """What the network was trained and chosen on."""
    split = run.split
    sizes = {part: len(split.parts[part]) for part in ("train", "validation", "test")}
    return {
        "name": split.name,
        "split": split.digest,
        "images": ", ".join(f"{part} {size:,}" for part, size in sizes.items()),
        "classes": len(split.classes),
        "preprocessing": _preprocessing(run.config, split),
    }


def _preprocessing(config: Config, split: Split) -> str:
    """How an image of any size becomes one of the network's, in words."""
    side = config.data.resolution
    if split.decoding and side >= CROP_FROM:
        return f"The short side is resized to {int(side / CROP_SHARE)} pixels (bicubic) and the middle square is taken."
    if split.decoding:
        return f"The whole image is resized to {side} x {side} pixels (bicubic), whatever its aspect."
    if config.data.name == "fashion_mnist" and side >= FASHION_SIDE:
        return f"Its images of {FASHION_SIDE} x {FASHION_SIDE} pixels were padded with zeros, not resized."
    return "Images of another size were resized as a whole (bilinear)."


def _rests_on(search: Search, devices: list[dict[str, Any]]) -> str:
    limited = [device["status"] for device in devices if device["cost"] in search.budget.names]
    if OVER in limited:
        return OVER
    if PREDICTED in limited:
        return PREDICTED
    return WITHIN if limited else COUNTED


def _devices(search: Search, record: Evaluation) -> list[dict[str, Any]]:
    """Times of a network in milliseconds, one entry per cost that is a time on a device of the search, measured or not."""
    known = search.conditions.get("devices", {})
    own = {cost: found for (digest, cost), found in latest(search.measurements()).items() if digest == record.digest}
    found = []
    for cost in dict.fromkeys((*known, *own)):
        device, measurement = known.get(cost, {}), own.get(cost)
        measured = measurement is not None and measurement.measured is not None
        found.append({
            "cost": cost,
            "device": device.get("device", ""),
            "status": PREDICTED if measurement is None else measurement.said(search.budget),
            "predicted_ms": record.costs.get(cost) if measurement is None else measurement.predicted,
            "measured_ms": measurement.measured if measurement else None,
            "interval_95_ms": [measurement.low, measurement.high] if measurement and measured else None,
            "rounds": measurement.rounds if measurement else 0,
            "noisy": measurement.noisy if measurement else False,
            "time": measurement.time if measurement else "",
            "error_of_predictions_on_held_out_networks": device.get("held_out", {}),
            "fingerprint": device.get("fingerprint", {}),
        })  # fmt: skip
    return found
