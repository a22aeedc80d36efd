"""`nas cost`, as typed in a shell, and the three counters behind it."""

import csv
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas import cost
from nas.commands.cost import Costing, costing
from nas.networks.asked import Asked, parse
from nas.networks.counters import (
    ATTENTION,
    CONVOLUTION,
    NORM,
    PRODUCT,
    Difference,
    differences,
    fvcore_count,
    our_count,
    torch_count,
)
from nas.networks.found import Subject, subjects
from search_spaces.costs import BUILT_IN, costs_of, register_cost, temporary_costs
from search_spaces.costs.operators import meta
from search_spaces.errors import InputError
from search_spaces.named import load_space
from search_spaces.network import build
from search_spaces.papers import paper_network
from search_spaces.registry import complete
from tests.command_line import HEAVY, Commands, cold, contents
from tests.contracts import no_shape_checks

ARCH = load_space("digits").decode((0,) * len(load_space("digits").genes))


def one(name: str, **options: object) -> Costing:
    with no_shape_checks():
        (subject,) = subjects([name], Asked(**options))  # type: ignore[arg-type]
        return costing(subject)


def made(module: nn.Module, channels: int = 4, side: int = 8) -> Subject:
    return Subject("made", channels, side, module.eval, module.eval)


# The numbers


@pytest.fixture(scope="module")
def mat() -> Costing:
    return one("mat_1", resolution=64)


def test_our_networks_cost_what_their_architecture_costs(mat: Costing) -> None:
    arch = replace(complete(paper_network("mat_1").arch), resolution=64)
    assert mat.subject.arch == arch
    assert mat.costs == costs_of(arch, BUILT_IN)
    assert mat.others.keys() == {"fvcore", "torch"}
    for counter, count in mat.others.items():
        gaps = [gap for gap in mat.differences if gap.counter == counter]
        assert sum(gap.theirs - gap.ours for gap in gaps) == count.total - mat.ours.total
        assert gaps


def test_what_fvcore_misses_is_the_attention(mat: Costing) -> None:
    (gap,) = [gap for gap in mat.differences if gap.counter == "fvcore"]
    assert (gap.kind, gap.theirs) == (ATTENTION, 0)
    assert gap.ours == mat.ours.total - mat.others["fvcore"].total > 0
    assert gap.why == "fvcore does not know aten::scaled_dot_product_attention"
    assert NORM in {gap.kind for gap in mat.differences if gap.counter == "torch"}


def test_a_model_of_timm() -> None:
    """ResNet-18 as its authors and fvcore count it."""
    found = one("timm/resnet18")
    assert found.costs["params"] == 11_689_512
    assert found.costs["macs"] == found.others["fvcore"].total == 1_819_065_856
    assert found.notes == []
    import timm

    model = timm.create_model("resnet18")
    state = sum(t.nbytes for t in (*model.parameters(), *model.buffers()))
    assert found.costs["memory"] == state + found.costs["activations"]
    # Held at once at the widest place: the image, and the stem's map before and behind its norm.
    assert found.costs["activations"] == 4 * (3 * 224 * 224 + 2 * 64 * 112 * 112)
    smaller = one("timm/resnet18", resolution=112)
    assert smaller.subject.resolution == 112
    assert smaller.costs["params"] == found.costs["params"]
    assert smaller.costs["macs"] < found.costs["macs"] / 3


class Foreign(nn.Module):
    """Operators that this project has no rule for, one of them with products."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 6))
        self.conv = nn.Conv2d(4, 4, 3, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        x = torch.lerp(x, self.conv(x), 0.5)
        return torch.einsum("bchw,cd->bdhw", x, self.weight)


def test_unknown_operators_are_counted_by_torch_and_named() -> None:
    found = costing(made(Foreign()))
    convolution, product = 4 * 4 * 9 * 64, 4 * 6 * 64
    assert found.costs["macs"] == convolution + product
    assert {name: macs for name, macs in found.ours.borrowed.items() if macs} == {
        "torch.nn.functional.conv2d": convolution, "torch.functional.einsum": product,
    }  # fmt: skip
    assert found.ours.borrowed["torch.lerp"] == 0
    assert f"torch.functional.einsum ({product:,})" in "\n".join(found.notes)
    assert found.others["torch"].total == convolution + product
    why = "fvcore does not know aten::_convolution_mode"
    assert found.differences == [Difference("fvcore", CONVOLUTION, convolution, 0, why)]


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)  # (b, n, c)
        tokens = F.scaled_dot_product_attention(tokens, tokens, tokens)
        return F.layer_norm(tokens, tokens.shape[-1:])


def test_torch_sees_fused_attention_as_its_products() -> None:
    module, image = Attention().eval(), meta(1, 4, 8, 8)
    ours, torchs = our_count(module, image), torch_count(module, image)
    assert ours.kinds == {ATTENTION: 2 * 64 * 64 * 4, NORM: 4 * 64 * 4}
    assert torchs.kinds.get(PRODUCT, 0) + torchs.kinds.get(ATTENTION, 0) == ours.kinds[ATTENTION]
    (gap,) = differences(ours, torchs, "torch")
    assert (gap.kind, gap.ours, gap.theirs) == (NORM, 4 * 64 * 4, 0)
    assert "torch counts only" in gap.why


def test_without_fvcore(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fvcore.nn", None)
    assert fvcore_count(nn.Identity(), torch.zeros(1, 4, 8, 8)) is None
    found = costing(made(nn.Conv2d(4, 4, 1)))
    assert found.others.keys() == {"torch"}
    assert found.notes == ["fvcore gave no count: it is not installed; pip install fvcore"]


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.sum().item()


def test_a_network_that_needs_values() -> None:
    with pytest.raises(InputError, match="made does not run on the meta device"):
        costing(made(Broken()))


def test_costs_of_plugins(capsys: pytest.CaptureFixture[str]) -> None:
    with temporary_costs(), no_shape_checks():
        register_cost("depth", "blocks", "of all stages")(lambda arch: sum(len(s.blocks) for s in arch.stages))
        (found,) = cost(asked=Asked(space="digits", genes=("0",) * len(load_space("digits").genes)))
    assert found.costs["depth"] == sum(len(stage.blocks) for stage in ARCH.stages)
    assert capsys.readouterr().out.splitlines()[0].split()[-5:] == ["depth", "MACs", "by", "fvcore", "MACs", "by", "torch"][-5:]  # fmt: skip


def test_members_of_a_space() -> None:
    space = load_space("digits")
    with no_shape_checks():
        found = list(subjects([], Asked(space="digits", sample=3, seed=1, member=("smallest", "largest"))))
        again = list(subjects([], Asked(space="digits", sample=3, seed=1)))
        small, large, *drawn = [costing(subject, counters=False).costs["macs"] for subject in found]
    assert [s.arch for s in again] == [s.arch for s in found[2:]]
    assert all(s.arch is not None and space.contains(s.arch) for s in found)
    assert small <= min(drawn) <= max(drawn) <= large


# The command


def test_a_folder_a_file_and_a_paper(nas: Commands, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "arch.json").write_text(ARCH.to_json())
    result = nas("cost", "net", "net/arch.json", "space=digits", "sample=2", "out=costs.csv", cwd=tmp_path).ok()
    params = sum(p.numel() for p in build(ARCH).parameters())
    lines = [line.split() for line in result.out.splitlines()]
    for name in ("net", "net/arch.json"):
        assert [name, "16", f"{params:,}"] in [line[:3] for line in lines]
    assert re.search(r"^  torch counts only .+ \(norms.*\)$", result.out, flags=re.MULTILINE)
    with open(tmp_path / "costs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows[:2]] == ["net", "net/arch.json"]
    assert len(rows) == 4
    assert {name: int(rows[0][name]) for name in BUILT_IN} == costs_of(complete(ARCH), BUILT_IN)
    again = nas("cost", "mat_1", "out=costs.json", "counters=false", cwd=tmp_path).ok()
    (row,) = json.loads((tmp_path / "costs.json").read_text())
    assert {name: row[name] for name in BUILT_IN} == costs_of(complete(paper_network("mat_1").arch), BUILT_IN)
    assert row["differences"] == []
    assert "fvcore" not in again.out


def test_wrong_arguments_are_refused_before_torch_is_imported(tmp_path: Path) -> None:
    result = cold("cost", "space=digits", "sample=many", cwd=tmp_path)
    result.refused("sample is 'many'")
    assert not result.imported & set(HEAVY)


@pytest.mark.parametrize(
    ("arguments", "given", "instead"),
    [
        ((), "no network", "space="),
        (("space=digits",), "without a choice of members", "sample=5"),
        (("sample=5",), "without a space", "space="),
        (("space=digit", "sample=1"), "unknown space 'digit'", "space=digits"),
        (("space=digits", "sample=-1"), "sample is '-1'", "sample=5"),
        (("space=digits", "sample=1", "resolution=1000000"), "resolution is 1000000", "resolution="),
        (("space=digits", "genes=a"), "genes=a", "genes="),
        (("space=digits", "member=smalest"), "'smalest'", "member=smallest"),
        (("mat_1", "counters=no"), "counters is 'no'", "counters=false"),
        (("mat_1", "sampel=3"), "unknown option of cost: 'sampel'", "sample=3"),
        (("mat_1", "out=costs.txt"), "out=costs.txt", ".csv"),
    ],
)
def test_options(arguments: tuple[str, ...], given: str, instead: str) -> None:
    with pytest.raises(InputError) as error:
        parse(arguments, "cost")
    assert given in error.value.given
    assert instead in error.value.instead


@pytest.mark.parametrize(
    ("arguments", "given", "instead"),
    [
        (("mat1",), "there is no network 'mat1'", "mat_1"),
        (("resnet18",), "there is no network 'resnet18'", "timm/resnet18"),
        (("timm/resnet8",), "timm has no model 'resnet8'", "timm/resnet"),
        (("missing.json",), "missing.json does not exist", "arch.json"),
        (("damaged.json",), "damaged.json", ""),
        ((".",), "holds no network", "DIGEST"),
        (("space=digits", "genes=0,1"), "genes has 2 choices", "genes=0,0"),
        (("mat_1", "plugins=no_such_module"), "no_such_module", "PYTHONPATH"),
        (("mat_1", "missing.json", "out=costs.csv"), "missing.json", ""),
    ],
)
def test_networks_that_are_not_there(
    arguments: tuple[str, ...], given: str, instead: str, nas: Commands, tmp_path: Path
) -> None:
    (tmp_path / "damaged.json").write_text('{"stages": [')
    before = contents(tmp_path)
    found, _, offered = nas("cost", *arguments, cwd=tmp_path).refused(given)
    assert given in found
    assert instead in offered
    assert contents(tmp_path) == before
