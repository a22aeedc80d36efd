"""What every strategy of supernet training promises.

Each law trains or draws from a small space of four operators in two places, with batch norms and dropout; `space` of a subclass may give
another one.
"""

import copy
import random
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.costs.macs import macs
from search_spaces.limits import outside
from search_spaces.named import check
from search_spaces.narrowing import narrowed
from search_spaces.space import SearchSpace
from supernet.fitting import Fit
from supernet.loop import Batches, Report, fit
from supernet.optimisation import Optimisation
from supernet.recipe import Recipe
from supernet.steps import Moment
from supernet.strategy import Strategy
from supernet.supernet import Supernet

STEPS, PER_EPOCH, BATCH = 6, 3, 8


@cache
def small_space() -> SearchSpace:
    """A space whose supernet trains in milliseconds."""
    return check(
        SearchSpace.from_dict(
            {
                "name": "small", "in_channels": 2, "num_classes": 4, "resolution": 8,
                "head": {"part": "linear_head", "dropout": 0.1},
                "stages": [
                    {
                        "width": [8, 16], "depth": [1, 2], "embedding": {"part": "conv_stem", "stride": 2},
                        "position": {"part": "none"}, "norm": {"part": "layer_norm"}, "scale": {"part": "none"},
                        "mixer": [
                            {"part": "depthwise_conv", "kernel_size": [3, 5]},
                            {"part": "global_attention", "head_dim": 4},
                        ],
                        "ffn": [{"part": "mlp", "ratio": [1, 2]}, {"part": "ms_ffn", "ratio": 1}],
                    }
                ],
            }
        )
    )  # fmt: skip


def moments() -> list[Moment]:
    """Those of a short training."""
    return [Moment(step, STEPS, PER_EPOCH) for step in range(STEPS)]


def batches(space: SearchSpace, part: int = 0, parts: int = 1) -> Batches:
    """Random images and labels that depend on the step alone.

    Args:
        part, parts: which shard of each batch, and of how many.
    """

    def of(epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        for number in range(first, PER_EPOCH):
            source = torch.Generator().manual_seed(epoch * PER_EPOCH + number)
            images = torch.randn(BATCH, space.in_channels, space.resolution, space.resolution, generator=source)
            labels = torch.randint(0, space.num_classes, (BATCH,), generator=source)
            own = slice(BATCH * part // parts, BATCH * (part + 1) // parts)
            yield images[own], labels[own]

    return Batches(BATCH, PER_EPOCH, of)


class Memory:
    """A watcher that keeps what it is told.

    Args:
        state: from which the training resumes; None to start from the beginning.
        stop: step behind whose checkpoint the training ends as if it were killed; 0 for none.
    """

    class Stopped(Exception):
        """The training was to end here."""

    def __init__(self, state: dict[str, Any] | None = None, stop: int = 0) -> None:
        self.state, self.stop = state, stop
        self.reports: list[Report] = []

    def begin(self, optimisation: Optimisation, total: int) -> None:
        if self.state is not None:
            optimisation.load_state_dict(self.state)

    def report(self, report: Report) -> None:
        self.reports.append(report)

    def save(self, optimisation: Optimisation) -> None:
        if optimisation.step_count == self.stop:
            self.state = copy.deepcopy(optimisation.state_dict())
            raise self.Stopped


def reached(supernet: Supernet, archs: Iterable[Architecture]) -> dict[str, Tensor]:
    """For each parameter of a supernet that some of the networks borrow, where they do: 1 there, 0 elsewhere."""
    mask = copy.deepcopy(supernet)
    with torch.no_grad():
        for parameter in mask.parameters():
            parameter.zero_()
        for arch in archs:
            for borrowed in mask.weights(arch, buffers=False).values():
                borrowed.fill_(1)
    return {name: parameter.detach() for name, parameter in mask.named_parameters() if parameter.any()}


def same(one: Any, other: Any) -> bool:
    """Whether two states of training are bitwise equal."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


class StrategyLaws:
    """What every strategy keeps. `strategy`, the argument of each test, is its class."""

    recipe = Recipe(epochs=STEPS // PER_EPOCH, batch_size=BATCH, lr=0.01, warmup_epochs=1.0, checkpoint_steps=1)

    @property
    def space(self) -> SearchSpace:
        """The space that is trained."""
        return small_space()

    def made(self, strategy: type[Strategy], seed: int = 0, limits: Fit | None = None) -> Strategy:
        """The strategy with its default options."""
        space = self.space if limits is None else limits.space
        return strategy(space, strategy.Options(), recipe=self.recipe, seed=seed, fit=limits)

    def test_draws_depend_on_the_seed_and_the_step_alone(self, strategy: type[Strategy]) -> None:
        one, again, other = self.made(strategy), self.made(strategy), self.made(strategy, seed=1)
        random.seed(1)
        torch.manual_seed(1)
        forwards = [one.draw(moment) for moment in moments()]
        random.seed(2)
        torch.manual_seed(2)
        backwards = [again.draw(moment) for moment in reversed(moments())]
        assert forwards == backwards[::-1]
        assert forwards != [other.draw(moment) for moment in moments()], "the seed makes no difference"

    def test_draws_are_members(self, strategy: type[Strategy]) -> None:
        made = self.made(strategy)
        for moment in moments():
            drawn = made.draw(moment)
            assert 1 <= len(drawn) <= made.paths
            assert all(map(self.space.contains, drawn))

    def test_draws_are_within_the_budget(self, strategy: type[Strategy]) -> None:
        least, most = (macs(arch) for arch in (self.space.smallest(macs), self.space.largest(macs)))
        limits = {"macs": (None, (2 * least + most) // 3)}
        made = self.made(strategy, limits=Fit(narrowed(self.space, limits), limits))
        excess = outside(limits)
        for step in range(10):
            drawn = made.draw(Moment(step, STEPS, PER_EPOCH))
            assert all(excess(arch) <= 0 for arch in drawn), f"step {step}"

    def test_gradients_are_where_sub_networks_are(self, strategy: type[Strategy]) -> None:
        made, supernet = self.made(strategy), Supernet(self.space).train()
        for moment in moments()[-2:]:
            supernet.zero_grad(set_to_none=True)
            images, labels = next(iter(batches(self.space).of(0, PER_EPOCH - 1)))
            torch.manual_seed(moment.step)
            logged = made.step(supernet, images, labels, moment)
            where = reached(supernet, made.draw(moment))
            found = {name: p.grad for name, p in supernet.named_parameters() if p.grad is not None}
            assert found, "no gradients"
            assert found.keys() <= where.keys(), (
                f"a gradient of {min(found.keys() - where.keys())}, which no network has"
            )
            assert any(bool(gradient.any()) for gradient in found.values())
            for name, gradient in found.items():
                assert not gradient[where[name] == 0].any(), f"a gradient of a part of {name} that no network has"
            assert logged, "nothing to log"
            for name, value in logged.items():
                assert value.dim() == 0, f"{name} is no single number"
                assert bool(value.isfinite()), f"{name} is not finite"

    def test_shards_add_up_to_the_batch(self, strategy: type[Strategy]) -> None:
        """The gradient of a batch is the mean of its shards' gradients, without what looks at the whole batch or draws for each image."""
        space = self.space.to_dict()
        for stage in space["stages"]:
            stage["embedding"] = [{"part": "conv_stem", "stride": [2], "norm": ["layer_norm"]}]
            stage["ffn"] = [{"part": "mlp", "ratio": [1, 2]}]
        space["head"] = [{"part": "linear_head"}]
        plain = check(SearchSpace.from_dict(space))
        made = strategy(plain, strategy.Options(), recipe=self.recipe, seed=0)
        moment = moments()[-1]
        gradients = []
        for part, parts in ((0, 1), (0, 2), (1, 2)):
            supernet = Supernet(plain).train()
            images, labels = next(iter(batches(plain, part, parts).of(0, 0)))
            made.step(supernet, images, labels, moment)
            gradients.append({name: p.grad for name, p in supernet.named_parameters() if p.grad is not None})
        whole, one, other = gradients
        assert whole.keys() == one.keys() == other.keys()
        for name, gradient in whole.items():
            torch.testing.assert_close((one[name] + other[name]) / 2, gradient, rtol=1e-4, atol=1e-6)

    def test_a_resumed_training_is_the_undisturbed_one(self, strategy: type[Strategy]) -> None:
        def train(memory: Memory, seed: int = 0) -> Supernet:
            supernet = Supernet(self.space, seed)
            made = self.made(strategy)
            fit(supernet, batches(self.space), made.step, self.recipe, seed=0, watcher=memory)
            return supernet

        calm, killed = Memory(), Memory(stop=4)
        whole = train(calm)
        try:
            train(killed)
        except Memory.Stopped:
            pass
        else:
            raise AssertionError("training did not save its state")
        resumed = Memory(killed.state)
        found = train(resumed, seed=1)
        assert same(found.state_dict(), whole.state_dict())
        for one, other in zip([*killed.reports, *resumed.reports], calm.reports, strict=True):
            assert (one.step, one.losses, one.lr, one.grad_norm) == (
                other.step,
                other.losses,
                other.lr,
                other.grad_norm,
            )
