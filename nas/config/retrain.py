"""The section `retrain` of the configuration. Standard library only."""

from dataclasses import dataclass

from nas.config.keys import at_least, check_recipe, fraction, key
from nas.config.timm_recipe import TimmRecipe, check_timm_recipe
from search_spaces.errors import InputError, unknown


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrainConfig(TimmRecipe):
    """How winners and baselines are trained as stand-alone networks: one recipe for all of them."""

    recipe: str = key(
        "",
        "a named recipe (nas recipes), such as transxnet/small, or the path of a TOML file of one: it gives all keys of the recipe, and keys beside "
        "it change them",
    )
    ema: float = key(0.99, "decay of the moving average of the weights, which is tested, with a warm-up; 0 for none")
    checkpoint_steps: int = key(200, "steps between checkpoints")
    points: int = key(
        5, "networks of the Pareto front that are retrained, spread over its costs; the best of them is always included"
    )
    inits: tuple[str, ...] = key(
        ("scratch", "inherited"), "initialisations: scratch (fresh weights), inherited (extracted weights)"
    )
    seeds: int = key(1, "repeats of each with other seeds, to show the spread")
    references: tuple[str, ...] = key(
        (),
        "models of timm that are trained from fresh weights by the same recipe and shown beside the Pareto front: timm/resnet18",
    )
    jobs: int = key(0, "networks trained at the same time, each with one thread; 0 takes the number of cores")
    processes: int = key(
        1,
        "processes that train each network together, each with a shard of every batch; torchrun starts them, and says how many. Results depend on "
        "it: sums are rounded differently, batch norms normalise over their own shard, and stochastic depth is drawn by each process",
    )
    drop_path: float = key(
        0.0, "stochastic depth rate of the last block; the rate rises linearly from 0 at the first block"
    )
    estimate: bool = key(
        False,
        "train nothing: measure a few steps of each network on this device, and print the hours and the memory that the whole training takes",
    )

    def __post_init__(self) -> None:
        check_recipe(self)
        at_least(self, points=1, seeds=1, jobs=0, processes=1)
        fraction(self, "drop_path")
        check_timm_recipe(self)
        if self.processes > self.batch_size // 2:
            raise InputError(
                f"retrain.processes is {self.processes} and retrain.batch_size is {self.batch_size}",
                f"1 to {self.batch_size // 2} processes: each has at least two images of every step",
                f"retrain.batch_size={2 * self.processes}",
            )
        for name in self.inits:
            if name not in ("scratch", "inherited"):
                raise unknown("init", name, ("scratch", "inherited"), "retrain.inits={}")
        for name in self.references:
            if not name.startswith("timm/") or name == "timm/":
                raise InputError(
                    f"retrain.references has {name!r}", "models of timm", "retrain.references=timm/resnet18"
                )
        if not self.inits or len(set(self.inits)) != len(self.inits):
            raise InputError(
                f"retrain.inits are {list(self.inits)}", "scratch, inherited or both", "retrain.inits=scratch"
            )
