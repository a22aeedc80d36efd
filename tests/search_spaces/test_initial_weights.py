"""What layers start from: see the docstring of `search_spaces.layers`."""

import pytest
import torch
from scipy.stats import kstest, truncnorm

from search_spaces.layers import Conv, fill_trunc_normal
from search_spaces.registry import SkipInit


@pytest.mark.parametrize("fan_in", [1, 16, 100])
def test_weights_are_a_truncated_normal(fan_in: int) -> None:
    torch.manual_seed(0)
    found = fill_trunc_normal(torch.empty(200, 300), fan_in) * fan_in**0.5
    assert found.abs().max() <= 2
    assert kstest(found.flatten().double().numpy(), truncnorm(-2, 2).cdf).pvalue > 0.01


def test_each_of_many_small_tensors_is_within_the_limits() -> None:
    """In one of 22 draws the first number is beyond them, and in one of 480 the second."""
    torch.manual_seed(0)
    found = torch.cat([fill_trunc_normal(torch.empty(1), 4) for _ in range(3000)])
    assert found.abs().max() <= 1
    assert len(found.unique()) > 2990


def test_a_seed_gives_the_same_weights_and_a_view_is_filled() -> None:
    whole = torch.zeros(2, 3, 4)
    torch.manual_seed(5)
    view = fill_trunc_normal(whole[:, 1], 4)
    torch.manual_seed(5)
    assert torch.equal(view, fill_trunc_normal(torch.empty(2, 4), 4))
    assert torch.equal(whole[:, 1], view)
    assert not whole[:, [0, 2]].any()


def test_nothing_is_drawn_where_there_are_no_values() -> None:
    state = torch.get_rng_state()
    with SkipInit():
        assert torch.equal(fill_trunc_normal(torch.full((3,), 7.0), 4), torch.full((3,), 7.0))
    with torch.device("meta"):
        assert Conv(3, 4).weight.is_meta
        with pytest.raises(ZeroDivisionError), SkipInit():  # a part without inputs is found before it has weights
            fill_trunc_normal(torch.empty(3), 0)
    assert torch.equal(torch.get_rng_state(), state)
