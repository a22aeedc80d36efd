"""`nas bench`, as typed in a shell. Times are asked for with noisy=true, because tests run beside each other."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import nn

from nas.commands.bench import _ready
from nas.networks.asked import Timed, parse
from nas.networks.counters import our_count
from nas.networks.found import Subject
from nas.runtimes import Setting
from search_spaces.costs import costs_of
from search_spaces.costs.operators import meta
from search_spaces.errors import InputError
from search_spaces.named import load_space
from search_spaces.network import build
from search_spaces.registry import complete
from tests.command_line import HEAVY, Commands, cold, contents

SPACE = load_space("digits")
ARCH = complete(SPACE.decode((0,) * len(SPACE.genes)))
QUICK = ("noisy=true", "seconds=0.1")


def make_network(place: Path) -> Path:
    """A folder with a network, as `nas extract` writes one."""
    place.mkdir()
    (place / "arch.json").write_text(ARCH.to_json())
    save_file(build(ARCH, seed=3).state_dict(), place / "weights.safetensors")
    return place


def test_networks_side_by_side(nas: Commands, tmp_path: Path) -> None:
    import timm

    make_network(tmp_path / "net")
    result = nas(
        "bench", "net", "net/arch.json", "timm/test_resnet", "space=digits", "sample=1", "resolution=32",
        "batch=1,3", "out=times.csv", *QUICK, cwd=tmp_path,
    ).ok()  # fmt: skip
    with open(tmp_path / "times.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 2
    assert [row["network"] for row in rows[::2]][:3] == ["net", "net/arch.json", "timm/test_resnet"]
    for number, row in enumerate(rows):
        batch = 1 + 2 * (number % 2)
        assert (row["runtime"], row["batch"], row["resolution"]) == ("eager", str(batch), "32")
        low, ms, high = (float(row[key]) for key in ("ms_low", "ms", "ms_high"))
        assert 0 < low <= ms <= high
        assert float(row["images_per_second"]) == pytest.approx(batch / ms * 1e3, rel=1e-3)
        assert int(row["rounds"]) >= 6
        assert row["noisy"] in ("true", "false")
        assert row["processor"]
    costs = costs_of(replace(ARCH, resolution=32), ("params", "macs"))
    assert {name: int(rows[0][name]) for name in costs} == costs
    model = timm.create_model("test_resnet").eval()
    assert int(rows[4]["params"]) == sum(p.numel() for p in model.parameters())
    assert int(rows[4]["macs"]) == our_count(model.to("meta"), meta(1, 3, 32, 32)).total
    assert rows[4]["digest"] == ""
    assert rows[0]["digest"] == replace(ARCH, resolution=32).digest
    assert "Networks of this project are timed in the form for inference" in result.out
    assert "models of timm are timed as they come" in result.out
    lines = result.out.splitlines()
    cells = [line.split()[3:5] for line in lines if line.startswith("timm/test_resnet")]
    assert cells == [["eager", "1"], ["eager", "3"]]
    assert any(rows[0]["processor"] in line and "1 thread," in line for line in lines)
    assert ("THE MACHINE WAS NOISY" in result.out) == (rows[0]["noisy"] == "true")


def test_runtimes_side_by_side(nas: Commands, tmp_path: Path) -> None:
    make_network(tmp_path / "net")
    nas("bench", "net", "runtime=eager,onnx", "batch=2", "out=times.csv", *QUICK, cwd=tmp_path).ok()
    with open(tmp_path / "times.csv", newline="") as file:
        eager, onnx = csv.DictReader(file)
    assert (eager["runtime"], eager["layout"]) == ("eager", "channels_last")
    assert (onnx["runtime"], onnx["layout"]) == ("onnx", "contiguous")
    assert "onnxruntime" not in json.loads(eager["versions"])
    assert "onnxruntime" in json.loads(onnx["versions"])
    assert eager["digest"] == onnx["digest"] == ARCH.digest


@pytest.mark.slow
def test_a_paper_network_and_a_timm_model_compiled(nas: Commands, tmp_path: Path) -> None:
    result = nas("bench", "mat_1", "timm/resnet18", "resolution=64", "runtime=eager,compiled", "batch=1", *QUICK, cwd=tmp_path).ok()  # fmt: skip
    for name in ("mat_1", "timm/resnet18"):
        assert [line.split()[3] for line in result.out.splitlines() if line.startswith(f"{name} ")] == ["eager", "compiled"]  # fmt: skip


def test_damaged_weights_are_refused(nas: Commands, tmp_path: Path) -> None:
    """The network of a folder is timed with the weights of the folder."""
    place = make_network(tmp_path / "net")
    (place / "weights.safetensors").write_bytes(b"damaged")
    nas("bench", "net", *QUICK, cwd=tmp_path).refused("weights.safetensors cannot be read")


def test_help(tmp_path: Path) -> None:
    result = cold("bench", "--help", cwd=tmp_path)
    assert result.code == 0
    assert not result.imported & set(HEAVY)
    for name in Timed.__dataclass_fields__:
        assert f"\n  {name}=" in result.out


def test_wrong_arguments_are_refused_before_torch_is_imported(tmp_path: Path) -> None:
    result = cold("bench", "mat_1", "runtime=eagr", cwd=tmp_path)
    result.refused("unknown runtime 'eagr'", "runtime=eager")
    assert not result.imported & set(HEAVY)


@pytest.mark.parametrize(
    ("argument", "given", "instead"),
    [
        ("runtime=", "runtime=", "runtime=eager"),
        ("runtime=eager,eager", "runtime=eager,eager", "runtime=eager"),
        ("runtme=eager", "unknown option of bench: 'runtme'", "runtime=eager"),
        ("batch=0", "batch is 0", "batch=1"),
        ("batch=1,x", "batch has 'x'", "batch=1,32"),
        ("batch=-1", "batch has '-1'", "batch=1,32"),
        ("threads=-1", "threads is '-1'", "threads="),
        ("threads=5000", "threads is 5000", "threads=1"),
        ("error=0", "error is 0.0", "error=0.01"),
        ("error=nan", "error is nan", "error=0.01"),
        ("error=little", "error is 'little'", "error=0.01"),
        ("seconds=-1", "seconds is -1.0", "seconds=300"),
        ("seconds=nan", "seconds is nan", "seconds=300"),
        ("noisy=yes", "noisy is 'yes'", "noisy=false"),
        ("dtype=float", "unknown dtype 'float'", "dtype=float"),
        ("out=times.json", "out=times.json", "times.json.csv"),
    ],
)
def test_options(argument: str, given: str, instead: str) -> None:
    with pytest.raises(InputError) as error:
        parse(["mat_1", argument], "bench", Timed)
    assert given in error.value.given
    assert instead in error.value.instead


def test_settings_are_every_runtime_with_every_batch() -> None:
    _, asked = parse(["mat_1", "runtime=eager,onnx", "batch=1,8", "threads=2"], "bench", Timed)
    assert asked.settings() == [
        Setting(runtime, threads=2, batch=batch) for runtime in ("eager", "onnx") for batch in (1, 8)
    ]


@pytest.mark.parametrize(
    ("arguments", "given", "instead"),
    [
        ((), "no network", "space="),
        (("mat1",), "there is no network 'mat1'", "mat_1"),
        (("timm/resnet8",), "timm has no model 'resnet8'", "timm/resnet"),
        (("missing.json",), "missing.json does not exist", "arch.json"),
        (("mat_1", "device=gpu7"), "device 'gpu7' cannot be used", "device=cpu"),
        (("mat_1", "runtime=onnx", "dtype=float16"), "runtime onnx with dtype float16", "runtime=eager"),
        (("mat_1", "runtime=nothing.Mine"), "module 'nothing' cannot be imported", "PYTHONPATH"),
        (("mat_1", "out=folder.csv"), "folder.csv cannot be written", "out=table.csv"),
        (("timm/test_vit", "resolution=33"), "timm/test_vit", "resolution=224"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], given: str, instead: str, nas: Commands, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    before = contents(tmp_path)
    found, _, offered = nas("bench", *arguments, cwd=tmp_path).refused(given)
    assert given in found
    assert instead in offered
    assert contents(tmp_path) == before


FAILING = """\
import time


class Failing:
    name = "failing.Failing"

    def settled(self, setting):
        return setting

    def prepare(self, module, inputs, setting):
        def run():
            raise RuntimeError("no such kernel" + chr(10) + "more")

        return run

    def versions(self, setting):
        return {}


class Hesitant(Failing):
    def prepare(self, module, inputs, setting):
        count = 0

        def run():
            nonlocal count
            count += 1
            until = time.perf_counter() + 0.001 * (1 + count % 7)
            while time.perf_counter() < until:
                pass

        return run
"""


def test_what_fails_when_it_is_run_is_refused_by_name(nas: Commands, tmp_path: Path) -> None:
    make_network(tmp_path / "net")
    (tmp_path / "failing.py").write_text(FAILING)
    path = {"PYTHONPATH": str(tmp_path)}
    command = ("bench", "net", "runtime=failing.Failing", "batch=1", *QUICK)
    given, _, instead = nas(*command, cwd=tmp_path, env=path).refused("net does not run with runtime failing.Failing")
    assert "RuntimeError: no such kernel)" in given
    assert instead == "runtime=eager"
    _, _, instead = nas(*command, "dtype=float16", cwd=tmp_path, env=path).refused("in float16")
    assert instead == "dtype=float32"


def test_a_network_that_cannot_be_made(tmp_path: Path) -> None:
    for error, words in (
        (RuntimeError("no weights\n"), "RuntimeError: no weights)"),
        (MemoryError(), "not enough memory"),
    ):

        def ready(error: Exception = error) -> nn.Module:
            raise error

        subject = Subject("mine", 3, 32, nn.Identity, ready)
        with pytest.raises(InputError) as found:
            _ready(subject)
        assert "mine" in found.value.given
        assert words in found.value.given


def test_a_time_limit_that_is_too_short_ends_in_times(nas: Commands, tmp_path: Path) -> None:
    """With wide intervals, and what would make them narrow, unless the machine itself is noisy."""
    make_network(tmp_path / "net")
    (tmp_path / "failing.py").write_text(FAILING)
    command = ("bench", "net", "runtime=failing.Hesitant", "batch=1", "seconds=0.2", "noisy=true")
    result = nas(*command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}).ok()
    assert "The time limit ended the measurement when 100% of the medians were less sure than 2.0%" in result.out
    assert "of the medians are less sure" not in result.out


SLOWING = """\
import time

import nas.measuring.profiling

nas.measuring.profiling.WAITS = ()  # it is no quieter a little later


class Slowing:
    name = "slowing.Slowing"

    def settled(self, setting):
        return setting

    def prepare(self, module, inputs, setting):
        self.calls = 0

        def run():
            self.calls += 1
            time.sleep(0.02 if self.calls % 3 else 0.001)

        return run

    def versions(self, setting):
        return {"slowing": "1"}
"""


def test_times_that_cannot_be_believed_are_refused(nas: Commands, tmp_path: Path) -> None:
    """By a runtime that waits for something else most of the time. noisy=true gives its times, and the file says so."""
    make_network(tmp_path / "net")
    (tmp_path / "slowing.py").write_text(SLOWING)
    command = ("bench", "net", "runtime=slowing.Slowing", "batch=1", "seconds=1", "out=times.csv")
    path = {"PYTHONPATH": str(tmp_path)}
    before = contents(tmp_path)
    _, _, instead = nas(*command, cwd=tmp_path, env=path).refused("too noisy to be measured", "waited for a core")
    assert "noisy=true" in instead
    assert "taskset" in instead
    assert contents(tmp_path) == {**before, **{k: v for k, v in contents(tmp_path).items() if "__pycache__" in k}}
    result = nas(*command, "noisy=true", cwd=tmp_path, env=path).ok()
    assert "THE MACHINE WAS NOISY" in result.out
    with open(tmp_path / "times.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["noisy"] == "true"
    assert float(row["waiting"]) > 0.5
