"""Every registered part, in every one of its examples, keeps the contract."""

import pytest

from search_spaces import registry
from search_spaces.architecture import Part
from search_spaces.errors import InputError
from search_spaces.testing import PartLaws, cases


@pytest.mark.parametrize("case", cases(), ids=str)
class TestParts(PartLaws):
    pass


@pytest.mark.parametrize("name", ["conv_downsampling", "patch_embedding"])
@pytest.mark.parametrize(("kernel_size", "stride"), [(4, 2), (2, 4), (6, 3), (0, 2)])
def test_even_kernels_of_embeddings_are_strides(name: str, kernel_size: int, stride: int) -> None:
    with pytest.raises(InputError, match="kernel_size is"):
        registry.options("embedding", Part.of(name, kernel_size=kernel_size, stride=stride))
    assert registry.options("embedding", Part.of(name, kernel_size=2, stride=2)).kernel_size == 2
