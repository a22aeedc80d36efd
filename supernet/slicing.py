"""The one slicing rule of the project."""

from collections.abc import Sequence

from torch import Tensor


def slice_like(
    tensor: Tensor, shape: Sequence[int], centred: Sequence[int] = (), trailing: Sequence[int] = ()
) -> Tensor:
    """The view of `tensor` that has `shape`: the leading part of each axis.

    Args:
        centred: axes cut from the middle instead (kernels).
        trailing: axes cut from the end instead (the second side of a moving channel boundary).

    Raises:
        ValueError: `shape` does not fit into the tensor.
    """
    if tensor.shape == tuple(shape):
        return tensor
    if len(shape) != tensor.dim() or any(size > full for size, full in zip(shape, tensor.shape, strict=True)):
        raise ValueError(f"a slice of shape {tuple(shape)} does not fit into {tuple(tensor.shape)}")
    for axis, (size, full) in enumerate(zip(shape, tensor.shape, strict=True)):
        if size != full:
            start = (full - size) // 2 if axis in centred else full - size if axis in trailing else 0
            tensor = tensor.narrow(axis, start, size)
    return tensor
