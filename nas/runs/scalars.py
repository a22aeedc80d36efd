"""Scalars for TensorBoard, in `tensorboard/` of the run folder, where `tensorboard=true` asks for them.

    tensorboard/train/                    what train.jsonl has
    tensorboard/search/NAME/SAMPLER/      by evaluations of the sampler: the objectives, its Pareto front, hypervolume and best network
    tensorboard/retrain/NAME/NETWORK/     the loss of a network that trains alone
    tensorboard/retrain/NAME/results/     what retrained.jsonl has, by the order of retraining

They are a copy. Training and search write theirs again from the records whenever a command begins, so that a resumed run neither repeats nor
loses a step; the loss of retraining has no records, and resumes at its checkpoint, from which TensorBoard drops what came after it.
"""

import importlib.util
import math
from collections.abc import Mapping

from nas.config import Config
from nas.goals.standing import Standing
from nas.records import Evaluation
from nas.runs.store import RunStore
from search_spaces.errors import InputError

FOLDER = "tensorboard"


def check_scalars(config: Config) -> None:
    """
    Raises:
        InputError: scalars are asked for, and TensorBoard is not installed.
    """
    if config.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise InputError(
            "tensorboard=true, and the package tensorboard is not installed",
            "an environment with TensorBoard",
            "pip install tensorboard, or the same command without tensorboard=true",
        )


class Scalars:
    """Writes the scalars of one folder; close it at the end.

    Args:
        wanted: whether anything is written at all.
        name: of the folder below `tensorboard/`.
        first: step up to which a resumed training has been kept: scalars up to it stay and later ones are dropped. 0 writes all of it again.
    """

    def __init__(self, wanted: bool, store: RunStore, name: str, first: int = 0) -> None:
        self._writer = None
        if not wanted:
            return
        from torch.utils.tensorboard import SummaryWriter  # half a second that most commands do not need

        folder = store.make_folder(f"{FOLDER}/{name}")
        if not first:
            for left in folder.glob("events.out.tfevents.*"):
                store.remove(f"{FOLDER}/{name}/{left.name}")
        self._writer = SummaryWriter(str(folder), purge_step=first + 1 if first else None)

    def add(self, step: int, values: Mapping[str, float | None]) -> None:
        """Numbers by their tags; those that are unknown or not finite are left out."""
        if self._writer is not None:
            for tag, value in values.items():
                if value is not None and math.isfinite(value):
                    self._writer.add_scalar(tag, value, step)

    def flush(self) -> None:
        """Writes what was added to the disk."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Writes what was added, and closes the file."""
        if self._writer is not None:
            self._writer.close()


class Followed:
    """Scalars of one sampler's evaluations, each as it is evaluated or replayed.

    Args:
        standing: of the sampler alone, before its first evaluation.
    """

    def __init__(self, standing: Standing, scalars: Scalars) -> None:
        self.standing, self.scalars, self.count = standing, scalars, 0

    def add(self, record: Evaluation) -> None:
        """Writes the objectives of the sampler's next evaluation, and how the sampler stands after it."""
        self.count += 1
        self.standing.add(record)
        own = {f"evaluated/{objective.name}": objective.of(record) for objective in self.standing.objectives}
        self.scalars.add(self.count, own | self.standing.shown())

    def close(self) -> None:
        """Closes the file of the scalars. No evaluation may follow."""
        self.scalars.close()
