"""timm's networks as references: trained by the recipe of retraining, shown in the report, taken over, refused where they do not work."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch

from nas.commands.retrain import retrain
from nas.config.effective import configure
from nas.measuring.fingerprint import fingerprint
from nas.measuring.noise import NoisyMachine
from nas.measuring.timing import Timing
from nas.networks.references import make_reference, reference_costs, reference_model
from nas.records import RecordError, Reference
from nas.runs.store import RunStore
from nas.runs.weights import load_tensors
from nas.runtimes import Setting
from search_spaces.errors import InputError
from search_spaces.named import load_space
from search_spaces.space_units import space_units
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
        ("timm/???", "timm does not know"),
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
    with pytest.raises(InputError, match="drop_path_rate"):  # before anything is trained
        reference_costs("vgg11", 3, 7, 64, drop_path=0.1)


class _Reads(torch.nn.Module):
    """A network that reads values of its input, which the meta device has not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * float(x.sum())


def test_what_does_not_run_without_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.networks.references.fresh_model", lambda *_, **__: _Reads())
    with pytest.raises(InputError, match="timm/reads does not run on the meta device") as error:
        reference_costs("reads", 3, 7, 8)
    assert error.value.instead == "retrain.references=timm/resnet18"


def test_what_is_nearest_to_no_name_at_all() -> None:
    with pytest.raises(InputError, match="timm does not know") as error:
        reference_model("timm/???")
    reference_model(error.value.instead.removeprefix("retrain.references="))


def measurable(place: Path) -> None:
    """Gives the search of a run a profile of this machine, whose time is one of its objectives."""
    setting, unit = Setting(), space_units(load_space("digits"))[0]
    profile = {
        "format": 1, "device": "here", "space": {}, "setting": asdict(setting), "fingerprint": fingerprint(setting), "noisy": False,
        "model": {"base": 0.1, "weights": {"ms": 1.0}}, "errors": {}, "networks": [], "units": [{"ms": 0.5, **unit.to_dict()}],
    }  # fmt: skip
    (place / "here.json").write_text(json.dumps(profile))
    file = place / "run" / SEARCH / "search.json"
    about = json.loads(file.read_text())
    about["search"] |= {"profiles": [str(place / "here.json")], "objectives": ["top1", "macs", "latency_ms@here"]}
    file.write_text(json.dumps(about))


def test_references_are_measured_before_anything_is_trained(
    after: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = after("extract")
    measurable(place)
    monkeypatch.chdir(place)
    timing, found = Timing(2.0, 1.9, 2.2, 1.1, 15, 0.07), []

    def measured(runs: dict[str, Any], noisy: bool, **_: Any) -> Any:
        found.append(list(runs))
        if not noisy:
            raise NoisyMachine(
                "the machine is too noisy to be measured", "a quiet one", "noisy=true measures all the same"
            )
        return SimpleNamespace(timings=dict.fromkeys(runs, timing), noisy=noisy)

    monkeypatch.setattr("nas.networks.references.measure", measured)
    asked = ("run=run", f"references=timm/{MODEL}", "points=1", "inits=scratch", "retrain.epochs=1", "executor=here")
    (asked_for,) = configure("retrain", list(asked))
    with pytest.raises(NoisyMachine) as error:
        retrain(asked_for)
    assert not (place / "run" / SEARCH / "retrained.jsonl").exists()
    advice = error.value.instead.split()[0]
    assert advice == "search.noisy=true"
    # What is advised means the same search, and is kept in the record.
    (advised,) = configure("retrain", [*asked, advice])
    assert advised.search.name == asked_for.search.name
    retrain(advised)
    (line,) = lines(place / "run" / SEARCH / "references.jsonl")
    assert line["costs"]["latency_ms@here"] == 2.0
    assert line["times"] == {"latency_ms@here": {"ms": 2.0, "low": 1.9, "high": 2.2, "rounds": 15, "noisy": True}}
    assert found == [[MODEL], [MODEL]]


def test_costs_are_counted_on_the_network() -> None:
    costs = reference_costs("resnet18", 3, 1000, 224)
    assert costs["params"] == 11_689_512  # timm's and torchvision's figure
    assert costs["macs"] == pytest.approx(1.82e9, rel=0.01)  # as published, 1.8 GFLOPs


@pytest.mark.parametrize(
    ("key", "value"), [("model", 3), ("costs", [1]), ("times", {"latency_ms": 3.0}), ("test_top1", 1.5), ("seed", "0")]
)
def test_a_damaged_line(key: str, value: object) -> None:
    line = Reference(
        model=MODEL, seed=0, costs={"params": 3}, epochs=1, skipped_steps=0, validation_top1=0.5, test_top1=0.5, test_loss=1.0,
        test_images=10,
    ).to_dict()  # fmt: skip
    assert Reference.from_dict(line).to_dict() == line
    assert Reference.from_dict({name: value for name, value in line.items() if name != "times"}).times == {}
    with pytest.raises(RecordError, match=key):
        Reference.from_dict(line | {key: value})
