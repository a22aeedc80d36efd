"""Searches and retraining of a run inside Ray Tune, for those whose experiments live there.

    from ray import tune
    from nas.tuning import TunedSearch

    with TunedSearch("runs/demo", "budget=1.5M", "evaluations=60") as search:
        config = tune.TuneConfig(search_alg=search.searcher, num_samples=-1, reuse_actors=True, max_concurrent_trials=2)
        tune.Tuner(search.trainable, tune_config=config, run_config=search.run_config(name="demo")).fit()

It is the search that `nas search run=runs/demo budget=1.5M evaluations=60` makes: the samplers, the objectives, the limits and the
batches are those of the run's search, and the process that calls `fit` appends the same records to the run. Trials of Tune only
evaluate networks, each of them in full: `evaluation=fast` is refused. `nas extract`, `nas retrain` and `nas report` work on the run afterwards; a search that was stopped is resumed by
either way. No network over the budget becomes a trial.

With `num_samples=-1` the search ends when it has all its evaluations; with another number Tune may stop it earlier.

Networks that were extracted are retrained by `TunedRetraining`, a trial for each. A scheduler such as ASHA stops those that fall behind,
and gives the time to the others:

    from ray.tune.schedulers import ASHAScheduler
    from nas.tuning import TunedRetraining

    with TunedRetraining("runs/demo", "points=6", "epochs=30") as retraining:
        asha = ASHAScheduler(time_attr="epoch", metric="top1", mode="max", max_t=retraining.epochs, grace_period=5)
        config = tune.TuneConfig(scheduler=asha)
        tune.Tuner(retraining.trainable, param_space=retraining.param_space, tune_config=config).fit()

Six points have to be extracted before. Networks that reach their end have the results that `nas retrain run=runs/demo points=6 epochs=30`
gives, and are recorded in the run. Those that were stopped have not been tested; `nas retrain` would train them to their end. Each
network is one trial: `num_samples` stays 1, since two trials of a network would write the same files.
"""

import os

from nas.tuning.retrained import TunedRetraining as TunedRetraining
from nas.tuning.tuned import TunedSearch as TunedSearch

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reads it when it starts; nothing is sent anywhere
