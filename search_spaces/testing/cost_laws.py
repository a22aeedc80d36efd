"""What the costs of the members of a space promise."""

from search_spaces.costs import activations, pieces
from search_spaces.costs.operators import operators_of
from search_spaces.network import build
from search_spaces.space import SearchSpace
from search_spaces.testing.comparing import no_shape_checks, noise
from search_spaces.testing.reference_count import fvcore_macs
from search_spaces.testing.spaces import members


class CostLaws:
    """Law 4, for a space (the argument `space`)."""

    num_members = 30

    def test_cost_is_what_fvcore_counts(self, space: SearchSpace) -> None:
        for seed, arch in enumerate(members(space, self.num_members)):
            with no_shape_checks():
                network = build(arch, seed).eval()
                found = pieces.cost(arch)
                assert found == pieces.count(network, arch.resolution), arch.digest
                assert found.params == sum(p.numel() for p in network.parameters()), arch.digest
                image = noise(1, arch.in_channels, arch.resolution, arch.resolution)
                if not operators_of(network):  # fvcore does not know what a part says of its own operators
                    assert found.macs == fvcore_macs(network, image), arch.digest

    def test_activations_are_those_of_the_whole(self, space: SearchSpace) -> None:
        for seed, arch in enumerate(members(space, min(10, self.num_members))):
            found = activations.activations(arch)
            assert found == activations.whole(build(arch, seed), arch.resolution), arch.digest
            assert found >= 4 * arch.in_channels * arch.resolution**2

    def test_cost_does_not_depend_on_what_was_asked_before(self, space: SearchSpace) -> None:
        archs = members(space, 10)
        found, held = [], []
        for order in (archs, archs[::-1]):
            pieces.piece_cost.cache_clear()
            pieces.part_cost.cache_clear()
            activations.forget()
            found.append({arch: pieces.cost(arch) for arch in order})
            held.append({arch: activations.activations(arch) for arch in order if arch in archs[:3]})
        assert found[0] == found[1] == {arch: pieces.cost(arch) for arch in archs}
        assert held[0] == held[1] == {arch: activations.activations(arch) for arch in archs[:3]}
