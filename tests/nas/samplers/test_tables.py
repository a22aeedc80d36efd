"""The comparison of samplers on tables: what it reads, how it scores, and that every sampler of it runs."""

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import optuna
import pytest

from search_spaces.named import load_space
from tests.benchmarks.evaluated_tables import of_space, read
from tests.benchmarks.tables import SAMPLERS, Case, Report, curve, hypervolume, measured, reached, rival_lines

SMALL = """
name = "small"
in_channels = 1
num_classes = 3
resolution = 16
head = { part = "linear_head", norm = "layer_norm" }

[block]
position = [{ part = "none" }]
norm = [{ part = "layer_norm" }]
scale = [{ part = "none" }]
ffn = [{ part = "mlp", ratio = 1 }]

[[stages]]
width = [8, 16]
depth = [1]
embedding = { part = "conv_stem", stride = 2 }
mixer = [{ part = "depthwise_conv", kernel_size = [3, 5, 7] }, { part = "global_attention", head_dim = 8 }]
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """48 networks, of which one is missing; sizes are numbers that are not in order in the file."""
    lines = ["mixer,size,depth,top1,macs"]
    for mixer, size, depth in itertools.product(("conv", "attention", "pool"), (16, 8, 32, 4), (1, 2, 3, 4)):
        quality = np.log2(size) * depth + 2 * (mixer == "attention")
        lines.append(f"{mixer},{size},{depth},{quality},{size * depth * (1 + (mixer == 'attention'))}")
    path = tmp_path / "made.csv"
    path.write_text("\n".join(lines[:-1]) + "\n")
    return path


def test_a_file_is_read(table: Path) -> None:
    found = read(table)
    assert list(found.choices) == ["mixer", "size", "depth"]
    assert found.choices["size"] == [4, 8, 16, 32]
    assert len(found.cost) == 47
    assert (found.place < 0).sum() == 1
    number = found.number({"mixer": "attention", "size": 8, "depth": 3})
    assert (found.scored[number], found.cost[number]) == (11, 48)
    assert number == found.number_of_integers({"mixer": 0, "size": 1, "depth": 2})


def test_a_file_that_contradicts_itself_is_refused(table: Path) -> None:
    with table.open("a") as file:
        file.write("conv,16,1,99,16\n")
    with pytest.raises(SystemExit, match="line 49 has the genes of line 2"):
        read(table)
    table.write_text("a,b\n1,2\n")
    with pytest.raises(SystemExit, match="one column per gene"):
        read(table)


def test_the_hypervolume_is_an_area() -> None:
    quality, cost = np.array([1.0, 3.0, 2.0, 9.0]), np.array([1.0, 4.0, 5.0, 10.0])
    assert hypervolume(quality, cost, (0.0, 10.0)) == 1 * 9 + 2 * 6


def test_a_curve_is_the_hypervolume_of_the_first_ones() -> None:
    """Some of them equal, and some over a limit."""
    rng = np.random.default_rng(0)
    quality, cost = rng.integers(10, size=(2, 60)).astype(float)
    quality[rng.random(60) < 0.2] = -np.inf
    found = curve(quality, cost, (2.0, 8.0))
    assert found.tolist() == [hypervolume(quality[:n], cost[:n], (2.0, 8.0)) for n in range(1, 61)]
    assert found[-1] > found[0]


def test_a_share_is_reached_by_the_mean_and_by_the_worst_seed() -> None:
    curves = np.array([[0.1, 0.9, 0.9], [0.3, 0.5, 0.7]])
    assert reached(curves, 0.6) == (2, 3)
    assert reached(curves, 0.75) == (3, None)
    assert reached(curves, 0.95) == (None, None)
    case = Case(curves, *np.zeros((3, 2)))
    assert rival_lines({"predictor": case}) == []
    rival = Case(np.array([[0.1, 0.2, 0.3, 0.5], [0.1, 0.2, 0.3, 0.7]]), *np.zeros((3, 2)))
    lines = rival_lines({"nsga2": rival, "predictor": case})
    assert "after 4 evaluations, 0.6000" in lines[0]
    assert "by the mean after 2, by the worst seed after 3 (of 3)" in lines[2]


def test_a_comparison_is_printed_and_written(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The predictor makes few evaluations, and NSGA-II all of them."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out = tmp_path / "new" / "shares.csv"
    cases = Report((4, 10, 30), 10, range(2, 4), out).of(read(table), ["nsga2", "predictor"], "plain")
    assert {name: case.curves.shape for name, case in cases.items()} == {"nsga2": (2, 30), "predictor": (2, 10)}
    rows = list(csv.DictReader(out.read_text().splitlines()))
    counts = [(row["sampler"], row["seed"], row["evaluations"]) for row in rows]
    few, all_ = ("4", "10"), ("4", "10", "30")
    assert counts == [
        *(("nsga2", seed, count) for seed in "23" for count in all_), *(("predictor", seed, count) for seed in "23" for count in few)
    ]  # fmt: skip
    assert [float(row["share"]) for row in rows[:3]] == pytest.approx(cases["nsga2"].curves[0, [3, 9, 29]], abs=1e-6)
    about = json.loads(out.with_suffix(".json").read_text())
    assert (about["seeds"], about["versions"]["optuna"]) == ([2, 3], optuna.__version__)
    printed = capsys.readouterr().out
    assert "the mean of nsga2 after 30 evaluations" in printed
    line = next(line for line in printed.splitlines() if line.startswith("  predictor"))
    assert f"{cases['predictor'].curves[:, 9].mean():.4f}" in line
    assert " - " in line


@pytest.mark.parametrize("name", [name for name in SAMPLERS if not name.startswith("gp")])
def test_every_sampler_is_measured(name: str, table: Path) -> None:
    """An informed sampler repeats no network, and evaluates none over the limit."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for setting in ("plain", "half"):
        case = measured(read(table), name, setting, 24, range(1))
        assert case.curves.shape == (1, 24)
        assert (case.curves >= 0).all()
        assert (case.curves <= 1).all()
        assert (np.diff(case.curves) >= 0).all()
        if name in ("predictor", "additive"):
            assert (case.repeated[0], case.over[0] if setting == "half" else 0) == (0, 0)


@pytest.mark.parametrize("name", ["predictor", "additive"])
def test_a_column_of_one_value_is_no_parameter(name: str, table: Path) -> None:
    """Informed samplers leave it out, and the exact functions do without it."""
    header, *lines = table.read_text().split()
    table.write_text("\n".join([f"stem,{header}", *(f"conv,{line}" for line in lines)]) + "\n")
    case = measured(read(table), name, "half", 20, range(1))
    assert (case.repeated[0], case.over[0]) == (0, 0)


def test_a_table_of_a_space_is_read_by_digests(tmp_path: Path) -> None:
    """12 sets of genes are 8 networks, of which the file has 7; what the genes' columns say does not matter."""
    (tmp_path / "space.toml").write_text(SMALL)
    space = load_space(str(tmp_path / "space.toml"))
    words = {
        word: space.decode(word).digest for word in itertools.product(*(range(len(g.choices)) for g in space.genes))
    }
    digests = list(dict.fromkeys(words.values()))
    assert (len(words), len(digests)) == (12, 8)
    path = tmp_path / "some.csv"
    rows = [f",,{digest},0.{number},1,60,{100 + number},7" for number, digest in enumerate(digests[:7])]
    path.write_text("\n".join(["a,b,digest,top1,loss,images,macs,params", *rows]) + "\n")
    found = of_space(path, tmp_path / "space.toml")
    assert found.name == "some, 7 of 8"
    for word, digest in words.items():
        number = digests.index(digest)
        params = {gene.name: gene.choices[index] for gene, index in zip(space.genes, word, strict=True)}
        assert found.number(params) == (number if number < 7 else -1)
    assert (found.scored[3], found.cost[3]) == (0.3, 103)
    for name in ("predictor", "additive"):
        assert measured(found, name, "plain", 7, range(1)).repeated[0] == 0
    path.write_text(path.read_text() + f",,{digests[0]},0.5,1,60,100,7\n")
    with pytest.raises(SystemExit, match="twice"):
        of_space(path, tmp_path / "space.toml")
    path.write_text("digest,top1,macs\n0123456789ab,0.5,100\n")
    with pytest.raises(SystemExit, match="network 0123456789ab is not of the space"):
        of_space(path, tmp_path / "space.toml")
    path.write_text("digest,macs\n0123456789ab,100\n")
    with pytest.raises(SystemExit, match="there is no top1"):
        of_space(path, tmp_path / "space.toml")
