"""timm's networks as references: trained by the recipe of retraining, shown in the report, taken over, refused where they do not work."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch

from nas.records import RecordError, Reference
from nas.references import make_reference, reference_costs
from nas.store import RunStore
from nas.weights import load_tensors
from search_spaces.errors import InputError
from tests.command_line import SEARCH, Commands

MODEL = "test_resnet"
"""The smallest of timm's residual networks, which it has for its own tests."""


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_reference_is_trained_tested_and_shown(nas: Commands, after: Callable[[str], Path]) -> None:
    place = after("retrain")
    search = place / "run" / SEARCH
    trained = (search / "retrained.jsonl").read_bytes()
    found = nas(
        "retrain", "run=run", f"references=timm/{MODEL}", "seeds=2", "inits=scratch", "points=1", cwd=place
    ).ok()
    assert f"timm-{MODEL}-1" in found.out
    own = [Reference.from_dict(line) for line in lines(search / "references.jsonl")]
    assert [(reference.model, reference.seed) for reference in own] == [(MODEL, 0), (MODEL, 1)]
    assert own[0].test_loss != own[1].test_loss
    assert (search / "retrained.jsonl").read_bytes().startswith(trained)
    network = timm.create_model(MODEL, in_chans=1, num_classes=10)
    assert own[0].costs["params"] == sum(parameter.numel() for parameter in network.parameters())
    load_tensors(RunStore(search), f"references/{MODEL}/retrained-scratch-0.safetensors", network)

    again = (search / "references.jsonl").read_bytes()
    nas("retrain", "run=run", f"references=timm/{MODEL}", cwd=place).ok()
    assert (search / "references.jsonl").read_bytes() == again

    printed = nas("report", "run=run", cwd=place).ok().out
    page = (place / "run" / "report.html").read_text()
    assert f"timm/{MODEL}" in page
    assert f"timm/{MODEL}" in printed
    assert f"{sum(r.test_top1 for r in own) / 2:.3f}" in printed

    # Another search by the same recipe takes it over, weights and all.
    nas("search", "run=run", "name=other", "seed=1", "evaluations=2", cwd=place).ok()
    nas("extract", "run=run", "search=other", cwd=place).ok()
    settings = json.loads((search / "search.json").read_text())["retrain"]
    recipe = [f"{key}={settings[key]}" for key in ("epochs", "batch_size", "lr", "warmup_epochs", "ema")]
    found = nas(
        "retrain",
        "run=run",
        "search=other",
        *recipe,
        "points=1",
        "inits=scratch",
        f"references=timm/{MODEL}",
        cwd=place,
    )
    assert f"timm-{MODEL}-0" in found.ok().out
    assert "taken over from another search" in next(line for line in found.out.splitlines() if line.startswith("timm-"))
    other = place / "run/searches/other"
    assert lines(other / "references.jsonl") == lines(search / "references.jsonl")[:1]
    name = f"references/{MODEL}/retrained-scratch-0.safetensors"
    assert (other / name).read_bytes() == (search / name).read_bytes()


@pytest.mark.parametrize(
    ("references", "words"),
    [
        ("resnet18", "models of timm"),
        ("timm/", "models of timm"),
        ("timm/test_resnot", "timm does not know"),
        ("timm/test_vit,timm/nothing_at_all", "timm does not know"),
        ("timm/levit_128s", "does not work on images of 8 x 8 pixels"),
    ],
)
def test_refused(nas: Commands, after: Callable[[str], Path], references: str, words: str) -> None:
    place = after("extract")
    nas("retrain", "run=run", f"references={references}", cwd=place).refused(words)
    assert not (place / "run" / SEARCH / "references.jsonl").exists()
    assert not (place / "run" / SEARCH / "retrained.jsonl").exists()


def test_models_with_tables_of_positions_get_the_size() -> None:
    with torch.no_grad():
        network = make_reference("test_vit", 3, 7, 64)
        assert network.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
    with pytest.raises(InputError, match="drop_path_rate"):
        make_reference("vgg11", 3, 7, 64, drop_path=0.1)


def test_costs_are_counted_on_the_network() -> None:
    costs = reference_costs("resnet18", 3, 1000, 224)
    assert costs["params"] == 11_689_512  # timm's and torchvision's figure
    assert costs["macs"] == pytest.approx(1.82e9, rel=0.01)  # as published, 1.8 GFLOPs


@pytest.mark.parametrize(("key", "value"), [("model", 3), ("costs", [1]), ("test_top1", 1.5), ("seed", "0")])
def test_a_damaged_line(key: str, value: object) -> None:
    line = Reference(
        model=MODEL, seed=0, costs={"params": 3}, epochs=1, skipped_steps=0, validation_top1=0.5, test_top1=0.5, test_loss=1.0,
        test_images=10,
    ).to_dict()  # fmt: skip
    assert Reference.from_dict(line).to_dict() == line
    with pytest.raises(RecordError, match=key):
        Reference.from_dict(line | {key: value})
