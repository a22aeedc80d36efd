"""Fingerprints say what a time depends on: the machine, the versions, the compiler and the GPU."""

import os
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from nas.measuring.fingerprint import check_cores, fingerprint, gpu_versions, same_device, tf32
from nas.runtimes import Setting, make_runtime
from search_spaces.errors import InputError


def test_a_fingerprint_says_what_a_time_depends_on() -> None:
    import json

    one = fingerprint(Setting())
    assert json.loads(json.dumps(one)) == one == fingerprint(Setting())
    assert same_device(one, one) == []
    assert one["versions"]["torch"] == torch.__version__
    assert one["processor"]
    assert same_device(one, fingerprint(Setting(batch=4))) == ["the batch is 1 and was 4"]
    elsewhere = one | {
        "processor": "Other", "flags": ["avx2"], "gpu": "Another", "versions": one["versions"] | {"torch": "2.0"},
    }  # fmt: skip
    words = same_device(one, elsewhere)
    assert [word.split(" is ")[0] for word in words] == [
        "the processor", "the instruction sets of the processor", "the GPU", "torch",
    ]  # fmt: skip
    assert words[-1] == f"torch is {torch.__version__} and was 2.0"
    assert "the GPU is none and was Another" in words


def test_a_fingerprint_is_of_the_machine_and_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    one = fingerprint(Setting())
    assert one["cores"] == os.cpu_count()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert fingerprint(Setting()) == one
    check_cores(1)
    with pytest.raises(InputError) as error:
        check_cores(3)
    assert "3 threads are to be measured, and this process may use 1 core only" in error.value.given
    assert "threads=1" in error.value.instead
    assert one["versions"]["hybrid-mixer-nas"] == version("hybrid-mixer-nas")
    assert not {"driver", "cuDNN"} & one["versions"].keys()
    assert one["tf32"] == ""


def test_a_fingerprint_of_compiled_code_names_its_compiler() -> None:
    versions = fingerprint(Setting("compiled"))["versions"]
    assert any(character.isdecimal() for character in versions["C++ compiler"])
    assert versions["compiler options"] == "cpp_wrapper=True"


def test_a_gpu_profile_does_not_depend_on_what_compiles_for_a_processor() -> None:
    """A profile is refused when anything of its fingerprint changes, and what changes nothing on the device would refuse it for nothing."""
    assert make_runtime("compiled").versions(Setting("compiled", device="cuda")) == {"torch": torch.__version__}


def test_a_fingerprint_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that has one these are real; here torch is told so."""
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 90100)
    found = gpu_versions("cuda:0")
    assert found["cuDNN"] == "90100"
    assert (found["driver"] == "") != Path("/proc/driver/nvidia/version").exists()
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    assert "convolutions" in tf32("cuda")
    torch.backends.cudnn.allow_tf32 = False
    assert "convolutions" not in tf32("cuda")
    torch.backends.cudnn.allow_tf32 = before
