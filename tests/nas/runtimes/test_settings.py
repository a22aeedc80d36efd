"""What a runtime is asked for: settings that are wrong, and devices, number formats, libraries and compilers that are not there."""

from importlib.util import find_spec
from typing import Any

import pytest
import torch

from nas.runtimes import NAMES, Setting, make_runtime
from nas.runtimes.compiled import Compiled
from nas.runtimes.onnx import Onnx
from search_spaces.errors import InputError


@pytest.mark.parametrize(
    ("wrong", "given", "instead"),
    [
        ({"runtime": "egaer"}, "unknown runtime 'egaer'", "runtime=eager"),
        ({"threads": 0}, "threads is 0", "threads=1"),
        ({"batch": 2**30}, "batch is", "batch=1"),
        ({"dtype": "float"}, "unknown dtype 'float'", "dtype=float"),
        ({"layout": "nhwc"}, "unknown layout 'nhwc'", "layout="),
    ],
)
def test_settings_that_are_wrong(wrong: dict[str, Any], given: str, instead: str) -> None:
    with pytest.raises(InputError) as error:
        Setting(**wrong)
    assert given in error.value.given
    assert instead in error.value.instead


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device")
@pytest.mark.parametrize("name", NAMES)
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(InputError, match="cuda") as error:
        make_runtime(name).settled(Setting(name, device="cuda"))
    assert "cpu" in error.value.allowed
    assert "device=cpu" in error.value.instead
    with pytest.raises(InputError, match="gpu7"):
        make_runtime(name).settled(Setting(name, device="gpu7"))


def test_onnx_takes_float32_in_its_own_layout() -> None:
    assert Onnx().settled(Setting("onnx")).layout == "contiguous"
    with pytest.raises(InputError, match="dtype bfloat16"):
        Onnx().settled(Setting("onnx", dtype="bfloat16"))


def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.runtimes.onnx.find_spec", lambda name: None if name == "onnxruntime" else find_spec(name))
    with pytest.raises(InputError, match="onnxruntime, which is not installed") as error:
        Onnx().settled(Setting("onnx"))
    assert 'pip install "hybrid-mixer-nas[onnx]"' in error.value.instead


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler"):
        Compiled().settled(Setting("compiled"))
