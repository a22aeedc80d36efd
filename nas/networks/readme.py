"""The model card of a network's folder, README.md, as the model hub reads it: made from card.json and config.json alone."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nas.goals.budget import worded
from nas.goals.roles import ROLES
from nas.images import printable
from search_spaces.costs import BUILT_IN

Card = Mapping[str, Any]

LISTED = 50
"""Classes up to which their names are listed."""


def readme_of(card: Card, config: Mapping[str, Any]) -> str:
    """The text of README.md.

    Args:
        card: card.json.
        config: config.json.
    """
    sections = [
        _front_matter(card),
        f"# Network {card['digest']}",
        _about(card),
        _loading(card, config),
        _images(card, config),
        _accuracy(card),
        _costs(card),
        _steps(card),
        _making(card),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _yaml(value: Any) -> str:
    """A scalar: the escapes of JSON are those of YAML's double quotes."""
    return json.dumps(value)


def _front_matter(card: Card) -> str:
    lines = [
        "---", "library_name: timm", f"license: {card['license']}", "pipeline_tag: image-classification",
        "tags:", "- timm", "- image-classification", "- neural-architecture-search", "metrics:", "- accuracy",
        "model-index:", f"- name: {_yaml(card['digest'])}", "  results:",
    ]  # fmt: skip
    for part, value in _scores(card):
        lines += [
            "  - task:", "      type: image-classification",
            "    dataset:", f"      name: {_yaml(card['data']['name'])}", f"      type: {_yaml(card['data']['name'])}", f"      split: {part}",
            "    metrics:", "    - type: accuracy", f"      value: {value}",
        ]  # fmt: skip
    return "\n".join([*lines, "---"])


def _scores(card: Card) -> list[tuple[str, float]]:
    """Top-1 of the weights in the folder, by the part of the data."""
    chosen = _chosen(card)
    if chosen is None:
        return [("search-validation", card["evaluated"]["top1"])]
    return [("search-validation", chosen["validation_top1"]), ("test", chosen["test_top1"])]


def _chosen(card: Card) -> Mapping[str, Any] | None:
    """The retraining whose weights are in the folder; None for extracted weights."""
    weights = card["weights"]
    return next((r for r in card["retrained"] if (r["init"], r["seed"]) == (weights["init"], weights["seed"])), None)


def _about(card: Card) -> str:
    roles = "".join(f"\n- {ROLES[role]}" for role in card["roles"] if role in ROLES)
    return (
        "An image classifier of a neural architecture search over hybrid token mixers, on the data set "
        f"{printable(card['data']['name'])}. `model.safetensors` has {card['weights']['are']}."
        f"\n\nThe network is, in its search:\n{roles}"
    )


def _loading(card: Card, config: Mapping[str, Any]) -> str:
    plugins = "".join(f"import {module}  # has parts of this network\n" for module in card["plugins"])
    return f"""## Load it

```python
import timm
import search_spaces  # from the package hybrid-mixer-nas; registers the architecture with timm
{plugins}
model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()  # or "hf-hub:USER/NAME"
backbone = timm.create_model("local-dir:FOLDER", pretrained=True, features_only=True)
another = timm.create_model("local-dir:FOLDER", pretrained=True, num_classes=5)  # a fresh head
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
```

Without timm: `from nas import load_network; network = load_network("FOLDER")`. Both refuse weights that were not made for the architecture in
`config.json` (network {card["digest"]}); no file of the folder is run as code."""


def _images(card: Card, config: Mapping[str, Any]) -> str:
    given, data = config["pretrained_cfg"], card["data"]
    channels, side, _ = given["input_size"]
    how = data["preprocessing"]
    text = (
        f"## Images\n\n{channels} channel{'s' * (channels != 1)} of {side} x {side} pixels in [0, 1], then normalised with mean "
        f"{_numbers(given['mean'])} and standard deviation {_numbers(given['std'])}. {how}"
    )
    labels = list(map(printable, config.get("label_names", ())))
    shown = ", ".join(f"{number}: {name}" for number, name in enumerate(labels[:LISTED]))
    more = f", and {len(labels) - LISTED:,} more in `config.json`" if len(labels) > LISTED else ""
    return f"{text}\n\nClasses: {shown}{more}."


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _accuracy(card: Card) -> str:
    evaluated = card["evaluated"]
    rows = [("inherited from the supernet", "", f"{evaluated['top1']:.4f}", "")]
    rows += [
        (f"trained alone from {'fresh' if r['init'] == 'scratch' else 'inherited'} weights, {r['epochs']} epochs", str(r["seed"]),
         f"{r['validation_top1']:.4f}", f"{r['test_top1']:.4f} ({r['test_images']:,} images)")
        for r in card["retrained"]
    ]  # fmt: skip
    note = (
        "The network was chosen by its top-1 on search-validation, which is therefore optimistic for inherited weights. "
        "The test part was read once per retraining, at its end."
    )
    head = ("weights", "seed", f"top-1 on {evaluated['images']}", "top-1 on test")
    return f"## Accuracy\n\n{_table(head, rows)}\n\n{note}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def _costs(card: Card) -> str:
    devices = {device["cost"]: device for device in card["devices"]}
    rows = []
    for name, cost in card["costs"].items():
        known = "counted, exact" if name in BUILT_IN else _error(devices.get(name))
        rows.append((worded(name, cost["value"]), cost["about"], known))
    budget = f"Budget of the search: {card['budget']} ({'kept' if card['within_budget'] else 'not kept'}; {card['within_budget_by']})."
    return f"## Costs\n\nFor one image.\n\n{_table(('cost', 'meaning', 'error'), rows)}\n\n{budget}"


def _error(device: Mapping[str, Any] | None) -> str:
    """What is known of the error of a cost."""
    if device is None:
        return "as registered or measured elsewhere; see the report of the search"
    if device["measured_ms"] is not None:
        low, high = device["interval_95_ms"]
        noisy = ", on a noisy machine" if device["noisy"] else ""
        return f"measured {device['measured_ms']:.4g} ms, 95 % interval {low:.4g} to {high:.4g} ms, {device['rounds']} rounds{noisy}"
    held_out = device["error_of_predictions_on_held_out_networks"]
    known = ", ".join(f"{key} {value}" for key, value in held_out.items() if isinstance(value, int | float | str))
    return f"predicted; on networks that were held out: {known}" if known else "predicted"


def _steps(card: Card) -> str:
    parts = []
    for name, steps in card["checked"].items():
        rows = [
            (step["name"], "not finite" if step["difference"] is None else f"{step['difference']:.3g}", f"{step['top1']:.4f}")
            for step in steps
        ]  # fmt: skip
        images = steps[0]["images"] if steps else 0
        head = ("step", "largest difference of a logit from the first step", "top-1")
        parts.append(f"`{name}`, {images:,} images of search-validation:\n\n{_table(head, rows)}")
    return "## The same score at every step\n\n" + "\n\n".join(parts) if parts else ""


def _making(card: Card) -> str:
    recipe = ", ".join(f"{key} {_said(value)}" for key, value in card["recipe"].items())
    versions = ", ".join(f"{name} {version}" for name, version in card["versions"].items())
    commands = "\n".join(card["commands"])
    text = [
        "## How it was made",
        f"```\n{commands}\n```",
        f"Data: {printable(card['data']['name'])}, split {card['data']['split']} ({card['data']['images']}).",
        f"Recipe of retraining: {recipe}." if recipe else "",
        f"Versions: {versions}.",
        f"The software is Apache-2.0; the weights are {card['license']}, and what the data's owners allow holds for them too.",
    ]
    return "\n\n".join(line for line in text if line)


def _said(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)
