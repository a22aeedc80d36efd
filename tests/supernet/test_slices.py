"""Slices of tensors: views, leading, centred or trailing on each axis, and errors where they do not fit."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from supernet.slicing import slice_like


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_slices(data: st.DataObject) -> None:
    full = data.draw(st.lists(st.integers(0, 6), max_size=4))
    shape = [data.draw(st.integers(0, size)) for size in full]
    axes = data.draw(
        st.lists(st.sampled_from(["leading", "centred", "trailing"]), min_size=len(full), max_size=len(full))
    )
    tensor = torch.arange(torch.Size(full).numel()).reshape(full)
    centred = tuple(axis for axis, kind in enumerate(axes) if kind == "centred")
    trailing = tuple(axis for axis, kind in enumerate(axes) if kind == "trailing")
    found = slice_like(tensor, shape, centred, trailing)
    assert tuple(found.shape) == tuple(shape)
    assert found.numel() == 0 or found.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr(), "a view"
    for index in itertools.product(*map(range, shape)):
        source = []
        for axis, kind in enumerate(axes):
            left = full[axis] - shape[axis]
            source.append(index[axis] + {"leading": 0, "centred": left // 2, "trailing": left}[kind])
        assert found[index] == tensor[tuple(source)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=3), st.lists(st.integers(0, 6), max_size=3))
def test_slices_that_do_not_fit_are_errors(full: list[int], shape: list[int]) -> None:
    tensor = torch.zeros(full)
    if len(full) == len(shape) and all(one <= other for one, other in zip(shape, full, strict=True)):
        assert tuple(slice_like(tensor, shape).shape) == tuple(shape)
    else:
        with pytest.raises(ValueError, match="does not fit"):
            slice_like(tensor, shape)


def test_the_middle_of_a_kernel() -> None:
    kernel = torch.arange(49).reshape(7, 7)
    assert slice_like(kernel, (3, 3), centred=(0, 1)).tolist() == [[16, 17, 18], [23, 24, 25], [30, 31, 32]]
    assert slice_like(kernel, (3, 3)).tolist() == [[0, 1, 2], [7, 8, 9], [14, 15, 16]]
    assert slice_like(kernel, (3, 2), trailing=(0,), centred=(1,)).tolist() == [[30, 31], [37, 38], [44, 45]]
    assert slice_like(kernel, (7, 7)) is kernel
