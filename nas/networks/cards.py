"""card.json: what is known of an extracted network, beside its files: costs, accuracy, and times on devices, predicted and measured."""

from typing import Any

from nas.goals.selection import Selected
from nas.records import Evaluation
from nas.records.device_times import OVER, PREDICTED, WITHIN, latest
from nas.runs.searches import Search

CARD = "card.json"

COUNTED = "counted"
"""What `within_budget` rests on where no time on a device is limited."""


def card_of(search: Search, entry: Selected) -> dict[str, Any]:
    """The card of a network that a search selected, as plain JSON.

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
