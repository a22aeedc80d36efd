"""TransXNet's block, stem, downsampling and head against the closed forms that were verified on the authors' code."""

import pytest

from search_spaces import registry
from search_spaces.architecture import Part
from search_spaces.costs.pieces import part_cost


def transxnet_block(dim: int, stride: int, groups: int) -> list[tuple[str, Part, int]]:
    """The parts of a block and how often they stand in it."""
    mixer = Part.of("d_mixer", head_dim=dim // 2 // (dim // 48), sr_ratio=stride, kernel_size=7, num_groups=groups)
    return [
        ("position", Part.of("dpe", kernel_size=7), 1),
        ("norm", Part.of("group_norm"), 2),
        ("mixer", mixer, 1),
        ("scale", Part.of("layer_scale"), 2),
        ("ffn", Part.of("ms_ffn", ratio=4.0, scales=(1, 3, 5, 7)), 1),
    ]


@pytest.mark.parametrize(
    ("dim", "side", "stride", "groups"),
    [(48, 56, 8, 2), (96, 28, 4, 2), (96, 56, 4, 3), (48, 57, 2, 2), (96, 7, 1, 4)],
)
def test_transxnet_block_has_the_closed_form_costs(dim: int, side: int, stride: int, groups: int) -> None:
    c, k, g, s = dim // 2, 7, groups, stride
    q, inner, h = c // 4, max(16, dim // 8), 4 * dim
    wide = h - 3 * (h // 4) + (9 + 25 + 49) * (h // 4)
    params = 50 * dim + 4 * dim + 4 * dim  # DPE, two norms, two scales
    params += g * c * k * k + g * c + c * q + 2 * q + q * g * c + g * c  # IDConv
    params += 3 * c * c + 3 * c + 10 * c + ((c * (s + 3) ** 2 + 5 * c) if s > 1 else 0)  # OSRA
    params += 2 * dim * inner + 3 * inner + 15 * dim  # STE
    params += 2 * dim * h + wide + 5 * h + 2 * dim  # MS-FFN

    n, reduced = side * side, (-(-side // s)) ** 2
    macs = 49 * dim * n  # DPE
    macs += (k * k + 1) * (c * q + q * g * c) + c * k * k * n  # IDConv
    macs += c * c * n + 9 * c * reduced + 2 * c * c * reduced  # OSRA
    macs += (c * (s + 3) ** 2 * reduced + c * reduced) if s > 1 else 0
    macs += 2 * n * reduced * c  # its products
    macs += 9 * dim * n + 2 * dim * inner * n  # STE
    macs += 2 * dim * h * n + wide * n  # MS-FFN
    macs += 2 * (q * (k * k + 1) + (2 * dim + inner) * n + (2 * h + dim) * n)  # batch norms
    macs += 4 * c * reduced if s > 1 else 0
    macs += 10 * dim * n + c * n  # group norms, pooling
    # LayerScale is a product here, which counts nothing; the authors' convolution is 2 * dim * n more.

    found = [
        (times, part_cost(kind, registry.complete_part(kind, part), (dim,), side, side))
        for kind, part, times in transxnet_block(dim, stride, groups)
    ]
    assert sum(times * cost.params for times, cost in found) == params
    assert sum(times * cost.macs for times, cost in found) == macs


def test_transxnet_stem_and_downsampling_have_the_closed_form_costs() -> None:
    stem = Part.of("conv_downsampling", kernel_size=7, stride=4, norm="batch_norm")
    found = part_cost("embedding", stem, (3, 48), 224, 224)
    assert found == (149 * 48, 147 * 48 * 56 * 56 + 2 * 48 * 56 * 56, 56, 56)
    found = part_cost("embedding", Part.of("conv_downsampling"), (48, 96), 56, 56)
    assert found == (9 * 48 * 96 + 2 * 96, 9 * 48 * 96 * 28 * 28 + 2 * 96 * 28 * 28, 28, 28)
    head = Part.of("linear_head", norm="group_norm")
    assert part_cost("head", head, (448, 1000), 7, 7) == (2 * 448 + 1000 * 448 + 1000, 1000 * 448 + 6 * 448 * 49, 0, 0)
