"""Descriptions of networks that somebody else wrote are read or refused, in three parts, before anything takes memory."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import save_for_hf

from nas import load_network
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.files.blueprint import blueprint
from search_spaces.files.folder import CONFIG, MODEL, WEIGHTS
from search_spaces.files.plain import parse
from search_spaces.files.sizes import MOST_BLOCKS
from search_spaces.network import build
from tests.search_spaces.network_folders import LOADERS, NETWORK, config, load_with_timm, refused, sound, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sound(tmp_path)


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


ARCHITECTURE = ("model_args", "arch")
FIRST = (*ARCHITECTURE, "stages", 0)
PARTS = (*FIRST, "blocks", 0)
DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (put(*FIRST, "width", value=10**9), "1000000000 channels in a stage"),
        (put(*FIRST, "width", value=-8), "width is -8"),
        (put(*FIRST, "width", value=8.0), "width is 8.0"),
        (put(*FIRST, "width", value=10**400), "a number above 10^18"),
        (put(*FIRST, "width", value=60_000), "the architecture asks for more than"),
        (put(*ARCHITECTURE, "num_classes", value=10**9), "1000000000 classes"),
        (put(*ARCHITECTURE, "resolution", value=10**9), "pixels to a side"),
        (put(*ARCHITECTURE, "in_channels", value=0), "in_channels is 0"),
        (put(*ARCHITECTURE, "stages", value=[]), "no stages"),
        (put(*ARCHITECTURE, "stages", value=DEEP), "lists and tables inside each other"),
        (put(*ARCHITECTURE, "stages", value={"a": 1}), "stages is {'a': 1}"),
        (put(*PARTS, "mixer", value={"part": "rootkit"}), "unknown token mixer 'rootkit'"),
        (put(*PARTS, "mixer", value={"part": "os.system"}), "unknown token mixer 'os.system'"),
        (put(*PARTS, "mixer", "kernel_size", value=10**9), "kernel_size"),
        (put(*PARTS, "mixer", "kernel_size", value=-3), "kernel_size is -3"),
        (put(*PARTS, "mixer", "kernel_size", value="3"), "kernel_size is '3'"),
        (put(*PARTS, "mixer", "kernel_size", value=65_535), "asks for more than"),
        (put(*PARTS, "mixer", "dilation", value=2), "unknown option"),
        (put(*PARTS, "ffn", "num_branches", value=65_536), "asks for more than"),
        (put(*PARTS, "ffn", "ratio", value=1e17), "ratio"),
        (put(*PARTS, "extra", value={"part": "none"}), "a block is described by"),
(put(*ARCHITECTURE, "stages", value=[config()["model_args"]["arch"]["stages"][0]] * 65), "65 stages"),
    ],
)  # fmt: skip
def test_architectures_that_are_absurd(change: Callable[[dict[str, Any]], None], word: str, folder: Path) -> None:
    wrong = config()
    del wrong["digest"]
    change(wrong)
    write(folder, wrong)
    for name in (MODEL, WEIGHTS):  # without a digest, which would not be that of the description
        save_file(NETWORK.state_dict(), folder / name)
    for load in LOADERS:
        refused(load, folder, word)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (put("num_classes", value=5), "num_classes=5"),
        (put("pretrained_cfg", "input_size", value=[1, 8, 8]), "input_size"),
        (put("pretrained_cfg", "input_size", value=[3, 10**9, 8]), "input_size"),
        (put("pretrained_cfg", "mean", value="a"), "mean"),
        (put("pretrained_cfg", "url", value="http://example.org/weights.pth"), "url="),
        (put("pretrained_cfg", "hf_hub_filename", value="../../weights.bin"), "hf_hub_filename="),
        (put("pretrained_cfg", "custom_load", value=True), "custom_load=True"),
        (put("pretrained_cfg", "state_dict", value={"a": 1}), "state_dict="),
        (put("pretrained_cfg", "label_offset", value=1), "label_offset=1"),
        (put("pretrained_cfg", "exec", value="os.system"), "unknown key of pretrained_cfg: 'exec'"),
        (put("pretrained_cfg", "interpolation", value="evil"), "interpolation"),
        (put("model_args", "img_size", value=65_536), "the architecture asks for more than"),
        (put("model_args", "img_size", value=-1), "img_size is -1"),
        (put("model_args", "num_classes", value=10**12), "num_classes is 1000000000000"),
        (put("model_args", "block_fn", value="os.system"), "unknown argument"),
        (put("model_args", "window_sizes", value=[8] * 1000), "window_sizes are"),
        (put("model_args", "arch", value=None), "none was given"),
    ],
)  # fmt: skip
def test_configurations_that_are_wrong(change: Callable[[dict[str, Any]], None], word: str, tmp_path: Path) -> None:
    """The network has a table of positions, which `img_size` resizes."""
    arch = NETWORK.arch.to_dict()
    arch["stages"][0]["blocks"][0]["position"] = {"part": "absolute", "map_size": 4}
    network = build(Architecture.from_dict(arch))
    wrong = config() | {"model_args": {"arch": network.arch.to_dict()}, "digest": network.arch.digest}
    change(wrong)
    write(tmp_path, wrong)
    save_file(network.state_dict(), tmp_path / MODEL)
    for load in (load_network, load_with_timm):
        refused(load, tmp_path, word)


def test_an_architecture_of_too_many_blocks() -> None:
    [stage] = NETWORK.arch.stages
    deep = replace(NETWORK.arch, stages=(replace(stage, blocks=stage.blocks * (MOST_BLOCKS + 1)),))
    with pytest.raises(InputError, match="257 blocks, and at most 256"):
        blueprint(deep)


def test_a_digest_that_is_not_the_description_s(folder: Path) -> None:
    write(folder, config() | {"digest": "0" * 12})
    refused(load_network, folder, "says that it is network '000000000000'")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "-Infinity"),
        ("[" * 100_000 + "]" * 100_000, "inside each other"),
        ("[" * 100 + "]" * 100, "inside each other"),
        ('{"a": ' + "9" * 5000 + "}", "digits"),
        ('{"a": 1e999}', "not finite"),
        ('"' + "a" * 20_000 + '"', "a text of 20,000 characters"),
        ('"\\ud800"', "surrogate"),
        ("", "Expecting value"),
    ],
)
def test_texts_that_are_refused(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        parse(text)


def test_a_file_of_json_that_is_too_large(folder: Path) -> None:
    with open(folder / CONFIG, "ab") as file:
        file.truncate(2**34)
    refused(load_network, folder, "17,179,869,184 bytes")


@pytest.mark.slow
def test_folders_of_the_papers_networks(tmp_path: Path) -> None:
    """As timm saves a trained one: loaded with the same checks."""
    model = timm.create_model("transxnet_tiny", num_classes=3, img_size=32).eval()
    save_for_hf(model, tmp_path, safe_serialization=True)
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        for load in (load_network, load_with_timm):
            assert torch.equal(load(tmp_path)(x), model(x))
    saved = json.loads((tmp_path / CONFIG).read_text())
    for change, word in (
        (put("model_args", "img_size", value=60_000), "asks for more than"),
        (put("pretrained_cfg", "first_conv", value="stages.9.nowhere"), ""),
        (put("pretrained_cfg", "hf_hub_filename", value="../weights.bin"), "hf_hub_filename="),
    ):
        wrong = json.loads(json.dumps(saved))
        change(wrong)
        (tmp_path / CONFIG).write_text(json.dumps(wrong))
        if word:
            for load in (load_network, load_with_timm):
                refused(load, tmp_path, word)
        else:  # names of layers in the file are not asked for
            assert timm.create_model(f"local-dir:{tmp_path}", pretrained=True, in_chans=1).in_chans == 1
