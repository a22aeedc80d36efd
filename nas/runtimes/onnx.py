"""ONNX Runtime, by way of torch.onnx.export (the exporter of torch.export), opset 20."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.export import OPSET
from nas.export.onnx_models import LIBRARIES, onnx_model
from nas.runtimes import Setting
from nas.runtimes.artefacts import Artefacts
from nas.runtimes.forms import check_outputs, folded, in_groups, outputs_of, set_threads
from search_spaces.errors import InputError

TOGETHER, PARAMS = 24, 20_000_000
"""The most modules that are exported at once, and the most parameters that they have: a file has to stay below 2 GB."""

Job = tuple[nn.Module, tuple[Tensor, ...]]
"""A module and its inputs."""

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Onnx:
    """ONNX Runtime with all of its optimisations and those of the exporter. Maps are NCHW at its border, and laid out as it likes inside.

    It is given the form for inference. ONNX Runtime folds batch norms into convolutions itself, but neither norms before a convolution nor
    LayerScale; files of networks with merged branches alone take longer to export and are no faster.

    Two sessions of one file can differ by tens of per cent where a call takes some 20 microseconds, as single units do: it depends on
    where their memory lies.
    """

    name = "onnx"

    def __init__(self) -> None:
        self._kept: Artefacts | None = None

    def keep_in(self, folder: Path) -> None:
        """See `nas.runtimes.keep_in`. Exported files are kept."""
        self._kept = Artefacts(folder, _versions())

    def settled(self, setting: Setting) -> Setting:
        """The setting with the layout of ONNX, contiguous.

        Raises:
            InputError: a library is missing, the device is, or the type of numbers is not float32.
        """
        missing = [name for name in LIBRARIES if find_spec(name) is None]
        if missing:
            raise InputError(
                f"runtime onnx needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
                "the optional libraries of the extra onnx, or another runtime",
                'pip install "hybrid-mixer-nas[onnx]", or runtime=eager',
            )
        kind = setting.device.partition(":")[0]
        if PROVIDERS.get(kind) not in _providers():
            raise InputError(
                f"this ONNX Runtime does not run on device {setting.device!r}",
                ", ".join(kind for kind, provider in PROVIDERS.items() if provider in _providers()),
                "device=cpu, or pip install onnxruntime-gpu",
            )
        if setting.dtype != "float32":
            raise InputError(f"runtime onnx with dtype {setting.dtype}", "float32", "dtype=float32, or runtime=eager")
        return replace(setting, layout="contiguous")

    def prepare(self, module: nn.Module, inputs: tuple[Tensor, ...], setting: Setting) -> Callable[[], object]:
        """See `Runtime.prepare`.

        Raises:
            InputError: the module cannot be exported, or gives other outputs then.
        """
        return next(self.prepare_all([(module, inputs)], setting))

    def prepare_all(self, jobs: Iterable[Job], setting: Setting) -> Iterator[Callable[[], object]]:
        """See `nas.runtimes.prepare_all`. An export costs half a second however small the module is, and `TOGETHER` modules in one file
        cost little more than one; the file is cut into theirs.
        """
        set_threads(setting)
        for batch in _batches(jobs):
            given = [(module, tuple(x.detach().contiguous() for x in inputs)) for module, inputs in batch]
            yield from self._of_batch(given, setting)

    def _of_batch(self, jobs: Sequence[Job], setting: Setting) -> Iterator[Callable[[], object]]:
        """What runs each of the jobs: from its kept file where there is one, exported with the others otherwise."""
        keys = [self._kept.key(*job) if self._kept else "" for job in jobs]
        there = [self._kept_run(key, job, setting) for key, job in zip(keys, jobs, strict=True)]
        files = _files([job for job, run in zip(jobs, there, strict=True) if run is None])
        for key, job, run in zip(keys, jobs, there, strict=True):
            if run is None:
                file = next(files)
                run = _run(file, *job, setting)
                if self._kept is not None:
                    self._kept.write(key, file)
            yield run

    def _kept_run(self, key: str, job: Job, setting: Setting) -> Callable[[], object] | None:
        """What runs a kept file; None where there is none. A file that cannot be read or computes something else counts as none."""
        file = self._kept.read(key) if self._kept else None
        if file is None:
            return None
        try:
            return _run(file, *job, setting)
        except Exception:  # whatever ONNX Runtime finds in a damaged file
            return None

    def versions(self, setting: Setting) -> dict[str, str]:
        """Of ONNX Runtime, and of what makes its file."""
        return _versions()


def _versions() -> dict[str, str]:
    """Of ONNX Runtime, and of what makes its file."""
    found = {}
    for name in ("onnxruntime", "onnxscript", "onnx"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return {**found, "torch": torch.__version__, "opset": str(OPSET)}


def _run(file: bytes, module: nn.Module, images: tuple[Tensor, ...], setting: Setting) -> Callable[[], object]:
    """What runs an ONNX file on images.

    Args:
        module: whose outputs it has to give.
    """
    session = _session(file, setting)
    names = [value.name for value in session.get_inputs()]
    feed = dict(zip(names, (x.numpy() for x in images), strict=True))
    if setting.device != "cpu":
        run, outputs = _bound(session, feed, setting)
        check_outputs(outputs(), outputs_of(module, images), setting)
        return run

    def run_here() -> object:
        return session.run(None, feed)[0]

    check_outputs(run_here(), outputs_of(module, images), setting)
    return run_here


def _bound(session: Any, feed: dict[str, Any], setting: Setting) -> tuple[Callable[[], object], Callable[[], object]]:
    """What runs a session on maps that stay on the GPU, and what fetches the output. Copies from and to the GPU are not timed."""
    import onnxruntime

    kind, number = _device(setting)
    binding = session.io_binding()
    for name, array in feed.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array, kind, number))
    binding.bind_output(session.get_outputs()[0].name, kind, number)

    def run() -> object:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return binding

    def outputs() -> object:
        run()
        return binding.copy_outputs_to_cpu()[0]

    return run, outputs


def _device(setting: Setting) -> tuple[str, int]:
    kind, _, number = setting.device.partition(":")
    return kind, int(number or 0)


def _batches(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Jobs that are exported together."""
    return in_groups(jobs, lambda job: sum(p.numel() for p in job[0].parameters()), TOGETHER, PARAMS)


def _providers() -> list[str]:
    import onnxruntime

    return onnxruntime.get_available_providers()


def exported(module: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
    """The module as an ONNX file with its weights inside, for these very sizes.

    Raises:
        InputError: it has operators that ONNX has not.
    """
    return _exported(module, inputs).SerializeToString()


def _files(jobs: Sequence[Job]) -> Iterator[bytes]:
    """As `exported`, for each of several modules, in one export where that works."""
    if len(jobs) > 1:
        try:
            yield from _exported_together([(folded(module), images) for module, images in jobs])
            return
        except InputError:  # one at a time, so that the message is about the one that fails
            pass
    for module, images in jobs:
        yield exported(folded(module), images)


class _Several(nn.Module):
    """Modules beside each other. Maps the inputs of all to the outputs of all."""

    def __init__(self, modules: Sequence[nn.Module], counts: Sequence[int]) -> None:
        super().__init__()
        self.parts, self.counts = nn.ModuleList(modules), list(counts)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs, rest = [], inputs
        for module, count in zip(self.parts, self.counts, strict=True):
            outputs.append(module(*rest[:count]))
            rest = rest[count:]
        return tuple(outputs)


def _exported_together(jobs: Sequence[Job]) -> list[bytes]:
    """As `exported`, for each of several modules."""
    import onnx.utils

    together = _Several([module for module, _ in jobs], [len(inputs) for _, inputs in jobs])
    sources = [[f"x{number}_{place}" for place in range(len(inputs))] for number, (_, inputs) in enumerate(jobs)]
    results = [f"y{number}" for number in range(len(jobs))]
    model = _exported(
        together,
        tuple(x for _, inputs in jobs for x in inputs),
        input_names=[name for names in sources for name in names],
        output_names=results,
    )
    cut = onnx.utils.Extractor(model)
    return [cut.extract_model(names, [y]).SerializeToString() for names, y in zip(sources, results, strict=True)]


def _exported(module: nn.Module, inputs: tuple[Tensor, ...], **names: Any) -> Any:
    """The ONNX model of a module, as a protocol buffer."""
    try:
        return onnx_model(module, inputs, OPSET, **names)
    except Exception as error:  # whatever the exporter finds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise InputError(
            f"runtime onnx cannot export this network ({type(error).__name__}: {reason})",
            "networks of operators that ONNX has",
            "runtime=eager",
        ) from error


def _session(model: bytes, setting: Setting) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setting.threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    # Its threads would keep looking for work, on the cores of whatever is timed next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    kind, number = _device(setting)
    provider = PROVIDERS[kind] if kind == "cpu" else (PROVIDERS[kind], {"device_id": number})
    return onnxruntime.InferenceSession(model, options, providers=[provider])
