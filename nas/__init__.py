"""Neural architecture search over hybrid token mixers for vision: what a user runs.

    from nas import load_config, train, search, extract, retrain, report, demo, load_network

Each verb of the command line is the function of the same name; torch and optuna are imported when one is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.commands.ablate import ablate as ablate
    from nas.commands.bench import bench as bench
    from nas.commands.convert import convert as convert
    from nas.commands.cost import cost as cost
    from nas.commands.demo import demo as demo
    from nas.commands.dense import dense as dense
    from nas.commands.evaluate import evaluate as evaluate
    from nas.commands.export import export as export
    from nas.commands.extract import extract as extract
    from nas.commands.models import models as models
    from nas.commands.profile import profile as profile
    from nas.commands.report import report as report
    from nas.commands.retrain import retrain as retrain
    from nas.commands.search import search as search
    from nas.commands.study import study as study
    from nas.commands.train import train as train
    from nas.config import Config as Config
    from nas.config.parsing import load_config as load_config
    from nas.runs.weights import load_network as load_network

_WHERE = {
    "Config": "nas.config",
    "load_config": "nas.config.parsing",
    "train": "nas.commands.train",
    "search": "nas.commands.search",
    "export": "nas.commands.export",
    "extract": "nas.commands.extract",
    "load_network": "nas.runs.weights",
    "retrain": "nas.commands.retrain",
    "report": "nas.commands.report",
    "demo": "nas.commands.demo",
    "ablate": "nas.commands.ablate",
    "study": "nas.commands.study",
    "bench": "nas.commands.bench",
    "convert": "nas.commands.convert",
    "cost": "nas.commands.cost",
    "dense": "nas.commands.dense",
    "evaluate": "nas.commands.evaluate",
    "models": "nas.commands.models",
    "profile": "nas.commands.profile",
}

__all__ = [
    "Config", "ablate", "bench", "convert", "cost", "demo", "dense", "evaluate", "export", "extract", "load_config", "load_network", "models", "profile", "report", "retrain", "search",
    "study", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nas.machine.garbage import importing  # here, as `import nas` alone imports next to nothing

    with importing():
        return getattr(importlib.import_module(_WHERE[name]), name)
