"""What every cost promises that somebody registers (`search_spaces.costs.register_cost`)."""

import math
from typing import ClassVar

from search_spaces.costs import Cost, cost_named
from search_spaces.space import SearchSpace
from search_spaces.testing.spaces import members


class RegisteredCostLaws:
    """Laws of one cost, by its name, on the members of a space (the argument `space`)."""

    cost: ClassVar[str]
    num_members = 20

    @property
    def found(self) -> Cost:
        return cost_named(self.cost)

    def test_it_is_a_number_or_not_known(self, space: SearchSpace) -> None:
        """What is no finite number from 0 up is an error of `Cost`."""
        values = [self.found(arch) for arch in members(space, self.num_members)]
        assert any(value is not None for value in values), "it is known for no network"

    def test_it_depends_on_the_architecture_alone(self, space: SearchSpace) -> None:
        archs = members(space, self.num_members)
        values = [self.found(arch) for arch in archs]
        assert [self.found(arch) for arch in reversed(archs)] == values[::-1]
        assert [self.found(type(arch).from_json(arch.to_json())) for arch in archs] == values

    def test_it_adds_up_as_it_says(self, space: SearchSpace) -> None:
        from search_spaces.units import units

        additive = self.found.additive
        if additive is None:
            return
        for arch in members(space, self.num_members):
            parts = [additive.of_unit(unit) for _, unit in units(arch)]
            value = self.found(arch)
            if any(part is None for part in parts):
                assert value is None, arch.digest
            else:
                total = additive.base + math.fsum(part for part in parts if part is not None)
                assert value is not None
                assert math.isclose(value, max(0.0, total), rel_tol=1e-9, abs_tol=1e-9), arch.digest
