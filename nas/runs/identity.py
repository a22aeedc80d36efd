"""What run.json says that a run is: the types and ranges that whoever reads it counts on. Standard library only.

A run of `nas ablate` has its rows there and no space; what newer versions added may be missing.
"""

import re
from collections.abc import Mapping
from typing import Any

from nas.records.shapes import A_DIGEST, Entries, Items, Maybe, Number, Plain, Shape, Table, Text, Whole

PARTS = ("train", "validation", "test")

FILES = Entries(A_DIGEST, Text(10_000))
"""By path, what a run or search used: see `nas.runs.inputs`."""

CONDITIONS: Mapping[str, Shape] = {
    "versions": Entries(Text(200)),
    "machine": Table({"cpu": Text(200), "cores": Whole(), "threads": Whole(), "memory_gib": Maybe(Number())}),
    "commit": Maybe(Text(200)),
    "command": Items(Text(1_000_000)),
}
"""How run.json and search.json say what made them."""

_NAME, _DIGITS = Text(1000), Text(1_000_000, re.compile("[0-9]+"))


def _for_parts(shape: Shape) -> Table:
    return Table(dict.fromkeys(PARTS, shape))


_LEFT_OUT = Table({"what": _NAME, "why": _NAME, "first": Text(), "count": Whole(1), "part": Maybe(_NAME)})

_SHARE = Table({
    "place": _NAME, "fresh": Items(_NAME), **dict.fromkeys(("tensors", "whole", "partly", "weights", "taken"), Whole()),
})  # fmt: skip

_SHAPE = Table({
    "config": Table({"seed": Whole(0, 10**30), "data": Table({"name": _NAME})}),
    "space_digest": Text(12), "split_digest": A_DIGEST, "split_sizes": _for_parts(Whole(1)), "classes": Items(_NAME, 1), **CONDITIONS,
}, {
    "space_name": _NAME, "space_size": _DIGITS, "whole_space": Table({"digest": A_DIGEST, "size": _DIGITS}), "files": FILES,
    "init": Table({
        "path": Text(), "what": Text(), "digest": Text(200), "member": Maybe(A_DIGEST), "shares": Items(_SHARE, 1), "left": Items(_NAME),
        "left_weights": Whole(),
    }),
    "ablation": Items(Table({"name": _NAME, "identity": _NAME})),
})  # fmt: skip

_IMAGES = Table({"origins": _for_parts(Text()), "counts": _for_parts(Items(Whole())), "left_out": Items(_LEFT_OUT)})


class Identity:
    """The shape of run.json."""

    def fault(self, value: Any, where: str) -> str:
        wrong = _SHAPE.fault(value, where) or Plain().fault(value["config"], "config")
        if not wrong and "ablation" not in value:
            wrong = next((key for key in ("space_name", "space_size") if key not in value), "")
        if not wrong and value.get("images"):
            wrong = _IMAGES.fault(value["images"], "images") or _classes_fault(value)
        return wrong


def _classes_fault(about: Mapping[str, Any]) -> str:
    """Where the images of each class are counted for other classes or parts than there are."""
    counts = about["images"]["counts"]
    if counts.keys() != set(PARTS):
        return "images.counts"
    return next((f"images.counts.{part}" for part in PARTS if len(counts[part]) != len(about["classes"])), "")
