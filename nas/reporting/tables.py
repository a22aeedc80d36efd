"""The tables of a run: front.csv, trials.csv, and the text that `nas demo` ends with. pandas is imported here alone."""

from collections.abc import Iterable, Mapping
from typing import Any

from nas.reporting.findings import INITS, ROLES, Findings, Network, Trial, collect
from nas.reporting.words import compact, plain, shorten
from nas.store import RunStore
from search_spaces.architecture import Architecture

_RETRAINED_COLUMNS = {
    "test_top1_mean": "mean test top-1 over the seeds, in [0, 1]",
    "test_top1_min": "lowest test top-1 of the seeds, in [0, 1]",
    "test_top1_max": "highest test top-1 of the seeds, in [0, 1]",
    "validation_top1_mean": "mean search-validation top-1 over the seeds, in [0, 1]",
    "seeds": "number of seeds",
}

FRONT_COLUMNS: dict[str, str] = {
    "digest": "first 12 hexadecimal digits of the SHA-256 of the architecture",
    "role": f"why the network is listed, joined by +: {', '.join(ROLES)}",
    "sampler": "what proposed the network first: a sampler, or the kind of baseline",
    "within_budget": "true if macs is no more than the budget, or if there is none",
    "macs": "fused multiply-adds of one image (the papers' FLOPs)",
    "params": "number of trainable parameters",
    "depth": "number of blocks in all stages",
    "depths": "blocks of each stage, joined by |",
    "widths": "channels of each stage, joined by |",
    "mixers": "token mixer of each block; blocks joined by a space, stages by |",
    "inherited_validation_top1": "search-validation top-1 with inherited weights, in [0, 1]; chose the front",
    "inherited_validation_loss": "search-validation cross-entropy with inherited weights, in nats",
    "validation_images": "search-validation images behind inherited_validation_top1",
    **{f"scratch_{name}": f"retrained from scratch: {text}" for name, text in _RETRAINED_COLUMNS.items()},
    **{f"inherited_init_{name}": f"retrained from inherited: {text}" for name, text in _RETRAINED_COLUMNS.items()},
    "test_images": "test images behind each test top-1",
}
"""Columns of front.csv, one row a reported network, and their meaning. A value that does not exist (yet) is empty."""

TRIAL_COLUMNS: dict[str, str] = {
    "n": "number of the evaluation in the run",
    "sampler": "what proposed the network: a sampler, or the kind of baseline",
    "trial": "number of the proposal of that sampler",
    "digest": FRONT_COLUMNS["digest"],
    "within_budget": FRONT_COLUMNS["within_budget"],
    "on_front": "true if this evaluation is on the front of all samplers",
    "on_sampler_front": "true if this evaluation is on the front of its own sampler",
    "macs": FRONT_COLUMNS["macs"],
    "params": FRONT_COLUMNS["params"],
    "depth": FRONT_COLUMNS["depth"],
    "depths": FRONT_COLUMNS["depths"],
    "widths": FRONT_COLUMNS["widths"],
    "mixers": FRONT_COLUMNS["mixers"],
    "top1": FRONT_COLUMNS["inherited_validation_top1"].split(";")[0],
    "loss": FRONT_COLUMNS["inherited_validation_loss"],
    "images": "search-validation images behind top1",
}
"""Columns of trials.csv, one row an evaluation, oldest first, and their meaning."""


def front_csv(found: Findings) -> str:
    """front.csv: one row a reported network."""
    return _csv((_front_row(network, found) for network in found.networks), FRONT_COLUMNS)


def trials_csv(found: Findings) -> str:
    """trials.csv: one row an evaluation, oldest first."""
    return _csv((_trial_row(trial, found) for trial in found.trials), TRIAL_COLUMNS)


def _front_row(network: Network, found: Findings) -> dict[str, Any]:
    row: dict[str, Any] = {
        "digest": network.digest,
        "role": "+".join(network.roles),
        "within_budget": _yes(found.within(network.macs)),
        "macs": network.macs,
        "params": network.params,
        **_shape(network.architecture),
    }
    if network.inherited:
        row |= {
            "sampler": network.inherited.sampler,
            "inherited_validation_top1": network.inherited.top1,
            "inherited_validation_loss": network.inherited.loss,
            "validation_images": network.inherited.images,
        }
    for init, prefix in (("scratch", "scratch"), ("inherited", "inherited_init")):
        result = network.results.get(init)
        row[f"{prefix}_seeds"] = len(result.repeats) if result else 0
        if result:
            row |= {
                f"{prefix}_test_top1_mean": result.mean,
                f"{prefix}_test_top1_min": min(result.tests),
                f"{prefix}_test_top1_max": max(result.tests),
                f"{prefix}_validation_top1_mean": result.validation,
                "test_images": result.images,
            }
    return row


def _trial_row(trial: Trial, found: Findings) -> dict[str, Any]:
    return {
        **{name: getattr(trial, name) for name in TRIAL_COLUMNS if name in Trial.__slots__},
        **_shape(trial.architecture),
        "within_budget": _yes(found.within(trial.macs)),
        "on_front": _yes(any(trial is other for other in found.front)),
        "on_sampler_front": _yes(any(trial is other for other in found.fronts.get(trial.sampler, ()))),
    }


def _shape(arch: Architecture) -> dict[str, Any]:
    """The columns that describe an architecture."""
    return {
        "depth": arch.depth,
        "depths": "|".join(str(len(stage.blocks)) for stage in arch.stages),
        "widths": "|".join(str(stage.width) for stage in arch.stages),
        "mixers": "|".join(" ".join(block.mixer.name for block in stage.blocks) for stage in arch.stages),
    }


def _yes(value: bool) -> str:
    return "true" if value else "false"


def _csv(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    import pandas as pd

    # Objects keep whole numbers whole beside empty cells, and floats print in full.
    table = pd.DataFrame(list(rows), columns=list(columns), dtype=object)
    return plain(table.to_csv(index=False, lineterminator="\n"))


def table(store: RunStore) -> str:
    """The networks of the front and the baselines as aligned plain text, no line longer than 100 characters.

    Raises:
        InputError: nothing has been evaluated yet, or a file is damaged.
    """
    found = collect(store)
    rows = [["network", "role", "MACs", "params", "search-val", *INITS, "blocks x width"]]
    for network in found.networks:
        results = [network.results.get(init) for init in INITS]
        rows.append(
            [
                shorten(network.digest, 12),
                shorten("+".join(network.roles), 26),
                compact(network.macs),
                compact(network.params),
                f"{network.inherited.top1:.3f}" if network.inherited else "-",
                *(f"{result.mean:.3f} ({len(result.repeats)})" if result else "-" for result in results),
                " ".join(f"{len(stage.blocks)}x{stage.width}" for stage in network.architecture.stages),
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    rest = 100 - sum(widths) - 2 * len(widths)
    lines = []
    for row in rows:
        cells = [
            text.ljust(w) if k < 2 else text.rjust(w) for k, (text, w) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join([*cells, shorten(row[-1], rest)]))
    lines.insert(1, "-" * max(map(len, lines)))
    images = found.trials[0].images
    lines += ["", f"search-val: top-1 on {images} search-validation images with inherited weights; it chose the front."]
    if found.inits:
        lines.append("scratch, inherited: mean test top-1 after retraining from that start (number of seeds).")
    else:
        lines.append("scratch, inherited: test top-1 after retraining; nothing is retrained yet.")
    return "\n".join(lines) + "\n"
