"""The one schema of evaluations and retrainings, and the one rule of who may win."""

import json
import random
from typing import Any

import pytest

from nas.goals.budget import Budget
from nas.goals.objectives import parse_objectives
from nas.records import BASELINE, GIVEN, SAMPLER, Evaluation, Origin, RecordError, Retraining, eligible
from search_spaces.named import load_space

SPACE = load_space("digits")
ARCH = SPACE.sample(random.Random(0))


def evaluation(**changes: Any) -> Evaluation:
    plain: dict[str, Any] = {
        "n": 3, "origin": Origin(SAMPLER, "tpe"), "trial": 7, "digest": ARCH.digest, "architecture": ARCH,
        "costs": {"macs": 100, "latency_ms": 1.5}, "top1": 0.75, "loss": 1, "images": 40,
    }  # fmt: skip
    return Evaluation(**plain | changes)


RETRAINING = Retraining(
    digest=ARCH.digest, roles=("front", "given"), init="scratch", seed=1, architecture=ARCH, costs={"macs": 100}, epochs=2,
    skipped_steps=0, validation_top1=0.5, test_top1=0.25, test_loss=1.5, test_images=8,
)  # fmt: skip


@pytest.mark.parametrize("record", [evaluation(), evaluation(origin=Origin(GIVEN, "a.json")), RETRAINING])
def test_what_is_written_is_read(record: Evaluation | Retraining) -> None:
    line = json.loads(json.dumps(record.to_dict()))
    assert type(record).from_dict(line) == record
    known = {record.digest: ARCH}
    assert type(record).from_dict(line, known).architecture is ARCH
    assert line["costs"]["macs"] == 100
    assert isinstance(line["costs"]["macs"], int)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("top1", None), ("top1", "0.5"), ("top1", True), ("n", 1.5), ("costs", None), ("costs", {"macs": "1"}), ("digest", 3),
        ("origin", "tpe"), ("origin", {"kind": "oracle", "name": "tpe"}), ("origin", {"kind": "sampler"}),
    ],
)  # fmt: skip
def test_a_line_of_another_version_is_named(key: str, value: object) -> None:
    line = evaluation().to_dict()
    with pytest.raises(RecordError, match=key):
        Evaluation.from_dict(line | {key: value})
    del line[key]
    with pytest.raises(RecordError, match=key):
        Evaluation.from_dict(line)


def test_who_may_win() -> None:
    """What any sampler proposed, once, within every limit and with every objective; neither baselines nor what the user gave."""
    objectives, budget = parse_objectives(["top1", "latency_ms"]), Budget.parse("macs=100")
    good = evaluation(n=0)
    others = [
        evaluation(n=1, origin=Origin(SAMPLER, "my_package.MySampler"), digest="b"),
        evaluation(n=2, digest="c", costs={"macs": 101, "latency_ms": 1}),
        evaluation(n=3, digest="d", costs={"macs": 99}),
        evaluation(n=4, digest="e", costs={"latency_ms": 1}),
        evaluation(n=5, digest="f", origin=Origin(BASELINE, "smallest")),
        evaluation(n=6, digest="g", origin=Origin(GIVEN, "mine.json")),
        evaluation(n=7, origin=Origin(SAMPLER, "random")),
    ]
    assert eligible([good, *others], budget, objectives) == [good, others[0]]
    assert eligible([others[4], good], budget, objectives) == [good]  # a baseline that a sampler proposed too
