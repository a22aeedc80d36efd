"""Whoever goes through an architecture meets every part of it, each with its sizes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from search_spaces import registry
from search_spaces.architecture import SLOTS, Architecture, Part
from search_spaces.network import build
from search_spaces.papers import paper_network
from search_spaces.registry import PositionBias, register
from search_spaces.reparameterisation import reparameterise, reparameterised


@pytest.fixture
def two_tables() -> Iterator[str]:
    """A position bias that is the sum of two tables in training, and one table when it is merged."""

    @register("two_tables")
    class TwoTables(PositionBias):
        @dataclass(frozen=True, kw_only=True, slots=True)
        class Options:
            merged: bool = False

        examples = (Options(),)

        def __init__(self, options: Options) -> None:
            super().__init__(options)
            self.tables = nn.ParameterList(torch.randn(1) for _ in range(1 if options.merged else 2))

        def forward(self, x: Tensor) -> Tensor:
            size = (1, *x.shape[2:], *x.shape[2:])
            return sum(self.tables, torch.zeros(1)).expand(size) * torch.arange(x.shape[2] * x.shape[3]).view(
                1, 1, 1, *x.shape[2:]
            )

        @classmethod
        def reparameterised_options(cls, options: Options) -> Options | None:
            return None if options.merged else cls.Options(merged=True)

        def reparameterised(self) -> "TwoTables | None":
            if len(self.tables) == 1:
                return None
            merged = TwoTables(self.Options(merged=True))
            merged.tables[0].data = (self.tables[0] + self.tables[1]).detach().clone()
            return merged

    yield "two_tables"
    del registry._PARTS["position_bias"]["two_tables"]


def small(name: str, resolution: int = 32) -> Architecture:
    arch = paper_network(name).arch
    stages = tuple(replace(stage, blocks=stage.blocks[:1]) for stage in arch.stages)
    return Architecture(in_channels=3, num_classes=5, resolution=resolution, stages=stages, head=arch.head)


def test_a_merged_network_is_the_one_of_its_architecture(two_tables: str) -> None:
    """Position biases are merged like all other parts, in the network and in its architecture."""
    arch = small("transxnet_tiny")
    stages = tuple(replace(stage, position_bias=Part(two_tables)) for stage in arch.stages)
    network = build(replace(arch, stages=stages)).eval()
    merged = reparameterise(network)
    assert {stage.position_bias for stage in merged.arch.stages} == {Part.of(two_tables, merged=True)}
    build(reparameterised(network.arch)).load_state_dict(merged.state_dict())
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(merged(x), network(x), rtol=1e-4, atol=1e-4)


def test_every_part_is_mapped() -> None:
    arch = small("transxnet_tiny")
    seen = Counter[str]()

    def renamed(kind: str, part: Part) -> Part:
        seen[kind] += 1
        return Part(f"{kind}_{part.name}", part.options)

    found = arch.mapped(renamed)
    assert seen == {"embedding": 4, "position_bias": 4, "head": 1} | dict.fromkeys(SLOTS, 4)
    assert found.to_json() == replace(found).to_json()
    assert found.to_json() != arch.to_json()
    assert found.mapped(lambda kind, part: Part(part.name.removeprefix(f"{kind}_"), part.options)) == arch
    assert arch.mapped(lambda kind, part: part) == arch
