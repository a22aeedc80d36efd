"""What a bank takes of networks and supernets of other spaces, and what it starts fresh; members are in the laws of supernets."""

import dataclasses

import pytest
import torch

from search_spaces.architecture import Architecture, Part
from search_spaces.named import check, load_space
from search_spaces.network import Network, build
from search_spaces.papers import PaperNetwork, paper_networks
from search_spaces.registry import complete
from search_spaces.space import SearchSpace
from search_spaces.testing import assert_same, elastic_space, members, noise, randomise, small
from supernet.adapting import spread
from supernet.offering import Offer, of_bank, of_network
from supernet.supernet import Supernet
from supernet.taking import account, take
from supernet.testing import images, small_space, state_of, supernet_of


def network_of(arch: Architecture, seed: int = 5) -> Network:
    network = build(arch).eval()
    randomise(network, seed)
    return network


def changed(supernet: Supernet, offer: Offer) -> dict[str, int]:
    """How many elements of each parameter the supernet takes: those that change, and not to zero."""
    before = state_of(supernet)
    take(supernet, offer)
    return {name: int(((p != before[name]) & (p != 0)).sum()) for name, p in supernet.named_parameters()}


def test_the_account_is_what_changes() -> None:
    space = small(load_space("digits"))
    parameters = {name: p.numel() for name, p in Supernet(space).named_parameters()}
    for arch in members(space, 4)[2:]:
        offer = of_network(network_of(arch), space)
        found, told = changed(supernet_of(space), offer), account(space, offer)
        assert (
            told.taken == sum(found.values()) == sum(one.tensor.numel() for one in offer.tensors if not one.is_buffer)
        )
        assert (told.left, told.left_weights) == ((), 0)
        assert told.weights == sum(parameters.values())
        for share in told.shares:
            own = {name: size for name, size in parameters.items() if name.startswith(f"{share.place}.")}
            assert (share.tensors, share.weights) == (len(own), sum(own.values()))
            assert share.whole == sum(found[name] == size for name, size in own.items())
            assert share.partly == sum(0 < found[name] < size for name, size in own.items())
            assert share.taken == sum(found[name] for name in own)


@torch.no_grad()
def test_what_is_around_a_taken_kernel_and_beside_taken_inputs_adds_nothing() -> None:
    space = with_sizes(small_space(), [8, 16], [1, 2], kernel_size=[3, 5])
    small_kernels = {gene.name: 0 for gene in space.genes if gene.chosen == "part" or "kernel_size" in gene.name}
    arch = space.decode(tuple(small_kernels.get(gene.name, 0) for gene in space.genes))
    assert [block.mixer.values()["kernel_size"] for block in arch.stages[0].blocks] == [3]
    network, supernet = network_of(arch), supernet_of(space)
    take(supernet, of_network(network, space))
    larger = arch.mapped(lambda kind, part: Part.of(part.name, kernel_size=5) if kind == "mixer" else part)
    assert space.contains(complete(larger))
    torch.testing.assert_close(supernet(images(space), complete(larger)), network(images(space)), rtol=1e-4, atol=1e-4)
    fc1 = supernet.bank()["stages.0.blocks.0.ffn.mlp.fc1.weight"]
    assert fc1.shape[:2] == (32, 16)
    assert_same(fc1[:8, :8], network.state_dict()["stages.0.blocks.0.ffn.fc1.weight"])
    assert not fc1[:8, 8:].any()
    assert fc1[8:].all()


def test_operators_and_blocks_that_start_fresh_are_named() -> None:
    space = small_space()
    shallow = next(
        arch
        for arch in members(space, 50)
        if arch.depth == 1 and arch.stages[0].blocks[0].mixer.name == "depthwise_conv"
    )
    stage, head = account(space, of_network(network_of(shallow), space)).shares
    ffn = {"mlp", "ms_ffn"} - {shallow.stages[0].blocks[0].ffn.name}
    assert set(stage.fresh) == {"mixer global_attention", f"ffn {ffn.pop()}", "block 1"}
    assert head.fresh == ()


def test_a_supernet_of_the_same_space_is_taken_whole() -> None:
    space = small(load_space("digits"))
    one, other = supernet_of(space, 1), supernet_of(space, 2)
    offer = of_bank(one.bank(), space, space)
    take(other, offer)
    assert all(torch.equal(tensor, one.bank()[name]) for name, tensor in other.bank().items())
    told = account(space, offer)
    assert (told.taken, told.left_weights) == (told.weights, 0)
    assert not any(share.fresh or share.partly for share in told.shares)


def with_sizes(space: SearchSpace, width: list[int], depth: list[int], **mixer: object) -> SearchSpace:
    """A space of one stage with other widths, depths and options of its convolution."""
    data = space.to_dict()
    data["stages"][0] |= {"width": width, "depth": depth}
    data["stages"][0]["mixer"][0] |= mixer
    return check(SearchSpace.from_dict(data))


@torch.no_grad()
def test_members_of_both_spaces_do_the_same_in_both_supernets() -> None:
    wide = with_sizes(small_space(), [8, 16, 24], [1, 2, 3], kernel_size=[3, 5, 7])
    for owner, space in ((wide, small_space()), (small_space(), wide)):
        one, other = supernet_of(owner, 1), supernet_of(space, 2)
        take(other, of_bank(one.bank(), owner, space))
        for arch in members(small_space(), 10):
            assert_same(other(images(space), arch), one(images(space), arch))


def test_of_a_wider_and_deeper_network_the_start_is_taken() -> None:
    space, wide = small_space(), with_sizes(small_space(), [8, 16, 24], [1, 2, 3], kernel_size=[3, 5, 7])
    genes = tuple(len(gene.choices) - 1 if gene.chosen != "part" else 0 for gene in wide.genes)
    network, supernet = network_of(wide.decode(genes)), supernet_of(space)
    offer = of_network(network, space)
    assert not offer.member
    take(supernet, offer)
    state, bank = network.state_dict(), supernet.bank()
    kernel = state["stages.0.blocks.1.mixer.conv.weight"]
    assert kernel.shape == (24, 1, 7, 7)
    assert_same(bank["stages.0.blocks.1.mixer.depthwise_conv.conv.weight"], kernel[:16, :, 1:-1, 1:-1])
    (linear,) = [name for name, tensor in state.items() if name.startswith("head") and tensor.dim() > 1]
    assert_same(bank[linear.replace("head.", "head.linear_head.")], state[linear][:, :16])
    told = account(space, offer)
    assert told.left
    assert all(name.startswith("stages.0.blocks.2.") for name in told.left)
    assert told.taken + told.left_weights == sum(p.numel() for p in network.parameters())


def test_another_number_of_classes_leaves_the_classifier_fresh() -> None:
    space = small(load_space("digits"))
    arch = members(space, 3)[2]
    supernet, network = supernet_of(space), network_of(dataclasses.replace(arch, num_classes=7))
    before, offer = state_of(supernet), of_network(network, space)
    assert (offer.member, offer.arch) == (True, arch)
    take(supernet, offer)
    weights = supernet.weights(arch)
    fresh = {name for name, tensor in network.state_dict().items() if tensor.shape != weights[name].shape}
    assert fresh == {"head.linear.weight", "head.linear.bias"}
    for name, tensor in network.state_dict().items():
        if name not in fresh:
            assert_same(weights[name], tensor, name)
    for name in ("head.linear_head.linear.weight", "head.linear_head.linear.bias"):
        assert_same(supernet.bank()[name], before[name], name)
    told = account(space, offer)
    assert set(told.left) == {"head.linear_head.linear.weight", "head.linear_head.linear.bias"}
    assert told.left_weights == sum(network.state_dict()[name].numel() for name in fresh)


def test_behind_another_number_of_stages_the_head_is_fresh() -> None:
    space, other = small(load_space("images32")), small(load_space("digits")).bind(1, 10, 16)
    offer = of_network(network_of(members(other, 3)[2]), space)
    told = account(space, offer)
    assert told.shares[-1].taken == 0
    assert told.shares[-1].fresh == ("all of it",)
    assert told.shares[-2].fresh == ("all of it",)
    assert told.shares[0].taken > 0
    assert any(name.startswith("head.") for name in told.left)


@pytest.mark.parametrize("name", ["conv_stem", "conv_downsampling", "hat_stem", "ems_stem", "mat_stem"])
@torch.no_grad()
def test_grey_images_give_the_same_with_other_channels(name: str) -> None:
    for before, after in ((1, 3), (4, 3)) if name == "conv_stem" else ((3, 1),):
        space = elastic_space("embedding", name).bind(after, 3, 8)
        arch = members(space, 3)[2]
        network, supernet = network_of(dataclasses.replace(arch, in_channels=before)), supernet_of(space)
        offer = of_network(network, space)
        assert offer.unfit == {}
        take(supernet, offer)
        grey = noise(2, 1, 8, 8)
        found, expected = supernet(grey.expand(-1, after, -1, -1), arch), network(grey.expand(-1, before, -1, -1))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_spreading_keeps_the_sum_of_the_inputs() -> None:
    weight = noise(5, 3, 2, 2)
    assert_same(spread(weight, 3), weight)
    for channels in (1, 2, 4, 7):
        torch.testing.assert_close(spread(weight, channels).sum(1), weight.sum(1))
    assert_same(spread(weight, 6)[:, :3], weight / 2)


@pytest.mark.parametrize(("kind", "name"), [("position", "absolute"), ("position_bias", "dense_table")])
@torch.no_grad()
def test_position_tables_are_resized_as_the_network_does(kind: str, name: str) -> None:
    space = elastic_space(kind, name)
    larger = space.bind(space.in_channels, space.num_classes, 2 * space.resolution)
    moved = 0
    for arch in members(space, 6):
        network, supernet = network_of(arch), supernet_of(larger)
        offer = of_network(network, larger)
        take(supernet, offer)
        assert offer.arch is not None
        if not offer.member:
            continue
        moved += offer.arch != dataclasses.replace(arch, resolution=larger.resolution)
        x = images(larger)
        assert_same(supernet(x, offer.arch), network(x), offer.arch.to_json())
        assert account(larger, offer).left_weights == 0
    assert moved


@torch.no_grad()
def test_tables_of_a_supernet_are_resized() -> None:
    space = elastic_space("position", "absolute")
    larger = space.bind(space.in_channels, space.num_classes, 2 * space.resolution)
    one, other = supernet_of(space, 1), supernet_of(larger, 2)
    take(other, of_bank(one.bank(), space, larger))
    for arch in members(space, 6):
        network = one.extract(arch)
        offer = of_network(network, larger)
        if offer.member and offer.arch is not None:
            x = images(larger)
            torch.testing.assert_close(other(x, offer.arch), network(x))


def test_what_has_other_axes_is_left() -> None:
    """A name that two versions of a part use for tensors of other meanings."""
    space = small_space()
    network = network_of(members(space, 3)[2])
    offer = of_network(network, space)
    flat = tuple(
        dataclasses.replace(one, tensor=one.tensor.flatten()) if one.tensor.dim() > 1 else one for one in offer.tensors
    )
    supernet = supernet_of(space)
    found = changed(supernet, dataclasses.replace(offer, tensors=flat))
    assert {name for name, count in found.items() if count} <= {
        one.name for one in offer.tensors if one.tensor.dim() < 2
    }


FAMILIES = ("hat_net", "mat", "transxnet", "linglo", "emsnet", "partialformer")


def papers(*families: str) -> list[PaperNetwork]:
    return [network for network in paper_networks() if network.family in families]


def check_taken(paper: PaperNetwork, *sizes: int) -> None:
    """All but the classifier of a paper's network has a place in the space of its family, for other channels, classes and resolution too."""
    space = load_space(paper.family).bind(*sizes)
    with torch.device("meta"):
        network = Network(paper.arch)
    offer = of_network(network, space)
    assert offer.member
    told = account(space, offer)
    linear = [name for name in told.left if ".linear." in name]
    assert len(told.left) == len(linear) == (0 if sizes[1] == 1000 else 2)
    if sizes == (3, 1000, 224):
        assert told.taken == sum(p.numel() for p in network.parameters())
        assert told.left_weights == 0


@pytest.mark.parametrize("paper", papers("hat_net")[-1:], ids=lambda paper: paper.name)
def test_a_papers_network_is_taken_whole(paper: PaperNetwork) -> None:
    check_taken(paper, 3, 1000, 224)
    check_taken(paper, 1, 10, 96)


@pytest.mark.slow
@pytest.mark.parametrize("paper", papers(*FAMILIES), ids=lambda paper: paper.name)
def test_more_of_the_papers_networks_are_taken_whole(paper: PaperNetwork) -> None:
    check_taken(paper, 3, 1000, 224)
    check_taken(paper, 1, 10, 96)
