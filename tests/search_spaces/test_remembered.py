"""Counts of parts on disk: read back by another process, made anew where source has changed or is not ours, and never in the way."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search_spaces import checking
from search_spaces.architecture import Part
from search_spaces.costs import activations, memory, pieces, remembered
from search_spaces.costs.remembered import VARIABLE, Memory, folder, key_of, memory_for
from search_spaces.errors import InputError
from search_spaces.files.made import Made
from search_spaces.registry import Norm
from tests.command_line import environment

PART = Part.of("mlp", ratio=2)

SCRIPT = """
import sys
from search_spaces.architecture import Part
from search_spaces.costs import pieces
counted = []
count = pieces._count
pieces._count = lambda *args: counted.append(1) or count(*args)
for name in sys.argv[2:]:
    __import__(name)
kind, name = sys.argv[1].split(".")
print(pieces.part_cost(kind, Part(name), (8,), 4, 4).params, len(counted))
"""

MIXER = """
from dataclasses import dataclass
from torch import nn
from search_spaces.registry import TokenMixer, register
import widths

@register("remembered_mixer")
class Mixer(TokenMixer):
    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        pass
    examples = (Options(),)
    def __init__(self, dim, options):
        super().__init__(dim, options)
        self.conv = nn.Conv2d(dim, dim, widths.KERNEL, padding=widths.KERNEL // 2)
    def forward(self, x):
        return self.conv(x)
"""


def counted(place: Path, part: str, *plugins: str, **changes: str) -> tuple[int, bool]:
    """Parameters of a part, and whether a new process counted them."""
    given = environment(**{VARIABLE: str(place / "cache"), "PYTHONPATH": str(place), **changes})
    given["PYTHONPATH"] = os.pathsep.join([str(place), str(Path(__file__).parent.parent.parent)])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, part, *plugins],
        cwd=place,
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    params, times = done.stdout.split()
    return int(params), times != "0"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    remembered._memory.cache_clear()
    pieces.part_cost.cache_clear()
    yield tmp_path  # type: ignore[misc]
    remembered._memory.cache_clear()
    pieces.part_cost.cache_clear()


@pytest.mark.slow
def test_another_process_reads_what_one_has_counted(tmp_path: Path) -> None:
    first, second = counted(tmp_path, "ffn.mlp"), counted(tmp_path, "ffn.mlp")
    assert (first[1], second) == (True, (first[0], False))
    (file,) = (tmp_path / "cache").iterdir()
    file.write_text(file.read_text().replace("0", "1", 5))
    assert counted(tmp_path, "ffn.mlp") == first  # damaged: counted anew


def old(file: Path, text: str) -> None:
    """Writes a file as if it had been there for two hours."""
    file.write_text(text)
    os.utime(file, (time.time() - 7200,) * 2)


def test_parts_of_other_packages_are_counted_by_every_process(tmp_path: Path) -> None:
    """So that no count is older than what it depends on: here a module beside that of the part."""
    old(tmp_path / "widths.py", "KERNEL = 1")
    old(tmp_path / "my_parts.py", MIXER)
    of_mixer = ("mixer.remembered_mixer", "my_parts")
    assert [counted(tmp_path, *of_mixer) for _ in range(2)] == [(72, True), (72, True)]
    old(tmp_path / "widths.py", "KERNEL = 3")
    assert counted(tmp_path, *of_mixer) == (584, True)
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("place")
def test_parts_that_are_made_of_others_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    class Foreign(Norm):
        part_name = "norm_of_mine"

    monkeypatch.setattr(remembered, "registered", lambda: [Foreign])
    assert memory_for("embedding", Part("conv_stem")) is not None
    for value in ("norm_of_mine", ("layer_norm", "norm_of_mine"), (("norm_of_mine", 1), 2)):
        assert memory_for("embedding", Part("conv_stem", (("norm", value),))) is None
    assert memory_for("embedding", Part("conv_stem", (("norm", (("layer_norm",),)),))) is not None


@pytest.mark.usefixtures("place")
def test_what_is_made_while_a_process_runs_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory_for("ffn", PART) is not None
    monkeypatch.setattr(remembered, "_STARTED", 0.0)  # every file is newer
    remembered._own_source.cache_clear()
    assert memory_for("ffn", PART) is None
    remembered._own_source.cache_clear()


def test_a_count_is_known_by_all_that_it_depends_on(place: Path) -> None:
    memory = memory_for("ffn", PART)
    assert memory is not None
    keys = {
        key_of(kind, part, dims, h, w)
        for kind in ("ffn", "norm") for part in (PART, Part.of("mlp", ratio=2.0)) for dims in ((8,), (8, 9)) for h, w in ((4, 4), (4, 5), (5, 4))
    }  # fmt: skip
    assert len(keys) == 24
    found = pieces.part_cost("ffn", PART, (8,), 4, 4)
    assert memory.get(key_of("ffn", PART, (8,), 4, 4), (4,)) == found
    memory.write()
    assert Memory(memory.path).get(key_of("ffn", PART, (8,), 4, 4), (4,)) == found
    assert Memory(memory.path).get(key_of("ffn", PART, (8,), 4, 4), (3,)) is None


def test_several_processes_add_to_one_file(place: Path) -> None:
    one, other = Memory(place / "counts-a.json"), Memory(place / "counts-a.json")
    one.put("a", (1,))
    other.put("b", (2,))
    one.write()
    other.write()
    assert Memory(place / "counts-a.json").counts == {"a": (1,), "b": (2,)}
    assert sorted(file.name for file in place.iterdir()) == ["counts-a.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"counts": {"a": 1}, "sha256": ""}', b"\xff", b"[" * 100_000])
def test_damaged_files_are_empty(place: Path, content: bytes) -> None:
    (place / "counts-a.json").write_bytes(content)
    memory = Memory(place / "counts-a.json")
    assert memory.counts == {}
    memory.put("a", (1,))
    memory.write()
    assert json.loads((place / "counts-a.json").read_text())["counts"] == {"a": [1]}


def test_a_place_that_cannot_be_written_is_no_matter(place: Path) -> None:
    (place / "file").write_text("")
    memory = Memory(place / "file" / "counts-a.json")
    memory.put("a", (1,))
    memory.write()
    assert memory.get("a", (1,)) == (1,)


def test_files_of_older_source_do_not_pile_up(place: Path) -> None:
    for number in range(12):
        old(place / f"counts-{number}.json", "")
    memory = Memory(place / "counts-new.json")
    memory.put("a", (1,))
    memory.write()
    assert len(list(place.iterdir())) == remembered.KEPT_FILES + 1


def test_what_killed_processes_leave_is_removed(place: Path) -> None:
    old(place / "counts-new123.part", "half")
    (place / "counts-new456.part").write_text("being written")
    memory = Memory(place / "counts-new.json")
    memory.put("a", (1,))
    memory.write()
    assert sorted(file.name for file in place.iterdir()) == ["counts-new.json", "counts-new456.part"]


def test_where_it_is_and_how_it_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "hybrid-mixer-nas-" in str(folder())  # conftest's
    monkeypatch.setenv(VARIABLE, "off")
    assert (folder(), memory_for("ffn", PART)) == (None, None)
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert folder() == Path("/somewhere/hybrid-mixer-nas")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert folder() == Path("/home/me/.cache/hybrid-mixer-nas")


def test_feature_maps_and_bytes_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one process finds of a part's memory, the next one reads, and it is the same."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    part, layouts = Part.of("mlp", ratio=2), (((1, 8, 4, 4), (128, 16, 4, 1)),)

    def found() -> tuple[activations.Need, int]:
        activations.forget()
        memory.forget()
        return activations.part_need("ffn", part, (8,), layouts), memory.part_bytes("ffn", part, (8,))

    first = found()
    kept = memory_for("ffn", part)
    assert kept is not None
    assert len(kept.new) == 2
    with monkeypatch.context() as patched:
        for module in (activations, memory):
            patched.setattr(module, "make", None)  # nothing may be made again
        assert found() == first
    assert first[1] == 4 * (8 * 16 + 16 + 16 * 8 + 8)


def test_what_has_been_checked_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A space whose parts one process has built and run is checked by the next one without building any; a part of ours that failed is
    tried again.
    """
    monkeypatch.setenv(VARIABLE, str(tmp_path))

    def checked() -> tuple[tuple[int, int], Made]:
        checking._try.cache_clear()
        monkeypatch.setattr(checking, "_BUILT", {})
        return checking.try_part("ffn", PART, (8,), (4, 4), ""), checking.check_build("ffn", PART, (8,))

    for _ in range(2):
        with pytest.raises(InputError, match="cannot be built"):
            checking.try_part("ffn", PART, (10**15,), (4, 4), "")
    first = checked()
    assert first == ((4, 4), Made(8 * 16 + 16 + 16 * 8 + 8, 4, 2))
    kept = memory_for("ffn", PART)
    assert kept is not None
    kept.write()
    remembered._memory.cache_clear()  # as another process, which reads the file
    with monkeypatch.context() as patched:
        patched.setattr(checking, "make", None)  # nothing may be made again
        assert checked() == first
    remembered._memory.cache_clear()
