"""The registry of costs, and costs that are read from a table."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_spaces.architecture import Architecture
from search_spaces.costs import (
    cost_named,
    cost_names,
    costs_of,
    register_cost,
    temporary_costs,
)
from search_spaces.costs.activations import activations
from search_spaces.costs.macs import macs
from search_spaces.costs.memory import memory
from search_spaces.costs.params import params
from search_spaces.costs.table import read_costs
from search_spaces.errors import InputError
from search_spaces.named import load_space

SPACE = load_space("digits")
ARCHS = [SPACE.sample(random.Random(seed)) for seed in range(4)]
ONE, TWO, THREE, OTHER = ARCHS
BUILT_IN = ("params", "macs", "activations", "memory")


@pytest.fixture(autouse=True)
def scoped() -> Iterator[None]:
    with temporary_costs():
        yield
    assert cost_names() == BUILT_IN


def test_built_in_costs() -> None:
    assert cost_names() == BUILT_IN
    assert costs_of(ONE) == {
        "params": params(ONE),
        "macs": macs(ONE),
        "activations": activations(ONE),
        "memory": memory(ONE),
    }
    assert costs_of(ONE, ["macs"]) == {"macs": macs(ONE)}
    assert [cost_named(name).unit for name in BUILT_IN] == ["parameters", "MACs", "bytes", "bytes"]
    assert all(cost_named(name).about for name in BUILT_IN)
    with pytest.raises(InputError, match="unknown cost 'mac'") as error:
        cost_named("mac")
    assert error.value.instead == "macs"


def test_naming_costs_does_not_import_torch() -> None:
    code = "import sys, search_spaces.costs.table; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_registered_cost() -> None:
    @register_cost("depth", unit="blocks", about="blocks of all stages")
    def depth(arch: Architecture) -> float | None:
        return None if arch == OTHER else arch.depth

    assert cost_names() == (*BUILT_IN, "depth")
    assert costs_of(ONE)["depth"] == ONE.depth
    assert costs_of(OTHER).keys() == set(BUILT_IN)
    assert cost_named("depth").unit == "blocks"
    register_cost("depth")(depth)  # as a module does that is imported again


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("macs", "built in"),
        ("activations", "built in"),
        ("top1", "means something else"),
        ("loss", "means something else"),
        ("none", "means something else"),
        ("digest", "means something else"),
        ("my cost", "cannot be called"),
        ("Latency", "cannot be called"),
        ("", "cannot be called"),
        ("3d", "cannot be called"),
    ],
)
def test_names_that_cannot_be_registered(name: str, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        register_cost(name)(lambda arch: 1.0)
    assert cost_names() == BUILT_IN


def test_a_name_is_taken_once() -> None:
    def one(arch: Architecture) -> float:
        return 1.0

    def other(arch: Architecture) -> float:
        return 2.0

    register_cost("mine")(one)
    with pytest.raises(TypeError, match=r"already .*one"):
        register_cost("mine")(other)
    assert costs_of(ONE, ["mine"]) == {"mine": 1.0}


@pytest.mark.parametrize("value", [-1, -0.5, float("nan"), float("inf"), "3", True, [1]])
def test_what_is_no_number_is_refused(value: Any) -> None:
    register_cost("odd")(lambda arch: value)
    with pytest.raises(InputError, match="cost odd"):
        costs_of(ONE)


def test_numbers_become_pythons_own_and_failures_are_named() -> None:
    register_cost("whole")(lambda arch: np.int64(3))  # type: ignore[arg-type, return-value]
    register_cost("real")(lambda arch: np.float32(0.5))  # type: ignore[arg-type, return-value]
    assert json.dumps(costs_of(ONE, ["whole", "real"])) == '{"whole": 3, "real": 0.5}'
    register_cost("broken")(lambda arch: 1 / 0)
    with pytest.raises(InputError, match=r"cost broken .* fails on network .* \(ZeroDivisionError: division by zero\)"):
        costs_of(ONE)


# Tables


def write(path: Path, *lines: str, name: str = "table.csv") -> Path:
    (path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path / name


def quoted(arch: Architecture) -> str:
    return '"' + arch.to_json(indent=1).replace('"', '""') + '"'


def test_a_table(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "Digest, latency_ms ,energy [mJ],architecture",
        f"{ONE.digest},3.5,,{quoted(ONE)}",
        "",
        f"{TWO.digest.upper()},2,10,",
        f"{ONE.digest},4.5,,",
        f"{ONE.digest},9,",
        f"{TWO.digest},3,1e1,{quoted(TWO)}",
        f"{THREE.digest},,7",
    )
    assert read_costs(path) == (ONE, TWO)
    assert cost_names() == (*BUILT_IN, "latency_ms", "energy")
    names = ("latency_ms", "energy")
    assert costs_of(ONE, names) == {"latency_ms": 4.5}  # the median of three
    assert costs_of(TWO, names) == {"latency_ms": 2.5, "energy": 10.0}
    assert costs_of(THREE, names) == {"energy": 7.0}
    assert costs_of(OTHER, names) == {}
    assert (cost_named("energy").unit, cost_named("latency_ms").unit) == ("mJ", "")
    assert "table.csv" in cost_named("energy").about


def test_a_table_that_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "digest,latency_ms", f"{ONE.digest},3")
    read_costs(path)
    write(tmp_path, "digest,latency_ms", f"{ONE.digest},4")
    monkeypatch.chdir(tmp_path)
    read_costs("table.csv")
    assert costs_of(ONE, ["latency_ms"]) == {"latency_ms": 4.0}
    other = write(tmp_path, "digest,energy,latency_ms", f"{ONE.digest},3,3", name="other.csv")
    with pytest.raises(InputError, match=r"other\.csv, line 1: cost 'latency_ms' is already a column of .*table\.csv"):
        read_costs(other)
    assert "energy" not in cost_names()
    assert costs_of(ONE, ["latency_ms"]) == {"latency_ms": 4.0}


D = ONE.digest
WRONG = {
    "empty": ("", "is empty"),
    "blank": ("\n , \n", "is empty"),
    "no digest": ("network,latency_ms\nx,3\n", "line 1: no column is called digest"),
    "no cost": (f"digest,architecture\n{D},\n", "line 1: no column is a cost"),
    "no row": ("digest,latency_ms\n", "has no value"),
    "no value": (f"digest,latency_ms\n{D},\n", "has no value"),
    "a word": (f"digest,latency_ms\n{D},3\n{D},fast\n", "line 3: latency_ms is 'fast'"),
    "nan": (f"digest,latency_ms\n{D},nan\n", "line 2: latency_ms is 'nan'"),
    "inf": (f"digest,latency_ms\n{D},inf\n", "line 2: latency_ms is 'inf'"),
    "zero": (f"digest,latency_ms\n{D},0\n", "line 2: latency_ms is '0'"),
    "negative": (f"digest,latency_ms\n{D},-3\n", "line 2: latency_ms is '-3'"),
    "too large": (f"digest,latency_ms\n{D},1e999\n", "line 2: latency_ms is '1e999'"),
    "underscores": (f"digest,latency_ms\n{D},1_000\n", "line 2: latency_ms is '1_000'"),
    "a comma": (f"digest,latency_ms\n{D},3,5\n", "line 2 has 3 cells"),
    "a short digest": ("digest,latency_ms\nabc,3\n", "line 2: digest is 'abc'"),
    "a spreadsheet's number": ("digest,latency_ms\n1.23E+11,3\n", "line 2: digest is '1.23E[+]11'"),
    "no digest in a row": ("digest,latency_ms\n,3\n", "line 2: digest is ''"),
    "another digest": (f"digest,latency_ms,architecture\n{D},3,\n{D},3,{quoted(TWO)}\n", f"line 3: digest is {D}, and that"),
    "no architecture": (f'digest,latency_ms,architecture\n{D},3,"{{}}"\n', "line 2: a network is described by"),
    "no JSON": (f"digest,latency_ms,architecture\n{D},3,x\n", "line 2: the architecture is not JSON"),
    "a built-in name": (f"digest,macs\n{D},3\n", "line 1: cost 'macs' is built in"),
    "an objective": (f"digest,top1\n{D},3\n", "line 1: a cost cannot be called 'top1'"),
    "none": (f"digest,None\n{D},3\n", "line 1: a cost cannot be called 'none'"),
    "no identifier": (f"digest,latency (ms)\n{D},3\n", r"line 1: a column is called 'latency \(ms\)'"),
    "no name": (f"digest,[ms]\n{D},3\n", r"line 1: a column is called '\[ms\]'"),
    "one twice": (f"digest,a,A\n{D},3,3\n", "line 1: two columns are called a"),
    "an open quote": (f'digest,a\n{D},"3\n', "is not CSV"),
}  # fmt: skip


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_tables(fault: str, tmp_path: Path) -> None:
    text, says = WRONG[fault]
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=f"table.csv.*{says}" if "line" not in says else f"table.csv, {says}") as error:
        read_costs(path)
    assert error.value.allowed
    assert error.value.instead
    assert cost_names() == BUILT_IN


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_costs(tmp_path / "missing.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_costs(tmp_path)
    for data in (f"digest,a\n{D},3\n".encode("utf-16"), b"digest,\xe4\n"):
        (tmp_path / "table.csv").write_bytes(data)
        with pytest.raises(InputError, match="is not UTF-8"):
            read_costs(tmp_path / "table.csv")


def test_byte_order_marks_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(f"\ufeffdigest,a\r\n{D},3\r\n".encode())
    assert read_costs(path) == ()
    assert costs_of(ONE, ["a"]) == {"a": 3.0}


def test_the_line_of_a_row_behind_a_cell_of_several_lines(tmp_path: Path) -> None:
    first = f"{D},3,{quoted(ONE)}"
    path = write(tmp_path, "digest,a,architecture", first, f"{D},x,")
    with pytest.raises(InputError, match=f"line {2 + len(first.splitlines())}: a is 'x'"):
        read_costs(path)


def test_a_plugin_outside_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "my_costs.py").write_text(
        "from search_spaces.costs import register_cost\n\n\n"
        '@register_cost("widths", unit="channels", about="of all stages")\n'
        "def widths(arch):\n    return sum(stage.width for stage in arch.stages)\n"
    )
    code = (
        "import random, my_costs\nfrom search_spaces.costs import costs_of\nfrom search_spaces.named import load_space\n"
        "arch = load_space('digits').sample(random.Random(0))\nprint(costs_of(arch))\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": f"{tmp_path}:{root}", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    widths = sum(stage.width for stage in ONE.stages)
    assert done.stdout.strip() == str({**costs_of(ONE), "widths": widths})
