"""Everything that only a machine with a GPU can show, in one command with a time limit: what runs there, how fast, and how exactly.

    python tests/benchmarks/gpu.py --out OUT                                # all parts but the last
    python tests/benchmarks/gpu.py --out OUT --parts forms,latency1 --minutes 4
    python tests/benchmarks/gpu.py --out OUT --device cpu --quick --patience 9 --minutes 60     # a rehearsal on a processor

    forms       every unit and some networks of images32: captured as a CUDA graph or not, and their difference from the CPU
    latency1    `nas profile` of images32 at batch 1, tested on 30 held-out networks, beside a regression on MACs
    latency128  the same at batch 128
    exact       a supernet's sub-networks beside the extracted ones on the device; operators that are not deterministic there
    nccl        training steps in a process group of torch.distributed (NCCL on a GPU) beside steps without one
    resume      `nas train` twice undisturbed, once killed and resumed, once in bf16; then search, extract, retrain and report
    tests       the tests that need a GPU
    training    images per second of supernet training, by batch and number format, and on the CPU
    compiled    `nas bench`: eager and compiled networks side by side
    unified1    as latency1 for unified at 224: 25 networks for calibration and 15 held out, and their units; only where it is named

Parts whose times count run alone; exact, nccl, resume and tests run side by side. Every part is a process of its own with a limit: one
that fails or is late costs the others nothing, and ends with exit code 1 here. What a part prints is shown and added to OUT/report.txt
when it ends; profiles and times are kept in OUT/profiles.tar.
"""

import argparse
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NAMED = ("unified1",)
"""Parts that run only where they are asked for."""

SHOWN, WIDTH = 40, 240
"""Lines of each part that are printed when it ends, and their length: the report has all."""


@dataclass(frozen=True)
class Part:
    """One of the parts.

    Args:
        limit: seconds after which it is ended.
        alone: whether nothing else may run meanwhile, because its times count.
    """

    name: str
    limit: float
    alone: bool
    command: tuple[str, ...]


def parts(arguments: argparse.Namespace, work: Path) -> list[Part]:
    """All parts, in the order in which they run."""
    quick, device = arguments.quick, arguments.device

    def of_parts(name: str, *more: str) -> tuple[str, ...]:
        return (
            "tests/benchmarks/gpu_parts.py",
            name,
            "--device",
            device,
            "--work",
            str(work),
            *["--quick"] * quick,
            *more,
        )

    def latency(space: str, batch: int, seconds: int) -> tuple[str, ...]:
        return (
            "tests/benchmarks/latency_model.py", "--device", device, "--spaces", space, "--runtimes", "eager", "--batch", str(batch),
            "--noisy", "--seconds", str(2 if quick else seconds), "--out", str(work / "profiles"), *(("--units", "none") if quick else ()),
        )  # fmt: skip

    bench = (
        "-m", "nas.cli", "bench", "timm/resnet18", *(() if quick else ("transxnet_tiny", "hat_net_tiny", "timm/resnet50")),
        f"device={device}", "runtime=eager,compiled", "batch=1" if quick else "batch=1,128", "noisy=true", f"seconds={2 if quick else 60}",
        f"out={work}/bench.csv", "error=0.02",
    )  # fmt: skip
    tests = (
        "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-W", "default", "tests/nas/runtimes/test_cuda.py", "tests/nas/test_augmentation.py",
        "tests/search_spaces/test_inference.py", "-k", "gpu or another_device",
    )  # fmt: skip
    return [
        Part("forms", 90, True, of_parts("forms")),
        Part("latency1", 130, True, latency("images32", 1, 60)),
        Part("latency128", 150, True, latency("images32", 128, 80)),
        Part("exact", 100, False, of_parts("exact")),
        Part("nccl", 100, False, of_parts("nccl")),
        Part("resume", 120, False, of_parts("resume")),
        Part("tests", 100, False, tests),
        Part("training", 150, True, of_parts("training")),
        Part("compiled", 200, True, bench),
        Part("unified1", 420, True, latency("unified", 1, 120)),
    ]


@dataclass
class Running:
    """A part that has been started."""

    part: Part
    process: "subprocess.Popen[bytes]"
    started: float
    until: float

    def end_if_late(self) -> None:
        """Ends it and all that it has started once its time is over."""
        if time.monotonic() > self.until and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Runner:
    """Runs parts.

    Args:
        out: folder of the report and of what is kept.
        work: folder of everything else.
        until: when whatever runs is ended, by `time.monotonic`.
        patience: a part's limit is that many times longer.
    """

    def __init__(self, out: Path, work: Path, until: float, patience: float) -> None:
        self.out, self.work, self.until, self.patience = out, work, until, patience
        self.failed: list[str] = []

    def say(self, text: str, shown: str | None = None) -> None:
        """Adds a text to the report, and prints it or what is to be shown instead."""
        with open(self.out / "report.txt", "a", encoding="utf-8") as file:
            file.write(text + "\n")
        print(text if shown is None else shown, flush=True)  # noqa: T201

    def run(self, group: list[Part]) -> None:
        """Runs parts side by side."""
        if time.monotonic() > self.until - 10:
            self.say(f"== {', '.join(part.name for part in group)}: no time left")
            self.failed += [part.name for part in group]
            return
        left = [self._start(part) for part in group]
        while left:
            time.sleep(0.2)
            for one in list(left):
                one.end_if_late()
                if one.process.poll() is not None:
                    left.remove(one)
                    self._finish(one)
        self._keep()

    def _log(self, part: Part) -> Path:
        return self.work / f"{part.name}.txt"

    def _start(self, part: Part) -> Running:
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        environment = os.environ | {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        now = time.monotonic()
        with open(self._log(part), "wb") as file:
            process = subprocess.Popen(
                [sys.executable, *part.command], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
                env=environment | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"},  # without it, its products are not deterministic
            )  # fmt: skip
        return Running(part, process, now, min(now + self.patience * part.limit, self.until))

    def _finish(self, one: Running) -> None:
        code = one.process.returncode
        ended = "ended at its limit" if code == -signal.SIGKILL else f"exit code {code}"
        head = f"== {one.part.name}: {ended}, {time.monotonic() - one.started:.0f} s"
        lines = self._log(one.part).read_text("utf-8", "replace").splitlines()
        self.say("\n".join([head, *lines]), "\n".join([head, *(line[:WIDTH] for line in lines[-SHOWN:])]))
        self.failed += [one.part.name] * bool(code)

    def _keep(self) -> None:
        """Copies what the parts have measured so far, as one file."""
        with tarfile.open(self.out / "profiles.tar", "w") as archive:
            for path in [*sorted((self.work / "profiles").glob("*.json*")), self.work / "bench.csv"]:
                if path.is_file():
                    archive.add(path, path.name)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--out", required=True, help="folder of what is printed and measured")
    parser.add_argument("--work", help="folder of everything else; OUT.work by default")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--parts", default="", help="some of the parts, such as forms,latency1")
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="after which whatever runs is ended, and nothing else begins"
    )
    parser.add_argument("--patience", type=float, default=1.0, help="factor of every part's limit, for slower machines")
    parser.add_argument("--quick", action="store_true", help="little of everything, to try the program")
    arguments = parser.parse_args()
    out = Path(arguments.out).resolve()
    work = Path(arguments.work or f"{out}.work").resolve()
    for folder in (out, work):
        folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * arguments.minutes
    every = parts(arguments, work)
    wanted = [name for name in arguments.parts.split(",") if name] or [
        part.name for part in every if part.name not in NAMED
    ]
    if unknown := set(wanted) - {part.name for part in every}:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(part.name for part in every)}")
    runner = Runner(out, work, until, arguments.patience)
    chosen = [part for part in every if part.name in wanted]
    while chosen:
        group = chosen[:1] if chosen[0].alone else [part for part in chosen if not part.alone]
        chosen = [part for part in chosen if part not in group]
        runner.run(group)
    runner.say(f"failed: {', '.join(runner.failed) or 'nothing'}")
    return int(bool(runner.failed))


if __name__ == "__main__":
    sys.exit(main())
