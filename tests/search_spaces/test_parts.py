"""Every registered part, in every one of its examples, keeps the contract."""

import pytest

from search_spaces import registry
from search_spaces.architecture import Part
from search_spaces.errors import InputError
from search_spaces.testing import Case, PartLaws, cases


def in_full(case: Case) -> bool:
    """Whether every run of the tests exports and traces this example: the last of each part, which has most. Each takes seconds."""
    return case.index == len(case.module_class.examples) - 1


@pytest.mark.parametrize("case", cases(), ids=str)
class TestParts(PartLaws):
    @pytest.mark.parametrize("form", ["part", "inference"])
    def test_export_for_any_size(self, case: Case, form: str) -> None:
        if not in_full(case):
            pytest.skip("in TestMoreExports")
        super().test_export_for_any_size(case, form)

    def test_export(self, case: Case) -> None:
        if not in_full(case):
            pytest.skip("in TestMoreExports")
        super().test_export(case)

    @pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::FutureWarning")
    def test_jit_trace(self, case: Case) -> None:
        if not in_full(case):
            pytest.skip("in TestMoreExports")
        super().test_jit_trace(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in cases() if not in_full(case)], ids=str)
class TestMoreExports(PartLaws):
    """All laws again, with those that others skip."""


@pytest.mark.parametrize("name", ["conv_downsampling", "patch_embedding"])
@pytest.mark.parametrize(("kernel_size", "stride"), [(4, 2), (2, 4), (6, 3), (0, 2)])
def test_even_kernels_of_embeddings_are_strides(name: str, kernel_size: int, stride: int) -> None:
    with pytest.raises(InputError, match="kernel_size is"):
        registry.options("embedding", Part.of(name, kernel_size=kernel_size, stride=stride))
    assert registry.options("embedding", Part.of(name, kernel_size=2, stride=2)).kernel_size == 2
