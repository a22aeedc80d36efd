"""What every space promises: codes, moves and budgets."""

import dataclasses
import random
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces import registry
from search_spaces.architecture import Architecture
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError, OutsideBudget
from search_spaces.named import check
from search_spaces.space import REJECTIONS, SearchSpace
from search_spaces.testing.comparing import no_shape_checks
from search_spaces.testing.spaces import ends, members

INHERITED = [HealthCheck.differing_executors]
few = settings(max_examples=20, deadline=None, suppress_health_check=INHERITED)


class Excess:
    """How far MACs are above a limit; counts its calls and ends a search that does not end by itself."""

    def __init__(self, space: SearchSpace, limit: float) -> None:
        choices = sum(len(gene.choices) for gene in space.genes)
        self.limit, self.calls, self.most = limit, 0, REJECTIONS + 2 + (choices + 20) ** 2

    def __call__(self, arch: Architecture) -> float:
        self.calls += 1
        assert self.calls <= self.most, f"more than {self.most} costs for one draw"
        return macs(arch) / self.limit - 1


SEEDS = st.integers(0, 2**32 - 1)


class SpaceLaws:
    """Laws 1 and 2, for a space (the argument `space`)."""

    @few
    @given(seed=SEEDS)
    def test_encode_and_decode(self, space: SearchSpace, seed: int) -> None:
        rng = random.Random(seed)
        genes = tuple(rng.randrange(len(gene.choices)) for gene in space.genes)
        arch = space.decode(genes)
        code = space.encode(arch)
        assert space.decode(code) == arch
        assert space.decode(code).digest == arch.digest
        active = space.active(genes)
        assert space.active(code) == active
        matters = tuple(index if position in active else 0 for position, index in enumerate(genes))
        assert space.decode(matters) == arch
        assert all(index == 0 for position, index in enumerate(code) if position not in active)
        if space.functions is None:  # else another value of a gene may be the same function
            assert code == matters
        assert space.contains(arch)

    @few
    @given(seed=SEEDS)
    def test_json(self, space: SearchSpace, seed: int) -> None:
        arch = space.sample(random.Random(seed))
        for text in (arch.to_json(), arch.to_json(indent=1)):
            again = Architecture.from_json(text)
            assert again == arch
            assert hash(again) == hash(arch)
            assert again.digest == arch.digest
            assert space.encode(again) == space.encode(arch)
        assert registry.complete(arch) == arch

    @few
    @given(seed=SEEDS, rate=st.sampled_from([0.0, 0.1, 0.9]))
    def test_moves_stay_inside(self, space: SearchSpace, seed: int, rate: float) -> None:
        rng = random.Random(seed)
        one, other = space.sample(rng), space.sample(rng)
        mutant, child = space.mutate(one, rng, rate), space.crossover(one, other, rng)
        assert all(map(space.contains, (one, other, mutant, child)))
        assert (mutant != one) == (space.size > 1)
        codes = [space.encode(arch) for arch in (one, other, child)]
        for position in space.active(codes[2]):
            given = {code[position] for code in codes[:2]}
            words = [(*codes[2][:position], index, *codes[2][position + 1 :]) for index in given]
            assert codes[2][position] in given or child in map(space.decode, words)
        assert space.crossover(one, one, rng) == one

    @few
    @given(seed=SEEDS)
    def test_moves_repeat(self, space: SearchSpace, seed: int) -> None:
        def moves() -> list[Architecture]:
            rng = random.Random(seed)
            one, other = space.sample(rng), space.sample(rng)
            return [one, other, space.mutate(one, rng), space.crossover(one, other, rng)]

        state = random.getstate()
        with no_shape_checks():  # which draw the items that they look at from the global generator
            assert moves() == moves()
        assert random.getstate() == state

    @settings(max_examples=1, deadline=None, suppress_health_check=INHERITED)
    @given(seed=SEEDS, share=st.sampled_from((0.1, 0.0, 0.5, 1.0)))
    def test_budget(self, space: SearchSpace, seed: int, share: float) -> None:
        rng = random.Random(seed)
        least, most = map(macs, ends(space))
        budget = least + int(share * (most - least))
        one = space.sample(rng, Excess(space, budget))
        large = space.sample(rng)
        moved = [
            space.mutate(large, rng, 0.1, Excess(space, budget)),
            space.crossover(one, large, rng, Excess(space, budget)),
            space.repair(large, rng, Excess(space, budget)),
        ]
        for arch in (one, *moved):
            assert space.contains(arch)
            assert macs(arch) <= budget
        assert space.repair(one, rng, Excess(space, budget)) == one

    def test_infeasible_budget(self, space: SearchSpace) -> None:
        rng = random.Random(0)
        one = space.sample(rng)
        least = macs(ends(space)[0])
        for move in (
            lambda budget: space.sample(rng, Excess(space, budget)),
            lambda budget: space.mutate(one, rng, 0.1, Excess(space, budget)),
            lambda budget: space.crossover(one, one, rng, Excess(space, budget)),
            lambda budget: space.repair(one, rng, Excess(space, budget)),
        ):
            with pytest.raises(OutsideBudget) as error:
                move(least - 1)
            assert macs(error.value.nearest) == least
            assert space.contains(error.value.nearest)
            assert macs(move(least)) == least
        assert space.nearest(Excess(space, least - 1)) == error.value.nearest

    def test_ends_are_members_and_no_sample_is_beyond(self, space: SearchSpace) -> None:
        least, most = ends(space)
        assert all(map(space.contains, (least, most)))
        for arch in members(space, 50):
            assert macs(least) <= macs(arch) <= macs(most)

    def test_strangers_are_refused(self, space: SearchSpace) -> None:
        arch = space.sample(random.Random(0))
        stranger = dataclasses.replace(arch, resolution=arch.resolution + 1)
        assert not space.contains(stranger)
        with pytest.raises(InputError, match="resolution"):
            space.mutate(stranger, random.Random(0))
        with pytest.raises(InputError, match="resolution"):
            space.crossover(arch, stranger, random.Random(0))
        with pytest.raises(ValueError, match="indices"):
            space.decode((*space.encode(arch), 0))
        if space.genes:
            with pytest.raises(ValueError, match=re.escape(space.genes[0].name)):
                space.decode((len(space.genes[0].choices), *space.encode(arch)[1:]))

    def test_dict_round_trip(self, space: SearchSpace) -> None:
        again = SearchSpace.from_dict(space.to_dict())
        assert again == space
        assert again.digest == space.digest
        checked = check(again)
        assert checked == space
        assert checked.genes == space.genes

    def test_digest_is_of_the_choices(self, space: SearchSpace) -> None:
        assert dataclasses.replace(space, name="other", about="other").digest == space.digest
        bound = space.bind(space.in_channels + 1, space.num_classes, space.resolution)
        assert bound.digest != space.digest
        assert bound.genes == space.genes
        assert bound.size == space.size
