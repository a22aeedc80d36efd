"""One training of one row with one seed, as `nas.training` trains networks alone: a job of an executor."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from nas.ablation.rows import Row
from nas.config import Config
from nas.records.shapes import SHARE, Maybe, Number, Table, Text, Whole
from nas.searching.evaluation import Accuracy
from nas.training.jobs import Job, ReferenceJob
from search_spaces.errors import InputError

NAME = "ablation"
"""In the place of a search's name."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A line of ablation.jsonl: one row trained with one seed.

    Args:
        identity: of the network: its digest, or timm/NAME.
        skipped_steps: steps whose gradients were not finite.
        validation_top1, validation_loss: on search-validation.
        test_top1, test_loss, test_images: None while the test images are unread.
    """

    row: str
    seed: int
    identity: str
    epochs: int
    skipped_steps: int
    validation_top1: float
    validation_loss: float
    validation_images: int
    test_top1: float | None = None
    test_loss: float | None = None
    test_images: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As it is written; `Result.read(r.to_dict()) == r`."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @classmethod
    def read(cls, line: Mapping[str, Any]) -> "Result":
        """
        Raises:
            InputError: it is no line of this version.
        """
        names = {entry.name for entry in fields(cls)}
        if wrong := "its keys" if names != set(line) else _SHAPE.fault(line, ""):
            raise InputError(
                f"a line of ablation.jsonl is no result of this version (at {wrong})",
                "lines as nas wrote them",
                "a new folder: run=runs/new",
            )
        return cls(**line)


_SHAPE = Table({
    "row": Text(1000), "identity": Text(1000), "seed": Whole(), "epochs": Whole(), "skipped_steps": Whole(), "validation_top1": SHARE,
    "validation_loss": Number(), "validation_images": Whole(1), "test_top1": Maybe(SHARE), "test_loss": Maybe(Number()),
    "test_images": Maybe(Whole(1)),
})  # fmt: skip


def _result(job: "RowJob | TimmRowJob", skipped: int, validation: Accuracy, test: Accuracy | None) -> Result:
    return Result(
        row=job.row, seed=job.seed, identity=job.digest, epochs=job.config.retrain.epochs, skipped_steps=skipped,
        validation_top1=validation.top1, validation_loss=validation.loss, validation_images=validation.images,
        test_top1=test.top1 if test else None, test_loss=test.loss if test else None, test_images=test.images if test else None,
    )  # fmt: skip


class _OfARow:
    """What a job of a row has in the place of what a job of a search has: names, parts and the result."""

    row: str
    number: int
    tests: bool
    seed: int

    @property
    def name(self) -> str:
        """Its key in the ablation."""
        return f"row{self.number}-{self.seed}"

    @property
    def folder(self) -> str:
        """The row's folder."""
        return folder_of(self.number)

    @property
    def weights(self) -> str:
        """The file of its trained weights in that folder."""
        return f"trained-{self.seed}.safetensors"

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts of the data that it is scored on at its end."""
        return ("validation", "test") if self.tests else ("validation",)

    def record(self, skipped: int, validation: Accuracy, test: Accuracy | None = None) -> Result:
        """What is written down of it."""
        return _result(cast("RowJob", self), skipped, validation, test)

    @staticmethod
    def read(line: Any) -> Result:
        """The inverse of the result's `to_dict`."""
        return Result.read(line)


def folder_of(number: int) -> str:
    """The folder of a row."""
    return f"rows/{number}"


@dataclass(frozen=True)
class RowJob(_OfARow, Job):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A network of this project.

    Args:
        row: its name in the table.
        number: of the row, which names its folder.
        tests: whether the test images are read.
    """

    row: str = ""
    number: int = 0
    tests: bool = True


@dataclass(frozen=True)
class TimmRowJob(_OfARow, ReferenceJob):  # pyright: ignore[reportIncompatibleMethodOverride]
    """A model of timm; see `RowJob`."""

    row: str = ""
    number: int = 0
    tests: bool = True


def job_of(config: Config, row: Row, number: int, seed: int, tests: bool) -> RowJob | TimmRowJob:
    """The training of a row with a seed."""
    if row.arch is None:
        return TimmRowJob(config, NAME, row.model, row.costs, seed, row=row.name, number=number, tests=tests)
    return RowJob(
        config, NAME, row.arch.digest, (row.name,), row.arch, row.costs, "scratch", seed, row=row.name, number=number, tests=tests
    )  # fmt: skip
