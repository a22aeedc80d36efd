"""The search algorithm that Ray Tune asks: it passes on what a search of a run wants evaluated.

Its state is the run's records. What Tune saves of it names the run and the search, and restoring it replays the records, as resuming
`nas search` does. It is never a pickle of samplers or studies.
"""

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from nas.config import Config
from nas.runs.run import Run, open_run
from nas.runs.settings import absolute
from nas.samplers.proposer import label
from nas.searching.conduct import conduct
from nas.searching.evaluation import Accuracy
from nas.tuning.handing import Abandoned, Handing
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.files.plain import parse
from search_spaces.space import SearchSpace
from search_spaces.textfiles import read_text


class RunSearcher(Searcher):
    """A `ray.tune.search.Searcher` with several objectives and with limits, which are the run's own: Tune's `metric` and `mode` are not used.

    A suggestion is a value for each gene of the space.

    Args:
        config: of the run, with the search in `search`.
        run: the open run; it is opened when the first network is asked for unless it is given.
    """

    def __init__(self, config: Config, run: Run | None = None) -> None:
        super().__init__()
        self.config = config
        self._run = run
        self._handing: Handing | None = None
        self._thread: threading.Thread | None = None
        self._trials: dict[str, Architecture] = {}

    def __reduce__(self) -> tuple[type["RunSearcher"], tuple[Config]]:
        return RunSearcher, (self.config,)

    def suggest(self, trial_id: str) -> Any:
        """The next network's genes; None until results are there that the next proposals depend on; FINISHED at the end.

        Raises:
            InputError: what `nas search` would refuse.
        """
        try:
            arch = self._started().next()
        except StopIteration:
            self.close()
            return Searcher.FINISHED
        except BaseException:
            self.close()
            raise
        if arch is None:
            return None
        self._trials[trial_id] = arch
        assert self._run is not None
        return genes_of(self._run.space, arch)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Hands a result to the search, which writes its record. A failed network is suggested again.

        After a restart Tune may finish trials that this object has not suggested; the search knows their networks by digest.
        """
        arch = self._trials.pop(trial_id, None)
        if error or not result or "digest" not in result:
            if arch is not None:
                self._started().fail(arch)
            return
        accuracy = Accuracy(**{name: result[name] for name in Accuracy._fields})
        self._started().give(result["digest"], accuracy)

    def save(self, checkpoint_path: str) -> None:
        """Which run and search it is of, as JSON."""
        Path(checkpoint_path).write_text(json.dumps(self._about()))

    def restore(self, checkpoint_path: str) -> None:
        """Checks that it is of the same run and search. The records of the run have the rest.

        Raises:
            InputError: it is of another.
        """
        try:
            was = parse(read_text(checkpoint_path))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{checkpoint_path} is damaged ({error})", "the file as Ray Tune saved it", "begin the experiment again"
            ) from None
        if not isinstance(was, dict) or not {"run", "search"} <= was.keys():
            raise InputError(f"{checkpoint_path} is of no search", "the file as Ray Tune saved it", "begin it again")
        if was != self._about():
            raise InputError(
                f"the experiment of Ray Tune is of search {was['search']} of {was['run']}, not of {self._about()}",
                "the run and the search that it was begun with",
                f'TunedSearch("{was["run"]}", "name={was["search"]}")',
            )

    def close(self) -> None:
        """Ends the search where it stands, and gives up the run. It may be asked again, and resumes then."""
        if self._handing is not None:
            self._handing.close()
        if self._thread is not None:
            self._thread.join()
        self._handing = self._thread = self._run = None
        self._trials.clear()

    def _about(self) -> dict[str, str]:
        return {"run": str(Path(self.config.run).absolute()), "search": self.config.search.title}

    def _started(self) -> Handing:
        """The search at work."""
        if self._handing is None:
            config = replace(self.config, search=absolute(self.config.search))
            run = self._run = self._run or open_run(config)
            handing = self._handing = Handing()
            self._thread = threading.Thread(target=_conduct, args=(run, handing), name="nas-search", daemon=True)
            self._thread.start()
        return self._handing


def _conduct(run: Run, handing: Handing) -> None:
    try:
        conduct(run, handing)
    except Abandoned:
        handing.ended(None)
    except BaseException as error:  # for the thread that asks for networks
        handing.ended(error)
    else:
        handing.ended(None)


def genes_of(space: SearchSpace, arch: Architecture) -> dict[str, Any]:
    """The value of each gene of a network, by the gene's name."""
    genes = zip(space.genes, space.encode(arch), strict=True)
    return {gene.name: label(gene.choices[index]) for gene, index in genes}


def arch_of(space: SearchSpace, values: dict[str, Any]) -> Architecture:
    """The network of such values; other keys are passed over."""
    genes = tuple([label(choice) for choice in gene.choices].index(values[gene.name]) for gene in space.genes)
    return space.decode(genes)
