"""`nas evaluate NETWORK...`: trained networks on a part of a run's images or of a data source, side by side."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas import machine
from nas.config import Config
from nas.config.effective import run_config
from nas.config.parsing import load_config
from nas.data import Part, Split, make_split
from nas.data.view import View, load_view
from nas.log import Progress, say
from nas.machine import memory
from nas.plugins import import_plugins
from nas.runs.outputs import check_out, write_out
from nas.runs.run import open_run
from nas.runs.store import RunStore
from nas.runs.tables import csv_text
from nas.scoring.asked import PART_WORDS, Scored
from nas.scoring.classes import outputs_of
from nas.scoring.entrants import Entrant, entrants
from nas.scoring.scores import Score, score
from search_spaces.errors import InputError


@dataclass(frozen=True)
class Evaluated:
    """The score of one network on a part.

    Args:
        params: of the network that was scored.
        known: how many classes it tells apart.
    """

    entrant: Entrant
    view: View
    params: int
    known: int
    score: Score

    def to_dict(self) -> dict[str, Any]:
        """A row of the file, without what is common to all rows."""
        low, high = self.score.interval
        return {
            "network": self.entrant.name, "digest": self.entrant.digest, "params": self.params, "known_classes": self.known,
            "images": self.score.images, "top1": self.score.top1, "top1_low": low, "top1_high": high, "top5": self.score.top5,
            "loss": self.score.loss, "preprocessing": self.view.describe(),
        }  # fmt: skip


@dataclass(frozen=True)
class Images:
    """Where the images come from: a split, and the configuration that reads them."""

    config: Config
    split: Split
    part: str

    def conditions(self) -> dict[str, Any]:
        """What is common to all scores."""
        return {
            "data": self.config.data.name, "part": self.part, "split": self.split.digest, "classes": len(self.split.classes),
            "versions": {name: version for name, version in machine.versions().items() if name in ("torch", "timm", "hybrid-mixer-nas")},
            "commit": machine.commit(),
        }  # fmt: skip


def evaluate(*names: str, asked: Scored | None = None, data: Sequence[str] = ()) -> list[Evaluated]:
    """Prints top-1, top-5 and loss of trained networks, and writes them to a file if asked to.

    Args:
        names: folders of networks, .safetensors files in them, or timm/NAME.
        asked: options; without a run, `data` names the data source.
        data: words about the data source such as "data=folder" and "data.root=IMAGES".

    Returns:
        A score for each network, in their order.

    Raises:
        InputError: there is no such network or data source, the classes of the two do not match, or nothing says how the network sees
            images. Nothing is written then.
    """
    asked = asked or Scored()
    if asked.out:
        check_out(asked.out)
    images, device = _images(asked, data)
    found = entrants(names, asked, images.split)
    # What is wrong with classes shows before anything is read.
    outputs = {
        one: outputs_of(one.name, one.outputs, one.classes, images.split.classes, images.split.name) for one in found
    }
    scored: list[Evaluated] = []
    loaded: tuple[View, Part] | None = None
    for number, one in enumerate(found, 1):
        view = one.seen(asked, images.split)
        if loaded is None or loaded[0] != view:
            loaded = None  # there need not be room for two
            loaded = view, load_view(images.config.data, images.split, images.part, view, asked.limit or None)
        label = f"evaluate {number}/{len(found)} {one.name}, images"
        scored.append(_score(one, view, loaded[1], outputs[one], device, asked.batch_size, label))
    say("\n".join(table(scored)))
    say("\n" + "\n".join(notes(scored, images)))
    if asked.out:
        say(f"written to {_write(asked.out, scored, images)}")
    return scored


def _images(asked: Scored, data: Sequence[str]) -> tuple[Images, torch.device]:
    """The images that are asked for; of a run, its own split."""
    part = PART_WORDS[asked.part]
    if asked.run:
        base = run_config(RunStore.open(asked.run), asked.run)
        words = [*data, f"device={asked.device}", f"threads={asked.threads}"]
        config = load_config(None, words, base=base)
        import_plugins(Config(plugins=asked.plugins))
        run = open_run(config, writes=False)
        return Images(run.config, run.split, part), run.device
    config = load_config(None, [*data, f"seed={asked.seed}"], section="train")
    import_plugins(Config(plugins=asked.plugins))
    device = machine.prepare(asked.threads, asked.device)
    return Images(config, make_split(config.data, config.seed), part), device


def _score(
    one: Entrant, view: View, part: Part, outputs: Sequence[int], device: torch.device, batch_size: int, label: str
) -> Evaluated:
    """
    Raises:
        InputError: the network cannot be made or run, or there is no memory for it.
    """
    progress = Progress(label, len(part))
    try:
        network = one.make().to(device).eval()
        found = score(one.name, network, part.batches(batch_size, device=str(device)), outputs, progress.update)
    except InputError:
        raise
    except Exception as error:  # whatever the code of a model raises
        if memory.ran_out(error):
            raise InputError(
                f"there is not enough memory to run {one.name} on {batch_size} images of {view.resolution} x {view.resolution} at once",
                "a batch that fits",
                f"batch_size={max(1, batch_size // 2)}",
            ) from None
        reason = (str(error).splitlines() or ["no message"])[0][:200]
        raise InputError(
            f"{one.name} does not run on images of {view.resolution} x {view.resolution} ({type(error).__name__}: {reason})",
            "images of a size that the network takes",
            f"resolution={one.resolution}",
        ) from error
    return Evaluated(one, view, _params(network), one.outputs, found)


def _params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


HEADINGS = ("network", "params M", "pixels", "top-1 %", "95 % interval", "top-5 %", "loss", "images")


def table(scored: Sequence[Evaluated]) -> list[str]:
    """Lines: a row for each network, in aligned columns."""
    rows: list[tuple[str, ...]] = [HEADINGS]
    for one in scored:
        low, high = one.score.interval
        top5 = "-" if one.score.top5 is None else f"{100 * one.score.top5:.2f}"
        rows.append(
            (
                one.entrant.name, f"{one.params / 1e6:,.3f}", str(one.view.resolution), f"{100 * one.score.top1:.2f}",
                f"{100 * low:.2f} to {100 * high:.2f}", top5, f"{one.score.loss:.4f}", f"{one.score.images:,}",
            )
        )  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def notes(scored: Sequence[Evaluated], images: Images) -> list[str]:
    """Lines: which images, and how each network sees them."""
    about = images.conditions()
    lines = [
        f"{about['part']} of {about['data']}, split {about['split']}, {about['classes']} classes; the interval is Wilson's",
    ]
    views: dict[str, list[str]] = {}
    for one in scored:
        views.setdefault(one.view.describe(), []).append(one.entrant.name)
    lines += [f"{', '.join(names)}: {view}" for view, names in views.items()]
    for one in scored:
        if one.entrant.fresh:
            lines.append(f"{one.entrant.name} has fresh weights, which can only guess")
        if one.entrant.split and one.entrant.split != about["split"]:
            lines.append(
                f"{one.entrant.name} was trained by split {one.entrant.split}: images of this part may be among those that it was trained on"
            )
        if one.known != about["classes"]:
            lines.append(f"{one.entrant.name} tells {one.known:,} classes apart, and may answer with any of them")
        if one.entrant.classes is None:
            lines.append(
                f"{one.entrant.name} does not name its classes: its outputs are taken in the order of the data's"
            )
    return lines


def _write(path: str, scored: Sequence[Evaluated], images: Images) -> str:
    about = images.conditions()
    if Path(path).suffix == ".json":
        text = json.dumps({**about, "networks": [one.to_dict() for one in scored]}, indent=1, allow_nan=False) + "\n"
    else:
        about["versions"] = " ".join(f"{name} {version}" for name, version in about["versions"].items())
        text = csv_text({**one.to_dict(), **about} for one in scored)
    return str(write_out(path, text))
