"""What a space or an architecture may ask for is bounded, and counted before anything is listed or built."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from search_spaces.architecture import Architecture, Part
from search_spaces.checking import check_parts
from search_spaces.errors import InputError
from search_spaces.named import check, claim_names, read_space, space_names
from search_spaces.papers import paper_network
from search_spaces.space import SearchSpace
from search_spaces.space.sizes import MOST_BUILT, MOST_MEMBERS
from tests.command_line import SPACE, environment

MANY = ", ".join(map(str, range(3, 521, 2)))


def with_options(**options: list[int]) -> str:
    """A space of which one mixer offers these values."""
    text = ", ".join(f"{key} = {values}" for key, values in options.items())
    return SPACE.replace('part = "depthwise_conv", kernel_size = [3, 5]', f'part = "ems", {text}')


REFUSED = {
    "a large depth": SPACE.replace("depth = [1, 2]", "depth = [1, 1000000000]"),
    "many blocks": SPACE.replace("depth = [1, 2]", "depth = [256]") + SPACE[SPACE.index("[[stages]]") :],
    "a large width": SPACE.replace("width = [16, 32]", "width = [16, 100000]"),
    "many widths": SPACE.replace("width = [16, 32]", f"width = {list(range(8, 8000))}"),
    "many values": SPACE.replace("kernel_size = [3, 5]", f"kernel_size = [{MANY}]"),
    "a product of options": with_options(**{name: list(range(1, 100)) for name in "abcdefgh"}),
    "many parts": SPACE.replace("mixer = [\n", "mixer = [\n" + "".join(f'{{ part = "p{n}" }},\n' for n in range(70))),
    "many options": with_options(**{f"o{n}": [1] for n in range(70)}),
    "many stages": SPACE + SPACE[SPACE.index("[[stages]]") :] * 70,
    "many choices": SPACE.replace("depth = [1, 2]", "depth = [256]").replace(
        "mixer = [\n", "mixer = [\n" + "".join(f'{{ part = "p{n}", a = 1, b = 1, c = 1, d = 1 }},\n' for n in range(40))
    ),
    "a large number": SPACE.replace("kernel_size = [3, 5]", "kernel_size = [3, 1000000001]"),
    "a number of many digits": SPACE.replace("kernel_size = [3, 5]", f"kernel_size = [3, {'9' * 5000}]"),
    "a float where a whole number is": SPACE.replace("head_dim = 4", "head_dim = 4.5"),
    "a negative number": SPACE.replace("head_dim = 4", "head_dim = -4"),
    "nothing where a number is": SPACE.replace("head_dim = 4", "head_dim = 0"),
    "a large head": SPACE.replace("head_dim = 4", "head_dim = 10000000000"),
    "not a number": SPACE.replace("attention_ratio = [0.25, 0.5]", "attention_ratio = [nan]"),
    "a large ratio": SPACE.replace('"mlp", ratio = [1, 2]', '"mlp", ratio = [1, 1e300]'),
    "deep lists": SPACE.replace("kernel_size = [3, 5]", f"kernel_size = {'[' * 400}3{']' * 400}"),
    "very deep lists": SPACE.replace("kernel_size = [3, 5]", f"kernel_size = {'[' * 50_000}3{']' * 50_000}"),
    "many classes": "num_classes = 100000000\n" + SPACE,
    "a large image": "resolution = 1000000\n" + SPACE,
    "a long name": SPACE.replace('name = "tiny"', f'name = "{"n" * 10_000}"'),
    "a long text": SPACE.replace("conv_stem", "c" * 100_000),
    "a date": SPACE.replace("kernel_size = [3, 5]", "kernel_size = 2024-01-01"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_space_that_is_too_large_is_refused_before_it_is_listed(fault: str) -> None:
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(InputError) as told:
        check(SearchSpace.from_toml(REFUSED[fault], "space.toml"))
    assert time.monotonic() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 2**10
    assert all(len(line) < 1000 for line in (told.value.given, told.value.allowed, told.value.instead))


def test_named_spaces_are_far_below_the_limits() -> None:
    for name in (*space_names(), *claim_names()):
        space = read_space(name)
        assert sum(1 for _ in space.buildable()) < MOST_BUILT * 0.7
        slots = [slot for stage in space.stages for slot in (stage.embedding, *stage.blocks)]
        assert max(len([part for choice in slot for part in choice.members()]) for slot in slots) < MOST_MEMBERS / 5


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("width = [16, 32]", "width = [60000]", "weights"),
        ('"mlp", ratio = [1, 2]', '"rp_cpe_ffn", ratio = 60000.0, num_branches = 1000', "weights"),
        ('"mlp", ratio = [1, 2]', '"rp_cpe_ffn", num_branches = 60000', "modules|tensors"),
        ("kernel_size = [3, 5]", "kernel_size = [65535]", "weights"),
    ],
)
def test_a_space_whose_parts_are_too_large_is_refused_before_memory_is_taken(old: str, new: str, says: str) -> None:
    assert SPACE.count(old) == 1
    start = time.monotonic()
    with pytest.raises(InputError, match=says):
        check_parts(check(SearchSpace.from_toml(SPACE.replace(old, new))))
    assert time.monotonic() - start < 2


def many_blocks(count: int) -> dict[str, Any]:
    found = paper_network("mat_1").arch.to_dict()
    found["stages"][0]["blocks"] *= count
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["stages"][0].update(width=10**9),
        lambda data: data.update(many_blocks(10_000)),
        lambda data: data.update(resolution=10**9),
        lambda data: data.update(num_classes=10**12),
        lambda data: data["head"].update(size=10**9),
        lambda data: data["head"].update(size=-(10**9)),
        lambda data: data["head"].update(text="x" * 201),
        lambda data: data["head"].update(items=[1] * 65),
        lambda data: data["head"].update({f"option{n}": 1 for n in range(65)}),
    ],
)
def test_every_reader_of_an_architecture_bounds_it(change: Any) -> None:
    data = paper_network("mat_1").arch.to_dict()
    assert Architecture.from_dict(data) == paper_network("mat_1").arch
    change(data)
    with pytest.raises(InputError, match="are read"):
        Architecture.from_dict(data)
    with pytest.raises(InputError, match="are read"):
        Architecture.from_json(json.dumps(data))


def test_lists_in_lists() -> None:
    deep: list[Any] = []
    for _ in range(50):
        deep = [deep]
    with pytest.raises(InputError, match="a list of such"):
        Part.of("mlp", ratio=deep)
    with pytest.raises(InputError, match="inside each other"):
        Architecture.from_json("[" * 100_000)


@pytest.mark.slow
def test_commands_refuse_what_is_too_large_in_little_memory(tmp_path: Path) -> None:
    """The real commands, with an address space in which the libraries and little else have room."""
    (tmp_path / "wide.toml").write_text(SPACE.replace("width = [16, 32]", "width = [65000]"))
    (tmp_path / "deep.toml").write_text(SPACE.replace("depth = [1, 2]", "depth = [1, 1000000000]"))
    (tmp_path / "arch.json").write_text(json.dumps(many_blocks(10_000)))
    wide = paper_network("mat_1").arch.to_dict()
    for stage in wide["stages"]:
        stage["width"] = 60_000
    (tmp_path / "wide.json").write_text(json.dumps(wide))
    for words in (
        ("spaces", "wide.toml"), ("spaces", "deep.toml"), ("cost", "arch.json"), ("cost", "wide.json"), ("bench", "wide.json"),
        ("train", "space=wide.toml", "run=run"), ("train", "space=deep.toml", "run=run"), ("cost", "space=deep.toml", "sample=1"),
        ("ablate", "wide.json", "run=run", "data=digits"),
    ):  # fmt: skip
        done = subprocess.run(
            ["prlimit", f"--as={6 * 10**9}", sys.executable, "-m", "nas.cli", *words],
            cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2, (words, done.stderr)
        assert "  instead: " in done.stderr, (words, done.stderr)
        assert not (tmp_path / "run").exists()
