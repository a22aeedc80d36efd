"""Makes the run, the networks or the images of the corpus anew, with the files that this version writes. Inputs of equal numbers are then other ones.

python -m tests.fuzzing.renewing run       # or networks, or images
"""

import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from nas.cli import run
from nas.records import Reference
from nas.records.device_times import DeviceTime
from nas.runs.searches import read_search
from nas.runs.store import RunStore
from nas.runs.weights import save_tensors
from search_spaces.named import check
from search_spaces.space import SearchSpace
from supernet.supernet import Supernet
from tests.command_line import prepare
from tests.fuzzing.targets import images, networks
from tests.fuzzing.targets.runs import CORPUS, LINES, SEARCH

NEUTRAL = {
    "versions": {"python": "3.11.7", "torch": "2.11.0"},
    "machine": {"cpu": "Some CPU", "cores": 2, "memory_gib": 7.8, "threads": 1},
    "commit": "0123456789ab",
    "command": ["nas", "search", "config.toml"],
}
"""In place of what run.json and search.json say of the machine."""


def renew() -> None:
    """Makes the run: trained and searched on digits, with the supernet of its seed."""
    with tempfile.TemporaryDirectory() as name:
        place = prepare(Path(name).resolve())
        words = [str(place / "config.toml"), f"run={place / 'run'}", f"space={place / 'tiny.toml'}"]
        run(["train", *words])
        store = RunStore(place / "run")
        bound = store.read_json("run.json")
        split = store.read_json("split.json")
        space = check(SearchSpace.from_toml(store.read_text("space.toml"), "space.toml"))
        space = space.bind(split["in_channels"], len(split["classes"]), bound["config"]["data"]["resolution"])
        save_tensors(store, "supernet.safetensors", Supernet(space, bound["config"]["seed"]).state_dict(), {})
        for verb in ("search", "extract", "retrain"):
            run([verb, *words])
        _add_records(store)
        shutil.rmtree(CORPUS, ignore_errors=True)
        for file in ("run.json", "space.toml", *(f"{SEARCH}/{name}" for name in ("search.json", *LINES))):
            path = CORPUS / file
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.path(file), path)
        for file in ("run.json", f"{SEARCH}/search.json"):
            about = json.loads((CORPUS / file).read_text())
            about.update({key: value for key, value in NEUTRAL.items() if key in about})
            if "space" in about.get("config", {}):
                about["config"]["space"] = "tiny.toml"
            (CORPUS / file).write_text(json.dumps(about, indent=1) + "\n")


def _add_records(store: RunStore) -> None:
    """Records of kinds that this run would need another model or a profile for."""
    search = read_search(store, SEARCH.rpartition("/")[2])
    network, known = search.retrainings()[0], search.evaluations()[0]
    reference = Reference(
        model="resnet10t", seed=0, costs=dict(known.costs), epochs=1, skipped_steps=0, validation_top1=0.5, test_top1=0.4,
        test_loss=1.5, test_images=network.test_images, times={},
    )  # fmt: skip
    measured = DeviceTime(
        digest=network.digest, cost="latency_ms@laptop", predicted=1.0, measured=1.1, low=1.0, high=1.2, rounds=20,
        device="0123456789ab", noisy=False, time="2026-01-01T00:00:00+00:00", speed=1.0,
    )  # fmt: skip
    store.append(f"{SEARCH}/references.jsonl", reference.to_dict())
    for record in (measured, replace(measured, noisy=True, measured=None, low=None, high=None)):
        store.append(f"{SEARCH}/measured.jsonl", record.to_dict())


if __name__ == "__main__":
    {"run": renew, "networks": networks.renew, "images": images.renew}[sys.argv[1]]()
