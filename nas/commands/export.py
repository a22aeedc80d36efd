"""`nas export NETWORK... format=onnx,pt2`: networks as files that other programs run, each checked before it is written."""

import contextlib
import copy
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.export import Format, make_format
from nas.export.asked import Exported
from nas.export.checking import Written, export_to, kept, tried
from nas.export.programs import accepts, example_sizes, program_of
from nas.log import Progress, say
from nas.networks.exported import run_of, score_files
from nas.networks.found import Subject, subjects
from nas.runs.weights import load_network
from nas.runtimes.forms import folded
from search_spaces.errors import InputError
from search_spaces.network import Network, build
from search_spaces.reparameterisation import reparameterise
from search_spaces.textfiles import expanded, resolved

WEIGHT_FILES = ("model.safetensors", "weights.safetensors")
"""One of which the folder of a network has."""

ELSEWHERE = "exported"
"""The folder of files whose network has none."""

FRESH = "fresh, of seed 0"
"""What is said of weights that were never trained."""


def export(*names: str, asked: Exported | None = None) -> list[Written]:
    """Writes networks in the formats that are asked for, and prints the largest difference of each file from its network.

    Args:
        names: arch.json files, folders of networks, papers' networks, timm/NAME.
        asked: options, among them members of a space.

    Returns:
        The files, those of the first network first.

    Raises:
        InputError: there is no such network, it cannot be exported, or a file does not compute what the network computes. Files that
            were written before stay; nothing is left of the one that failed.
    """
    asked = asked or Exported()
    plan = asked.plan()
    formats = [make_format(name) for name in asked.format]
    for made in formats:
        made.check(plan)
    wanted = list(subjects(names, asked.networks()))
    folders = [_folder(name) for name in names] + [None] * (len(wanted) - len(names))
    places = _places(wanted, folders, len(names), asked)
    progress = Progress("exporting", len(wanted) * len(formats))
    found: list[Written] = []
    for subject, folder, place in zip(wanted, folders, places, strict=True):
        own = []
        for written in _files(subject, folder, place, formats, asked):
            own.append(written)
            progress.update(len(found) + len(own))
            say(_line(written))
        if folder is not None and run_of(folder) is not None:
            _score(subject, folder, formats, own, asked)
        found += own
    return found


def _score(
    subject: Subject, folder: Path, formats: Sequence[Format], written: Sequence[Written], asked: Exported
) -> None:
    """Says the top-1 on the images of the run of the files that were written now, where they take images of its resolution.

    A file that was there already is not opened: it came with the folder, and loading a .pt2 may run what is in it.
    """
    network, _ = _network(subject, folder, asked)
    made_for = load_network(folder, *filter(None, (asked.weights,))).arch.resolution
    if subject.resolution == made_for or asked.plan().open_sides:
        pairs = zip(formats, written, strict=True)
        files = {one.file.name: made.load(one.file) for made, one in pairs if not one.kept}
        if files:
            say(score_files(folder, network, files, asked.plan().batch, asked.weights))


def _files(
    subject: Subject, folder: Path | None, place: Path, formats: Sequence[Format], asked: Exported
) -> list[Written]:
    """The files of one network, in each format."""
    plan = asked.plan()
    network, weights = _network(subject, folder, asked)
    shared = {
        "network": subject.name, "digest": subject.arch.digest if subject.arch else "", "weights": weights,
        "weights_sha256": _digest(network),
        "form": asked.form if subject.arch else "as it comes, in evaluation mode", **plan.to_dict(),
    }  # fmt: skip
    found, program = [], None
    for made in formats:
        about = shared | {"versions": made.versions()}
        file = place.with_name(place.name + made.suffix)
        there = kept(file, about)
        if there is None:
            program = program or _program(subject, _form(network, asked.form), asked)
            shapes = tried(plan, subject.in_channels, program, subject.resolution)
            there = export_to(made, program, plan, network, shapes, file, about, asked.seed)
        found.append(there)
    return found


def _program(subject: Subject, module: nn.Module, asked: Exported) -> torch.export.ExportedProgram:
    """
    Raises:
        InputError: no example of the network can be exported; the reason is that of the last.
    """
    *others, last = example_sizes(asked.plan(), subject.in_channels, subject.resolution)
    generator = torch.Generator().manual_seed(asked.seed)
    for size in others:
        with contextlib.suppress(InputError):  # perhaps for its size
            found = program_of(module, torch.randn(size, generator=generator), asked.plan())
            # torch.export may leave sides open that are smaller than one at which the network does something else.
            if all(
                accepts(found, shape) for shape in tried(asked.plan(), subject.in_channels, found, subject.resolution)
            ):
                return found
    try:
        return program_of(module, torch.randn(last, generator=generator), asked.plan())
    except InputError as error:
        raise InputError(f"{subject.name}: {error.given}", error.allowed, error.instead) from error


def _network(subject: Subject, folder: Path | None, asked: Exported) -> tuple[nn.Module, str]:
    """A network with its weights, in evaluation mode, and what weights they are.

    Raises:
        InputError: its weights are missing or damaged.
    """
    if folder is not None:
        network = load_network(folder, *filter(None, (asked.weights,)))
        return _of_folder(subject, network), asked.weights or "of the folder"
    if asked.weights:
        raise InputError(
            f"weights={asked.weights} for {subject.name}",
            "the folder of a network, which has such a file",
            "no weights=",
        )
    return subject.ready().eval(), FRESH


def _of_folder(subject: Subject, network: Network) -> Network:
    """The network of a folder, for the resolution that is asked for."""
    if subject.arch is None or network.arch.resolution == subject.resolution:
        return network
    other = build(replace(network.arch, resolution=subject.resolution))
    other.load_state_dict(network.state_dict())
    return other.eval()


def _digest(network: nn.Module) -> str:
    """Of the weights and statistics of a network, whatever file they come from."""
    found = hashlib.sha256()
    for name, value in network.state_dict().items():
        found.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        found.update(value.detach().contiguous().flatten().numpy().tobytes())
    return found.hexdigest()


def _form(network: nn.Module, form: str) -> nn.Module:
    """A copy in the form that is exported."""
    if form == "inference":
        return folded(network)
    plain = reparameterise(network) if form == "merged" and isinstance(network, Network) else copy.deepcopy(network)
    return plain.eval().requires_grad_(False)


def _folder(name: str) -> Path | None:
    """The folder of a network that is asked for by its folder, or by a file of a folder that has weights; None of any other."""
    path = expanded(name)
    if path.is_dir():
        return path
    return path.parent if path.is_file() and any((path.parent / file).is_file() for file in WEIGHT_FILES) else None


def _places(wanted: Sequence[Subject], folders: Sequence[Path | None], named: int, asked: Exported) -> list[Path]:
    """Where the files of each network go, without their suffix: into `out`, or else into the network's own folder, if it has one.

    Args:
        named: how many were asked for by name; the others are members of a space.

    Raises:
        InputError: two networks would get one name.
    """
    places: dict[Path, str] = {}
    for number, (subject, folder) in enumerate(zip(wanted, folders, strict=True)):
        name = _stem(subject, folder, number >= named)
        place = (expanded(asked.out) if asked.out else folder or Path(ELSEWHERE)) / name
        if place in places:
            raise InputError(
                f"{places[place]} and {subject.name} would both be written to {place}",
                "networks of different names, or each into its own folder",
                f"nas export {subject.name} out={place.parent}/other",
            )
        places[place] = subject.name
    return list(places)


def _stem(subject: Subject, folder: Path | None, is_member: bool) -> str:
    """The name of a network's files: that of its folder; the digest of a member of a space, or of a file; or what it was asked for as.

    Files for another resolution than the network was made for have it in their names, as they stand beside those of its own. Digests
    have it anyway.
    """
    other = f"-{subject.resolution}" * subject.resized
    if folder is not None:
        return resolved(folder).name + other
    if subject.arch is not None and (is_member or expanded(subject.name).is_file()):
        return subject.arch.digest
    return re.sub(r"[^\w.-]+", "-", subject.name) + other


def _line(written: Written) -> str:
    """What is said of a file."""
    about: Mapping[str, Any] = written.about
    sizes = " x ".join(map(str, about["takes"]))
    tried_on = ", ".join(" x ".join(map(str, one["images"])) for one in about["checked"])
    largest = max(one["largest_output"] for one in about["checked"])
    there = f"; weights {FRESH}" * (about["weights"] == FRESH) + " (there already)" * written.kept
    return (
        f"{written.file}  {about['bytes'] / 1e6:.1f} MB  images {sizes}  largest difference {written.difference:.1e} of outputs up to "
        f"{largest:.2g}, on {tried_on}{there}"
    )
