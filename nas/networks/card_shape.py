"""What a card.json has to be for those who read it again: `nas export`, which adds steps to it, and retraining, which keeps some."""

from nas.records import INITS
from nas.records.shapes import (
    A_DIGEST,
    ANY_NUMBER,
    SHARE,
    Entries,
    Flag,
    Items,
    Maybe,
    Named,
    Number,
    OneOf,
    Plain,
    Table,
    Text,
    Whole,
)
from search_spaces.costs import is_cost_name

_NAME = Text(1000)

_STEP = Table({"name": _NAME, "difference": Maybe(Number()), "top1": SHARE, "images": Whole()})

_DEVICE = Table({
    "cost": Named(is_cost_name), "measured_ms": Maybe(Number()), "interval_95_ms": Maybe(Items(Number(), 2)), "noisy": Flag(), "rounds": Whole(),
    "error_of_predictions_on_held_out_networks": Entries(Plain()),
})  # fmt: skip

_RETRAINED = Table({
    "init": OneOf(tuple(INITS)), "seed": Whole(), "epochs": Whole(), "validation_top1": SHARE, "test_top1": SHARE, "test_images": Whole(1),
})  # fmt: skip

CARD_SHAPE = Table({
    "digest": A_DIGEST, "roles": Items(_NAME), "budget": _NAME, "within_budget": Flag(), "within_budget_by": _NAME,
    "costs": Entries(Table({"value": ANY_NUMBER, "about": Text()}), Named(is_cost_name)),
    "evaluated": Table({"images": _NAME, "top1": SHARE}), "devices": Items(_DEVICE),
    "weights": Table({"are": Text(), "init": Maybe(_NAME), "seed": Maybe(Whole())}), "retrained": Items(_RETRAINED), "recipe": Entries(Plain()),
    "data": Table({"name": _NAME, "split": _NAME, "images": _NAME, "preprocessing": Text()}),
    "plugins": Items(_NAME), "versions": Entries(_NAME), "commands": Items(Text()), "license": _NAME, "checked": Entries(Items(_STEP)),
})  # fmt: skip
