"""card.json: what is known of an extracted network, beside its files: costs, accuracy, and times on devices, predicted and measured."""

from typing import Any

from nas.records import latest
from nas.searches import Search
from nas.selection import Selected

CARD = "card.json"


def card_of(search: Search, entry: Selected) -> dict[str, Any]:
    """The card of a network that a search selected, as plain JSON.

    Costs and times are of the network as it was evaluated. Merging parallel branches does not change its time on a device, because
    networks are measured in the form for inference, which has them merged.
    """
    record = entry.record
    costs = {cost["name"]: cost for cost in search.costs}
    return {
        "digest": record.digest,
        "search": search.name,
        "roles": list(entry.roles),
        "budget": str(search.budget),
        "within_budget": search.budget.allows(record.costs) and record.digest not in search.refuted(),
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
        "devices": _devices(search, record.digest),
    }  # fmt: skip


def _devices(search: Search, digest: str) -> list[dict[str, Any]]:
    """Times of a network in milliseconds, one entry per cost that was measured or could not be."""
    known = search.conditions.get("devices", {})
    found = []
    for (measured, cost), measurement in latest(search.measurements()).items():
        if measured != digest:
            continue
        device = known.get(cost, {})
        found.append({
            "cost": cost,
            "device": device.get("device", ""),
            "status": measurement.said(search.budget),
            "predicted_ms": measurement.predicted,
            "measured_ms": measurement.measured,
            "interval_95_ms": None if measurement.measured is None else [measurement.low, measurement.high],
            "rounds": measurement.rounds,
            "noisy": measurement.noisy,
            "time": measurement.time,
            "error_of_predictions_on_held_out_networks": device.get("held_out", {}),
            "fingerprint": device.get("fingerprint", {}),
        })  # fmt: skip
    return found
