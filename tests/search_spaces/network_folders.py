"""A small network, its folder, and how a folder is refused: for tests of what somebody else wrote."""

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from nas import load_network
from search_spaces.architecture import Architecture, Block, Part, Stage
from search_spaces.errors import InputError
from search_spaces.files.folder import ARCH, CONFIG, MODEL, WEIGHTS
from search_spaces.network import build
from search_spaces.timm_configs import config_of

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


def sound(tmp_path: Path) -> Path:
    """A sound folder in both forms."""
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
