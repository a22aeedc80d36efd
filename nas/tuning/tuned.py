"""What a `ray.tune.Tuner` needs for a search of a run: see `nas.tuning`."""

from dataclasses import replace
from typing import Any, Self

from nas.config.effective import configure
from nas.executors import check_ray
from nas.runs.run import open_run
from nas.runs.scalars import check_scalars
from nas.runs.settings import absolute
from nas.searching.searching import setup_of
from search_spaces.errors import InputError


class TunedSearch:
    """A search of a run for Ray Tune. Use it in a `with` block, which gives up the run at its end: one process writes a run.

    Every network is validated in full: a trial knows nothing of the others, so candidates are not raced (`search.evaluation=fast`).

    searcher: a `ray.tune.search.Searcher`, for `TuneConfig(search_alg=...)`.
    trainable: for `Tuner(...)` and `Tuner.restore(path, trainable=...)`.

    Args:
        run: the folder of a run whose supernet is trained.
        settings: as after `nas search`, such as "budget=1.5M" or "name=tuned".

    Raises:
        InputError: what `nas search` would refuse of run and settings; candidates are to be raced; Ray is not installed.
    """

    def __init__(self, run: str, *settings: str) -> None:
        check_ray("nas.tuning: executor")
        from nas.tuning.searcher import RunSearcher
        from nas.tuning.trainable import trainable_of

        [config] = configure("search", [f"run={run}", *settings])
        check_scalars(config)
        if config.search.evaluation == "fast":
            raise InputError(
                "nas.tuning: evaluation=fast, which races candidates, and a trial of Ray Tune knows nothing of the other networks",
                "evaluation=exact, with the results of the plain procedure, or evaluation=plain",
                f'TunedSearch("{run}", ..., "evaluation=exact"), or nas search run={run} evaluation=fast executor=ray',
            )
        config = replace(config, search=absolute(config.search))
        opened = open_run(config)
        opened.check_trained()
        self.searcher = RunSearcher(config, opened)
        self.trainable: Any = trainable_of(setup_of(opened), gpus=opened.device.type != "cpu")

    @staticmethod
    def run_config(**settings: Any) -> Any:
        """A `ray.tune.RunConfig` whose trials are not saved at their end, which takes Tune longer than many evaluations and saves nothing.

        Args:
            settings: further ones, such as name and storage_path.
        """
        from ray import tune

        return tune.RunConfig(checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False), **settings)

    def close(self) -> None:
        """Ends the search where it stands, and gives up the run."""
        self.searcher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
