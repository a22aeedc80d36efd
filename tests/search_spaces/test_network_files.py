"""Network folders that somebody else wrote are loaded or refused, in three parts, before anything takes memory."""

import json
import os
import pickle
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from nas import load_network
from search_spaces.architecture import Architecture, Block, Part, Stage
from search_spaces.errors import InputError
from search_spaces.files.blueprint import announced, blueprint
from search_spaces.files.folder import ARCH, CONFIG, MODEL, WEIGHTS
from search_spaces.files.plain import parse
from search_spaces.files.sizes import MOST_BLOCKS
from search_spaces.files.tensors import read_header
from search_spaces.mixers.depthwise_conv import DepthwiseConvMixer as DepthwiseConv
from search_spaces.network import build
from search_spaces.timm_configs import config_of
from tests.fuzzing import KNOWN, try_input

BLOCK = Block(
    position=Part.of("none"),
    norm=Part.of("layer_norm"),
    mixer=Part.of("depthwise_conv", kernel_size=3),
    ffn=Part.of("rp_cpe_ffn", ratio=1.0, num_branches=2),
    scale=Part.of("none"),
)
NETWORK = build(
    Architecture(
        in_channels=3,
        num_classes=4,
        resolution=8,
        stages=(Stage(width=8, embedding=Part.of("conv_stem", stride=2), blocks=(BLOCK,)),),
        head=Part.of("linear_head"),
    )
).eval()
DIGEST = NETWORK.arch.digest


def config() -> dict[str, Any]:
    return {
        "architecture": "hybrid_mixer",
        "num_classes": 4,
        "digest": DIGEST,
        "model_args": {"arch": NETWORK.arch.to_dict()},
        "pretrained_cfg": json.loads(json.dumps(config_of(NETWORK.arch))),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound one in both forms."""
    write(tmp_path, config())
    for name in (MODEL, WEIGHTS):
        save_file(NETWORK.state_dict(), tmp_path / name, {"nas": json.dumps({"digest": DIGEST})})
    return tmp_path


def write(folder: Path, config: dict[str, Any]) -> None:
    (folder / CONFIG).write_text(json.dumps(config))
    (folder / ARCH).write_text(json.dumps(config["model_args"].get("arch")))


def load_with_timm(folder: Path) -> torch.nn.Module:
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def load_searched(folder: Path) -> torch.nn.Module:
    return load_network(folder, WEIGHTS)


LOADERS = (load_network, load_searched, load_with_timm)


def test_a_sound_folder_is_loaded(folder: Path) -> None:
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        for load in LOADERS:
            assert torch.equal(load(folder)(x), NETWORK(x))


def test_the_blueprint_has_the_names_and_shapes_of_the_file(folder: Path) -> None:
    header = read_header(folder / MODEL)
    assert dict(header.tensors) == announced(blueprint(NETWORK.arch))
    assert header.digest == DIGEST
    assert header.numbers == sum(tensor.numel() for tensor in NETWORK.state_dict().values())


def refused(load: Callable[[Path], Any], folder: Path, *words: str) -> None:
    """In three parts, within seconds and 64 MiB, and with words in it."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(InputError) as caught:
        load(folder)
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value)) < 2000


# Weights


def pickled(path: Path) -> None:
    torch.save(NETWORK.state_dict(), path)


def pickled_plainly(path: Path) -> None:
    path.write_bytes(pickle.dumps({"head.linear.weight": [0.0] * 40}))


def header_bomb(path: Path) -> None:
    """A header of a hundred megabytes in a sparse file as long as it says."""
    with open(path, "wb") as file:
        file.write((10**8).to_bytes(8, "little"))
        file.truncate(10**8 + 8)


def header_too_long(path: Path) -> None:
    path.write_bytes((2**63).to_bytes(8, "little") + path.read_bytes()[8:])


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def huge_shape(path: Path) -> None:
    rewritten(path, lambda header: header["head.linear.weight"].update(shape=[10**9, 10**9]))


def negative_shape(path: Path) -> None:
    rewritten(path, lambda header: header["head.linear.weight"].update(shape=[-4, -8]))


def overlapping(path: Path) -> None:
    rewritten(path, lambda header: header["head.linear.weight"].update(data_offsets=[0, 128]))


def other_type(path: Path) -> None:
    rewritten(path, lambda header: header["head.linear.weight"].update(dtype="I32"))


def no_type(path: Path) -> None:
    rewritten(path, lambda header: header["head.linear.weight"].update(dtype=["F32"]))


def changed(path: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def one_more(path: Path) -> None:
    changed(path, lambda tensors: tensors.update(extra=torch.zeros(1)))


def one_less(path: Path) -> None:
    changed(path, lambda tensors: tensors.pop("head.linear.weight"))


def transposed(path: Path) -> None:
    changed(path, lambda tensors: tensors.update({"head.linear.weight": tensors["head.linear.weight"].T.contiguous()}))


def of_another(path: Path) -> None:
    save_file(NETWORK.state_dict(), path, {"nas": json.dumps({"digest": "0" * 12})})


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (pickled, "it is a pickle"),
        (pickled_plainly, "it is a pickle"),
        (header_bomb, "its header has 100,000,000 bytes"),
        (header_too_long, "fewer than its header announces"),
        (truncated, "its tensors have"),
        (longer, "its tensors have"),
        (empty, "it has 0 bytes"),
        (huge_shape, "as long as its shape says"),
        (negative_shape, "has the shape [-4, -8]"),
        (overlapping, "does not lie behind the one before it"),
        (other_type, "of type I32"),
        (no_type, "has the type ['F32']"),
        (one_more, "extra is [1] in the file and missing here"),
        (one_less, "head.linear.weight is missing in the file"),
        (transposed, "head.linear.weight is [8, 4] in the file and [4, 8] here"),
        (of_another, "has weights of network '000000000000'"),
        (a_pipe, "it is no ordinary file"),
        (a_device, "it is no ordinary file"),
    ],
)
def test_weights_that_are_not_what_they_should_be(damage: Callable[[Path], None], word: str, folder: Path) -> None:
    for name in (MODEL, WEIGHTS):
        damage(folder / name)
    for load in LOADERS:
        refused(load, folder, str(folder / (WEIGHTS if load is load_searched else MODEL)), word)


def test_timm_finds_no_pickle_where_the_weights_are_missing(folder: Path) -> None:
    """timm itself would fall back to pytorch_model.bin."""
    torch.save(NETWORK.state_dict(), folder / "pytorch_model.bin")
    (folder / MODEL).unlink()
    for load in (load_network, load_with_timm):
        refused(load, folder, MODEL)


def test_weights_of_half_precision_are_taken(folder: Path) -> None:
    save_file(
        {key: value.half() if value.is_floating_point() else value for key, value in NETWORK.state_dict().items()},
        folder / MODEL,
    )
    for load in (load_network, load_with_timm):
        weight = load(folder).state_dict()["head.linear.weight"]
        assert weight.dtype == torch.float32
        assert torch.equal(weight, NETWORK.state_dict()["head.linear.weight"].half().float())


# Descriptions


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
    with pytest.raises(InputError, match="4097 blocks, and at most 4,096"):
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


def test_mutated_folders() -> None:
    """A few of the inputs of tests/fuzzing.py, which is run by hand with a hundred thousand."""
    outcomes = {try_input(number) for number in (*KNOWN, *range(60))}
    assert {kind for kind, _ in outcomes} == {"config", "arch", "text", "header", "bytes", "other weights"}
    assert {"loaded", "refused"} <= {outcome for _, outcome in outcomes}


def test_tensors_that_no_state_dict_keeps_are_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of somebody else's may compute some: they are not left without values."""
    init = DepthwiseConv.__init__

    def with_a_grid(self: Any, *arguments: Any) -> None:
        init(self, *arguments)
        self.register_buffer("grid", torch.arange(3.0), persistent=False)

    monkeypatch.setattr(DepthwiseConv, "__init__", with_a_grid)
    assert torch.equal(load_network(folder).stages[0].blocks[0].mixer.grid, torch.arange(3.0))


def test_the_weights_of_a_loaded_network_can_be_trained(folder: Path) -> None:
    for load in LOADERS:
        network = load(folder)
        assert all(parameter.requires_grad and parameter.device.type == "cpu" for parameter in network.parameters())
        network.train()(torch.randn(2, 3, 8, 8)).sum().backward()
