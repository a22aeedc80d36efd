"""The trainables of a run. A trial of Ray Tune evaluates one sub-network with inherited weights on the search-validation images, or trains
one network.
"""

import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ray import tune

from nas.executors.actor import difference, identity
from nas.executors.cluster import cloudpickle
from nas.executors.shared import array_of, pack, unpack, wrapped
from nas.searching.evaluation import Accuracy, EvaluatorSetup, score
from nas.training.jobs import Job
from nas.tuning.searcher import arch_of
from search_spaces.architecture import Architecture
from search_spaces.costs import costs_of
from search_spaces.errors import InputError

Report = Callable[[dict[str, Any]], None]
"""Takes the metrics of a trial."""


class Evaluation(tune.Trainable):
    """Reports top1, loss, images, digest and costs, in one step.

    An actor keeps the supernet and the images from trial to trial, where `reuse_actors=True`.
    """

    def setup(
        self,
        config: dict[str, Any],
        packed: tuple[bytes, Any] | None = None,
        wanted: dict[str, str] | None = None,
    ) -> None:
        """
        Args:
            config: a value for each gene of the space.
            packed: the run's `EvaluatorSetup`, see `trainable_of`.
            wanted: the identity of the process that searches.

        Raises:
            InputError: this node has another version of this project or of what it computes with.
        """
        assert packed is not None
        assert wanted is not None
        check_identity(wanted)
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
        pickled, array = packed
        setup = unpack(pickled, None if array is None else wrapped(array))
        sys.modules["torch"].set_num_threads(1)
        self._space = setup.space
        self.prepare(setup)
        self.reset_config(config)

    def prepare(self, setup: EvaluatorSetup) -> None:
        """Makes what all trials of an actor share."""
        self._evaluator = setup()

    def evaluate(self, arch: Architecture) -> Accuracy:
        """What is to be known of a network."""
        return score(self._evaluator, arch)

    def step(self) -> dict[str, Any]:
        accuracy = self.evaluate(self._arch)
        return {**accuracy._asdict(), "digest": self._arch.digest, "costs": dict(costs_of(self._arch)), "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._arch = arch_of(self._space, new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: a trial is one step."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        return


def check_identity(wanted: dict[str, str]) -> None:
    """
    Args:
        wanted: what `nas.executors.actor.identity` says in the process that searches.

    Raises:
        InputError: this process differs from it, so its results would too.
    """
    theirs, host = identity(), socket.gethostname()
    if different := difference(theirs, wanted):
        raise InputError(
            f"nas.tuning: node {host} has {different} {theirs.get(different)}, and the process that searches has {wanted[different]}",
            "the same versions on all nodes, so that results are equal",
            f"the same environment on {host}, where ray start runs in it",
        )


def trainable_of(setup: EvaluatorSetup, *, gpus: bool, kind: type[Evaluation] = Evaluation) -> Any:
    """A trainable that evaluates with a setup, which is put into the cluster once.

    Args:
        kind: whose trials evaluate.
        gpus: whether each trial needs a GPU; else it needs one processor.
    """
    import torch

    packed = pack(setup, pickler=cloudpickle.CloudPickler, new=torch.UntypedStorage)
    array = None if packed.block is None else array_of(packed.block)
    trainable = tune.with_parameters(kind, packed=(packed.pickled, array), wanted=identity())
    return tune.with_resources(trainable, _resources(gpus))


def _resources(gpus: bool) -> dict[str, float]:
    return {"cpu": 1, "gpu": 1} if gpus else {"cpu": 1}


def trainable_of_jobs(train: Callable[[Job, Report], None], jobs: Mapping[str, Job], *, gpus: bool) -> Any:
    """A trainable of which each trial does the job that `config["job"]` names.

    Args:
        train: does a job and reports, the last time when it is done.
        gpus: whether each trial needs a GPU; else it needs one processor.
    """

    def trial(config: dict[str, Any], jobs: Mapping[str, Job], wanted: dict[str, str], path: tuple[str, ...]) -> None:
        # Plugins are looked for where the caller finds them.
        sys.path[:] = dict.fromkeys([*filter(os.path.exists, path), *sys.path])
        check_identity(wanted)
        train(jobs[config["job"]], tune.report)

    found = tune.with_parameters(trial, jobs=dict(jobs), wanted=identity(), path=tuple(map(os.path.abspath, sys.path)))
    return tune.with_resources(found, _resources(gpus))
