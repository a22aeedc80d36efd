"""The comparison of samplers on tables: what it reads, how it scores, and that every sampler of it runs."""

import itertools
from pathlib import Path

import numpy as np
import optuna
import pytest

from tests.benchmarks.tables import SAMPLERS, hypervolume, measured, read


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


@pytest.mark.parametrize("name", [name for name in SAMPLERS if not name.startswith("gp")])
def test_every_sampler_is_measured(name: str, table: Path) -> None:
    """An informed sampler repeats no network, and evaluates none over the limit."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for setting in ("plain", "half"):
        case = measured(read(table), name, setting, (10, 24), range(1))
        assert (case.shares >= 0).all()
        assert (case.shares <= 1).all()
        assert case.shares[0, 0] <= case.shares[0, 1]
        if name in ("predictor", "additive"):
            assert (case.repeated, case.over if setting == "half" else 0) == (0, 0)
