"""Spaces that a command is given, huge or damaged, budgets that no network of theirs meets, and mixers of one's own."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.goals.budget import Budget
from search_spaces.counting import decimal, worded
from search_spaces.named import load_space
from tests.command_line import SPACE, Commands, cold
from tests.nas.places import tiny, untouched

After = Callable[[str], Path]


# Huge spaces


HUGE = """\
name = "huge"
about = "Many blocks with many options."
head = {{ part = "linear_head" }}

[block]
position = [{{ part = "none" }}, {{ part = "dpe", kernel_size = [3, 5] }}]
norm = [{{ part = "layer_norm" }}]
mixer = [{{ part = "identity" }}, {{ part = "depthwise_conv", kernel_size = [3, 5, 7] }}]
ffn = [{{ part = "mlp", ratio = [1, 2, 3] }}]
scale = [{{ part = "none" }}]

[[stages]]
width = [4]
depth = [{depth}]
embedding = [{{ part = "conv_stem", stride = 4 }}]
"""
"""36 ** depth networks."""


@pytest.mark.parametrize(
    ("depth", "words"),
    [(3, "46,656"), (198, "1.41e+308"), (199, "5.06e+309"), (256, "2.59e+398")],
)
def test_the_size_of_a_huge_space(depth: int, words: str, nas: Commands, place: Path) -> None:
    """A float ends at 1.8e308, and Python refuses to write integers of more than 4,300 digits."""
    (place / "huge.toml").write_text(HUGE.format(depth=depth))
    out = nas("spaces", "huge.toml", cwd=place).ok().out
    assert f"# {words} networks, {5 * depth} choices, 1 stage\n" in out


HUGE_RUN = ("config.toml", "space=huge.toml", "train.random_paths=0", "train.batch_size=1024")


def test_a_huge_space_is_trained(nas: Commands, place: Path) -> None:
    (place / "huge.toml").write_text(HUGE.format(depth=256))
    printed = nas("train", *HUGE_RUN, cwd=place).ok().out
    assert f"supernet of space huge ({worded(36**256)} networks, " in printed
    assert json.loads((place / "run" / "run.json").read_text())["space_size"] == decimal(36**256)


# Damaged spaces


@pytest.mark.parametrize(
    ("old", "new", "names", "offers", "fixed"),
    [
        ("depthwise_conv", "depthwise_con", ["token mixer 'depthwise_con'"], 'part = "depthwise_conv"', "depthwise_conv"),
        ('"mlp"', '"mpl"', ["channel mixer 'mpl'"], 'part = "mlp"', '"mlp"'),
        ("linear_head", "linear", ["head 'linear'"], 'part = "linear_head"', "linear_head"),
        ("kernel_size = [3, 5]", "kernel = [3, 5]", ["option", "'depthwise_conv'", "'kernel'"], "kernel_size = ...", "kernel_size = [3, 5]"),
        ("kernel_size = [3, 5]", 'kernel_size = "3"', ["depthwise_conv.kernel_size is '3'"], "kernel_size = 7", "kernel_size = 7"),
        ("kernel_size = [3, 5]", "kernel_size = [3, 4]", ["kernel_size is 4"], "kernel_size = 3", "kernel_size = 3"),
        ("kernel_size = [3, 5]", "kernel_size = []", ["kernel_size is []"], "leave kernel_size out, which takes its default", None),
        ("kernel_size = [3, 5]", "kernel_size = {a = 1}", ["kernel_size is {'a': 1}"], "kernel_size = 1", None),
        ("attention_ratio = [0.25, 0.5]", "attention_ratio = [0.01, 0.5]", ["stages.0.blocks", "attention_ratio 0.01 of 16 channels is 0"], "attention_ratio = 0.5", "attention_ratio = 0.5"),
        ("width = [16, 32]", "width = [32, 16]", ["stage 0.width is [32, 16]"], "width = [16, 32]", "width = [16, 32]"),
        ("depth = [1, 2]", 'depth = "deep"', ["stage 0.depth is 'deep'"], "depth = [1, 2]", "depth = [1, 2]"),
        ("depth = [1, 2]", f"depth = [1, {10**30}]", ["stage 0.depth is [1, 1000000"], "depth = [1]", "depth = [1]"),
        ("width = [16, 32]", f"width = [16, {10**400}]", ["bad.toml is not TOML: it has a number above 10^300"], "fix bad.toml", "width = [16]"),
        ("kernel_size = [3, 5]", f"kernel_size = [3, {10**30 + 1}]", ["'depthwise_conv' with 'kernel_size' = a number of more than 18 digits"], "fewer or smaller choices", "kernel_size = 3"),
        ("ratio = [1, 2]", f"ratio = [1, {10**400}]", ["bad.toml is not TOML: it has a number above 10^300"], "fix bad.toml", "ratio = 4.0"),
        ("ratio = [1, 2]", f"ratio = [1, 1{'0' * 5000}]", ["bad.toml is not TOML: Exceeds the limit"], "fix bad.toml", "ratio = 1"),
        ("depth = ", "dept = ", ["key in bad.toml: stage 0: 'dept'"], "depth = ...", "depth = "),
        ("about = ", "abuot = ", ["key in bad.toml: 'abuot'"], "about = ...", "about = "),
        ('norm = [{ part = "layer_norm" }]', "", ["lacks norm"], "norm = ...", 'norm = [{ part = "layer_norm" }]'),
        ("[[stages]]", "[[stage]]", ["key in bad.toml: 'stage'"], "stages = ...", "[[stages]]"),
        (SPACE[SPACE.index("[[stages]]") :], "", ["lacks stages"], "stages = ...", None),
        (SPACE[SPACE.index("[block]") :], "stages = []", ["bad.toml has no stages"], "[[stages]]", None),
        ('per_stage = ["ffn"]', 'per_stage = ["fnn"]', ["per_stage: 'fnn'"], 'per_stage = ["ffn"]', 'per_stage = ["ffn"]'),
        ('per_stage = ["ffn"]', 'per_stage = "ffn"', ["per_stage is 'ffn'"], 'per_stage = ["ffn"]', 'per_stage = ["ffn"]'),
        ('per_stage = ["ffn"]', "per_stage = 3", ["per_stage is 3"], 'per_stage = ["ffn"]', 'per_stage = ["ffn"]'),
        ('name = "tiny"', "name = = 3", ["bad.toml is not TOML"], "fix bad.toml", 'name = "tiny"'),
        ('name = "tiny"', 'name = "\xff"', ["bad.toml is not TOML"], "fix bad.toml", 'name = "tiny"'),
    ],
)  # fmt: skip
def test_bad_spaces(
    old: str, new: str, names: list[str], offers: str, fixed: str | None, nas: Commands, place: Path
) -> None:
    (place / "bad.toml").write_bytes(tiny(old, new).encode("latin-1"))
    with untouched(place):
        result = nas("train", "config.toml", "space=bad.toml", cwd=place)
    assert offers in result.refused(*names)[2]
    if fixed is not None:
        (place / "bad.toml").write_text(tiny(old, fixed))
        assert load_space(place / "bad.toml").size > 1


# Budgets


def test_a_budget_that_no_network_meets(nas: Commands, after: After, place: Path) -> None:
    trained = after("train")
    with untouched(trained):
        given, allowed, instead = nas("search", "run=run", "budget=1K", cwd=trained).refused(
            "space tiny", "macs=1K", "macs is the binding limit"
        )
    least = int(re.findall(r"[\d,]+", allowed)[0].replace(",", ""))
    offered = Budget.parse(instead.removeprefix("search.budget=")).limit("macs")
    assert offered
    assert least <= offered <= 1.01 * least
    with untouched(place):  # and before anything is trained
        assert nas("train", "config.toml", "search.budget=1K", cwd=place).refused()[2] == instead
        assert nas("demo", "config.toml", "search.budget=1K", cwd=place).refused()[2] == instead
    nas("search", "run=run", instead, cwd=trained).ok()
    [path] = (trained / "run").rglob("evaluations.jsonl")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert min(record["costs"]["macs"] for record in records) == least
    nas("search", "run=run", "budget=1K", cwd=trained).refused(given.split(" has ")[0])


# Plugins


MIXER = '''
"""The mean of all positions, added to each."""

from dataclasses import dataclass

from torch import Tensor, nn
import torch

from search_spaces.registry import TokenMixer, register


@register("mean_mixer")
class MeanMixer(TokenMixer):
    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        start: float = 1.0

    examples = (Options(), Options(start=0.5))

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.weight = nn.Parameter(torch.full((dim,), options.start))

    def forward(self, x: Tensor) -> Tensor:
        return x + x.mean((2, 3), keepdim=True) * self.weight[:, None, None]
'''


@pytest.mark.slow  # tests/nas/test_outside.py has a mixer among its seven plugins
def test_a_mixer_of_ones_own(nas: Commands, place: Path) -> None:
    """From one file and a line in a space, through all verbs."""
    (place / "plugins").mkdir()
    (place / "plugins" / "my_mixers.py").write_text(MIXER)
    (place / "own.toml").write_text(tiny('"depthwise_conv", kernel_size = [3, 5]', '"mean_mixer", start = [0.5, 1.0]'))
    settings = ("config.toml", "space=own.toml", 'plugins=["my_mixers"]')
    with untouched(place):
        nas("train", *settings, cwd=place).refused("plugin 'my_mixers' cannot be imported")
        nas("train", "config.toml", "space=own.toml", cwd=place).refused("unknown token mixer 'mean_mixer'")
    result = cold("train", *settings, cwd=place, PYTHONPATH=str(place / "plugins")).ok()
    assert "torch" in result.imported  # so it would have been seen where it must not be
    for verb in ("search", "extract", "retrain", "report"):
        nas(verb, "run=run", "plugins=my_mixers", cwd=place, env={"PYTHONPATH": str(place / "plugins")}).ok()
    [lines] = (place / "run").glob("searches/*/evaluations.jsonl")
    assert "mean_mixer" in lines.read_text()
    with untouched(place):
        _, _, instead = nas("search", "run=run", cwd=place).refused("run needs the module my_mixers")
        assert instead == "nas search run=run plugins=my_mixers"
        nas("search", "run=run", "plugins=my_mixers", cwd=place).refused("plugin 'my_mixers' cannot be imported")
    (place / "plugins" / "my_mixers.py").write_text("import torch\n\nclass MeanMixer\n")
    with untouched(place):
        nas("search", "run=run", "plugins=my_mixers", cwd=place, env={"PYTHONPATH": str(place / "plugins")}).refused(
            "my_mixers.py, line 3: "
        )
