"""Spaces that are read: digests, named spaces, spaces from files, and the errors of wrong files."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from search_spaces.architecture import SLOTS
from search_spaces.completing import completed
from search_spaces.errors import InputError
from search_spaces.named import check, load_space, read_space, space_file, space_names
from search_spaces.space import SearchSpace
from tests.search_spaces.small_spaces import BASE, SMALL, text_of

ONE_DIGEST = "dff5a3f9d41c"
"""Of the text "one" as it stands: do not change it."""


def test_digests_are_frozen_and_the_same_in_other_processes() -> None:
    assert SearchSpace.from_toml(text_of("one")).digest == ONE_DIGEST
    assert len({space.digest for space in SMALL.values()}) == len(SMALL)
    code = (
        "import sys; from search_spaces.space import SearchSpace; print(SearchSpace.from_toml(sys.stdin.read()).digest)"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=text_of("options"),
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            check=True,
        )
        assert done.stdout.strip() == SearchSpace.from_toml(text_of("options")).digest


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    turned = text_of("one").replace("width = 8\ndepth = 2\n", "depth = 2\nwidth = 8\n")
    assert turned != text_of("one")
    assert SearchSpace.from_toml(turned).digest == SearchSpace.from_toml(text_of("one")).digest


@pytest.mark.parametrize("name", space_names())
def test_named_spaces_say_what_they_are(name: str) -> None:
    space = load_space(name)
    assert space.name == name
    assert space.about
    assert space == completed(space), "a loaded space is complete"
    assert read_space(space_file(name)) == read_space(name)
    raw = read_space(name)  # which knows no rules of parts, and counts equal functions more than once
    assert raw.size == space.size if space.functions is None else raw.size > space.size


def test_unknown_spaces() -> None:
    with pytest.raises(InputError) as error:
        load_space(space_names()[0] + "x")
    assert error.value.instead == f"space={space_names()[0]}"
    with pytest.raises(InputError, match="does not exist") as error:
        load_space("missing.toml")
    assert error.value.instead.startswith("space=")


def test_a_space_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text_of("slots"))
    assert load_space(path) == load_space(str(path)) == SMALL["slots"]
    path.write_text("name = ")
    with pytest.raises(InputError, match=r"mine\.toml is not TOML"):
        load_space(path)


def test_the_base_of_the_wrong_files_is_right() -> None:
    assert check(SearchSpace.from_toml(BASE)).size > 1


WRONG = [
    # What is changed into what, and what the message has to say (given; allowed or instead).
    ('name = "wrong"', "", "lacks name", "name"),
    ("head = {", "hed = {", "'hed'", "head ="),
    ("num_classes = 3", "num_clases = 3", "'num_clases'", "num_classes ="),
    ("in_channels = 2", "in_channels = 0", "in_channels is 0", "1"),
    ("in_channels = 2", "in_channels = [1, 3]", "in_channels is [1, 3]", "in_channels ="),
    ("resolution = 8", 'resolution = "8"', "resolution is '8'", "resolution ="),
    ("resolution = 8", "resolution = 8.5", "resolution is 8.5", "resolution ="),
    ("[[stages]]", "[stages]", "no stages", "[[stages]]"),
    ("[[stages]]", "[[stage]]", "'stage'", "stages ="),
    ("[block]", "[blocks]", "'blocks'", "block ="),
    ("[block]", "block = 3\n[other]", "other", "block"),
    ("width = [8, 16]", "", "stage 0 lacks width", "width"),
    ("width = [8, 16]", "with = [8, 16]", "'with'", "width ="),
    ("width = [8, 16]", "width = [16, 8]", "width is [16, 8]", "ascending"),
    ("width = [8, 16]", "width = [8, 8]", "width is [8, 8]", "ascending"),
    ("width = [8, 16]", "width = []", "width is []", "ascending"),
    ("width = [8, 16]", "width = [0, 8]", "width is [0, 8]", "from 1"),
    ("width = [8, 16]", "width = true", "width is True", "whole numbers"),
    ("width = [8, 16]", "width = [8, 8.5]", "width is [8, 8.5]", "whole numbers"),
    ("depth = [1, 2]", "depth = -1", "depth is -1", "from 0"),
    ("ratio = 2", "ratio = [4, 1]", "mlp.ratio is [4, 1]", "ratio = [1, 4]"),
    ("ratio = 2", "ratio = [1, 4, 2.5]", "mlp.ratio is [1, 4, 2.5]", "ratio = [1, 2.5, 4]"),
    ('"mlp", ratio = 2', '"ms_ffn", scales = [[1, 3], [3]]', "scales is [[1, 3], [3]]", "scales = [[3], [1, 3]]"),
    ('"mlp", ratio = 2', '"rp_cpe_ffn", diverse = [true, false]', "[true, false]", "diverse = [false, true]"),
    ("depth = [1, 2]", 'depth = "two"', "depth is 'two'", "depth ="),
    ('ffn = [{ part = "mlp", ratio = 2 }]', "", "lacks ffn", "ffn"),
    ('ffn = [{ part = "mlp", ratio = 2 }]', "ffn = []", "ffn offers []", "at least one part"),
    ('ffn = [{ part = "mlp", ratio = 2 }]', "ffn = 3", "ffn has 3", "part"),
    ('ffn = [{ part = "mlp", ratio = 2 }]', 'ffn = ["mlp"]', "ffn has 'mlp'", "part"),
    ('ffn = [{ part = "mlp", ratio = 2 }]', "ffn = [{ ratio = 2 }]", "ffn has", "part"),
    ('ffn = [{ part = "mlp", ratio = 2 }]', 'ffn = [{ part = "mlp" }, { part = "mlp" }]', "['mlp', 'mlp']", "once"),
    ("ratio = 2 }", "ratio = [] }", "ratio is []", "at least one value"),
    ("ratio = 2 }", "ratio = [2, 2] }", "ratio is [2, 2]", "each once"),
    ("ratio = 2 }", "ratio = [2, 2.0] }", "ratio is [2, 2.0]", "each once"),
    ("ratio = 2 }", "ratio = { a = 1 } }", "ffn.ratio is {'a': 1}", "a number"),
    ("ratio = 2 }", "ratio = 1979-05-27 }", "ratio", "a number"),
    ("ratio = 2 }", "ratio = nan }", "ratio", "number"),
    ('per_stage = ["mixer"]', 'per_stage = ["mixr"]', "'mixr'", 'per_stage = ["mixer"]'),
    ('per_stage = ["mixer"]', 'per_stage = ["mixer.mlp.ratio"]', "'mixer.mlp.ratio'", "ffn.mlp.ratio"),
    ('per_stage = ["mixer"]', 'per_stage = "mixer"', "per_stage", "per_stage = ["),
    ('per_stage = ["mixer"]', "per_stage = 3", "per_stage", "per_stage = ["),
    ('per_stage = ["mixer"]', 'per_stage = [1, "mixer"]', "per_stage", "per_stage = ["),
    # What only the registered parts know.
    ('part = "mlp"', 'part = "mpl"', "'mpl'", 'part = "mlp"'),
    ('part = "conv_stem"', 'part = "mlp"', "'mlp'", "conv_stem"),
    ("ratio = 2 }", "ratios = 2 }", "'ratios'", "ratio ="),
    ("ratio = 2 }", 'ratio = "2" }', "mlp.ratio is '2'", "a number"),
    ("ratio = 2 }", "ratio = 0 }", "ratio is 0", "above 0"),
    ("kernel_size = [3, 5]", "kernel_size = [3, 4]", "kernel_size is 4", "odd"),
    ("kernel_size = [3, 5]", "kernel_size = 3.0", "kernel_size is 3.0", "whole number"),
    ("kernel_size = [3, 5]", "kernel_size = [[3, 5]]", "kernel_size is (3, 5)", "whole number"),
    (
        'mixer = [{ part = "depthwise_conv", kernel_size = [3, 5] }]',
        'mixer = [{ part = "ems" }]',
        "ems has 8 channels",
        "width = 16",
    ),
    ('part = "mlp", ratio = 2', 'part = "ms_ffn", scales = [1, 3]', "scales is 1", "a list"),
    ('part = "mlp", ratio = 2', 'part = "ms_ffn", scales = [[3, 1]]', "scales is [3, 1]", "ascending"),
]


@pytest.mark.parametrize(("before", "after", "given", "help_"), WRONG, ids=lambda value: str(value).strip()[:40])
def test_wrong_files(before: str, after: str, given: str, help_: str) -> None:
    assert BASE.count(before) == 1
    with pytest.raises(InputError) as error:
        check(SearchSpace.from_toml(BASE.replace(before, after), "wrong.toml"))
    assert given in error.value.given
    assert help_ in f"{error.value.allowed}\n{error.value.instead}"
    assert error.value.allowed
    assert error.value.instead


@pytest.mark.parametrize(
    "mixer",
    [
        '"d_mixer", head_dim = 2, local = ["idconv", "depthwise"]',  # words have no order
        '"d_mixer", head_dim = 2, sr_ratio = [4, 2], overlap = [true, false]',  # a larger number is no larger network
        '"ems", static_split = [[0.25, 0.5, 0.25], [0.25, 0.25, 0.5]]',  # lists of one length
    ],
)
def test_what_has_no_order_is_listed_in_any(mixer: str) -> None:
    space = SearchSpace.from_toml(BASE.replace('"depthwise_conv", kernel_size = [3, 5]', mixer))
    given, found = (dict(s.stages[0].blocks[SLOTS.index("mixer")][0].options) for s in (space, completed(space)))
    assert given == {key: found[key] for key in given}


@pytest.mark.parametrize(
    "data", [[], "x", None, {"name": "a", "stages": [3], "head": {}}, {"name": "a", "stages": "x", "head": {}}]
)
def test_wrong_data(data: Any) -> None:
    with pytest.raises(InputError):
        SearchSpace.from_dict(data)


def test_errors_of_a_size_say_where() -> None:
    text = BASE.replace(
        'mixer = [{ part = "depthwise_conv", kernel_size = [3, 5] }]',
        'mixer = { part = "ems" }',
    )
    with pytest.raises(InputError, match=r"stages\.0\.blocks of space wrong"):
        check(SearchSpace.from_toml(text))
