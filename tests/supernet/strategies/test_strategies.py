"""Every strategy that comes with the project keeps the laws, and each is what its paper says."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from search_spaces.errors import InputError
from supernet.recipe import Recipe
from supernet.steps import Moment
from supernet.strategies import NAMES, class_of
from supernet.strategies.sandwich import Sandwich
from supernet.strategies.single_path import SinglePath
from supernet.strategy import Strategy, options_of
from supernet.supernet import Supernet
from supernet.testing import StrategyLaws, batches, moments, small_space


@pytest.mark.parametrize("strategy", [class_of(name) for name in NAMES], ids=NAMES)
class TestStrategies(StrategyLaws):
    pass


def test_the_strategies_are_the_files() -> None:
    assert {"sandwich", "single_path"} <= {*NAMES}
    assert class_of("single_path") is SinglePath
    assert all(issubclass(class_of(name), Strategy) for name in NAMES)


def single_path() -> SinglePath:
    return SinglePath(small_space(), SinglePath.Options(), recipe=Recipe(label_smoothing=0.2), seed=3)


def test_single_path_draws_every_choice_equally_often() -> None:
    made, counts = single_path(), Counter[tuple[str, object]]()
    for step in range(600):
        (arch,) = made.draw(Moment(step, 600, 10))
        counts[("width", arch.stages[0].width)] += 1
        counts[("depth", len(arch.stages[0].blocks))] += 1
        counts[("mixer", arch.stages[0].blocks[0].mixer.name)] += 1
    assert len(counts) == 6
    assert all(240 < count < 360 for count in counts.values()), counts


def test_single_path_learns_labels_with_one_network() -> None:
    made, moment = single_path(), moments()[0]
    images, labels = next(iter(batches(small_space()).of(0, 0)))
    supernet, reference = Supernet(small_space()).train(), Supernet(small_space()).train()
    torch.manual_seed(0)
    logged = made.step(supernet, images, labels, moment)
    torch.manual_seed(0)
    loss = F.cross_entropy(reference(images, made.draw(moment)[0]), labels, label_smoothing=0.2)
    loss.backward()
    assert logged["loss"] == loss.detach()
    for one, other in zip(supernet.parameters(), reference.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            assert torch.equal(one.grad, other.grad)


@pytest.mark.parametrize(
    ("strategy", "values", "words"),
    [
        (Sandwich, {"random_path": 2}, ("random_path", "instead: random_paths=2")),
        (Sandwich, {"random_paths": "many"}, ("'many'", "a whole number")),
        (Sandwich, {"random_paths": -1}, ("-1", "0 or more")),
        (Sandwich, {"distill": 2}, ("2", "from 0 to 1")),
        (Sandwich, {"largest_only_epochs": -1.0}, ("-1.0", "0 or more")),
        (SinglePath, {"paths": 2}, ("paths", "no options")),
    ],
)
def test_options_that_cannot_be_used(
    strategy: type[Strategy], values: dict[str, object], words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as caught:
        options_of(strategy, values)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_options_are_checked_and_have_defaults() -> None:
    assert options_of(Sandwich, {"distill": 1}) == Sandwich.Options(distill=1.0)
    assert options_of(SinglePath, {}) == SinglePath.Options()
