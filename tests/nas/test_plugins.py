"""Parts of a user's own that break their contract, and spaces that no network can come from: the real command says so before it
writes anything."""

from pathlib import Path

import pytest

from tests.command_line import SPACE, Commands, contents

PART = '''
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces.registry import TokenMixer, register


@register("own_mixer")
class OwnMixer(TokenMixer):
    """A mixer of a user's own."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        size: int = 1

    examples = (Options(),)

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.scale = nn.Parameter(torch.ones(dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x
'''

BODY = "        return self.scale * x\n"

FAULTS = {
    "an operator of unknown cost": ("        return self.scale * torch.fft.fft2(x).real\n", "uses torch.fft.fft2, whose cost is not known (for aten._fft_"),
    "a branch on values": ("        return x if x.mean() > 0 else -x\n", "cannot be called on meta tensors, line "),
    "another shape": ("        return self.scale * x[..., 1:]\n", "gives (2, 16, 4, 3) for an input of (2, 16, 4, 4)"),
    "another type": ("        return (self.scale * x).double()\n", "gives torch.float64 for an input of torch.float32"),
    "a tuple": ("        return x, self.scale\n", "gives tuple for an input of"),
    "nothing": ("        self.last = x\n", "gives NoneType for an input of"),
    "a wrong attribute": ("        return self.scales * x\n", "AttributeError"),
    "a mixture of types": ("        return x @ x.double()\n", "RuntimeError"),
    "another shape in evaluation": ("        return x if self.training else x.mean((2, 3))\n", "gives (3, 16) for an input of (3, 16, 4, 4) in evaluation mode"),
    "another type in evaluation": ("        return x if self.training else x.double()\n", "gives torch.float64 for an input of torch.float32 in evaluation"),
    "another batch": ("        return x if x.shape[0] < 3 else x[:2]\n", "gives (2, 16, 4, 4) for an input of (3, 16, 4, 4)"),
    "a view of its parameter": ("        return self.scale.expand(x.shape)\n", "gives a parameter or buffer of its own, or a view of one"),
    "the end of the program": ("        raise SystemExit(0)\n", "fails on (2, 16, 4, 4) (SystemExit: 0"),
    "the batch forgotten": ("        return self.scale * x.mean(0)\n", "gives (16, 4, 4) for an input of"),
}  # fmt: skip


def write(place: Path, body: str = BODY, name: str = "own") -> None:
    (place / f"{name}.py").write_text(PART.replace(BODY, body))
    (place / "own.toml").write_text(
        "resolution = 8\n" + SPACE.replace('part = "global_attention", head_dim = 8', 'part = "own_mixer"')
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_a_part_that_breaks_its_contract_is_refused_before_anything_is_written(
    fault: str, nas: Commands, place: Path
) -> None:
    body, says = FAULTS[fault]
    write(place, body)
    before = contents(place)
    here = {"PYTHONPATH": str(place)}
    for verb, *arguments in (
        ("train", "config.toml", "space=own.toml", "plugins=own"),
        ("demo", "config.toml", "space=own.toml", "plugins=own"),
        ("spaces", "own.toml", "plugins=own"),
    ):
        given, allowed, instead = nas(verb, *arguments, cwd=place, env=here).refused("'own_mixer'", "own.py", says)
        assert "stages.0.blocks of space tiny" in given
        assert "maps" in allowed or "the part itself counts" in allowed
        assert "own.py" in instead
    assert contents(place) == before
    write(place)  # fixed, as told
    nas("spaces", "own.toml", "plugins=own", cwd=place, env=here).ok()


def test_an_unknown_operator_is_costed_by_its_part(nas: Commands, place: Path) -> None:
    """As its message says."""
    body = "        return self.scale * torch.fft.fft2(x).abs()\n"
    write(place, body)
    here = {"PYTHONPATH": str(place)}
    _, _, instead = nas("spaces", "own.toml", "plugins=own", cwd=place, env=here).refused("fft2")
    assert instead.startswith(f"in class OwnMixer of {place / 'own.py'}: ")
    statement = instead.split(": ", 1)[1].split(", with")[0]
    assert statement == "operators = {'fft_fft2': lambda result, *inputs, **options: 0}"
    path = place / "own.py"
    path.write_text(path.read_text().replace("    examples", f"    {statement}\n    examples"))
    nas("train", "config.toml", "space=own.toml", "plugins=own", cwd=place, env=here).ok()
    nas("search", "run=run", "plugins=own", cwd=place, env=here).ok()


@pytest.mark.parametrize(
    ("source", "says", "line"),
    [
        (PART.replace("    examples = (Options(),)\n", ""), "OwnMixer needs `examples = ", 10),
        (
            PART.replace("size: int = 1", "size: int").replace("(Options(),)", "(Options(size=1),)"),
            "Options.size needs a default",
            10,
        ),
        (PART.replace("own_mixer", "d_mixer"), "'d_mixer' is already", 10),
        (PART.replace("TokenMixer)", "nn.Module)"), "OwnMixer is no part", 10),
        ("import sys\n\nsys.exit(0)\n", "SystemExit", 3),
        (PART.replace("own_mixer", "identity"), "'identity' is already search_spaces", 10),
        ("import torch\n\nwidth = 3 / 0\n", "ZeroDivisionError", 3),
        ("import torch\nraise SystemError('by hand')\n", "by hand", 2),
    ],
)
def test_a_plugin_that_fails_is_named_with_its_line(
    source: str, says: str, line: int, nas: Commands, place: Path
) -> None:
    write(place)
    (place / "own.py").write_text(source)
    before = contents(place)
    settings = ("config.toml", "space=own.toml", "plugins=own")
    _, _, instead = nas("train", *settings, cwd=place, env={"PYTHONPATH": str(place)}).refused(
        "plugin 'own' fails", "own.py", says
    )
    assert instead == f"fix line {line}"
    assert contents(place) == before


BAD_SPACES = [
    ('part = "global_attention"', 'part = "dmixer"', "unknown token mixer 'dmixer'"),
    ("kernel_size = [3, 5]", "kernel_size = 4", "kernel_size is 4"),
    ("kernel_size = [3, 5]", "kernel_sise = 3", "option of token mixer 'depthwise_conv': 'kernel_sise'"),
    ('part = "mlp", ratio', 'part = "mlp", ratios', "'ratios'"),
    ("attention_ratio = [0.25, 0.5]", "attention_ratio = [0.01]", "attention_ratio 0.01 of 16 channels is 0"),
    ('norm = [{ part = "layer_norm" }]', 'norm = [{ part = "layernorm" }]', "unknown normalisation 'layernorm'"),
    ('head = { part = "linear_head" }', 'head = { part = "linear_head", norm = "layernorm" }', "unknown normalisation"),
    ("stride = 2", "stride = 3", "stride is 3"),
]


@pytest.mark.parametrize(("old", "new", "says"), BAD_SPACES)
def test_what_shows_a_space_and_what_trains_it_agree(old: str, new: str, says: str, nas: Commands, place: Path) -> None:
    assert SPACE.count(old) == 1
    (place / "bad.toml").write_text(SPACE.replace(old, new))
    shown = nas("spaces", "bad.toml", cwd=place).refused(says)
    trained = nas("train", "config.toml", "space=bad.toml", cwd=place).refused(says)
    assert shown == trained


def test_spaces_takes_one_space_and_plugins(nas: Commands, place: Path) -> None:
    write(place)
    nas("spaces", "own.toml", cwd=place).refused("unknown token mixer 'own_mixer'")
    nas("spaces", "own.toml", "plugins=own", cwd=place).refused("plugin 'own' cannot be imported")
    nas("spaces", "plugins=own", cwd=place).refused("arguments ['plugins=own']")
    out = nas("spaces", "own.toml", "plugins=own", cwd=place, env={"PYTHONPATH": str(place)}).ok().out
    assert "own_mixer" in out


def test_a_fault_of_two_options_together(nas: Commands, place: Path) -> None:
    source = PART.replace("size: int = 1", "size: int = 1\n        depth: int = 1").replace(
        "        self.scale =", "        self.bad = options.size == 3 and options.depth == 3\n        self.scale ="
    )
    write(place)
    (place / "own.py").write_text(source.replace(BODY, "        return x[..., 1:] if self.bad else x\n"))
    text = (place / "own.toml").read_text()
    (place / "own.toml").write_text(
        text.replace('part = "own_mixer"', 'part = "own_mixer", size = [1, 2, 3, 4], depth = [1, 2, 3, 4]')
    )
    nas("spaces", "own.toml", "plugins=own", cwd=place, env={"PYTHONPATH": str(place)}).refused("gives (2, 16, 4, 3)")
