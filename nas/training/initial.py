"""The weights that the training of a supernet starts from: those of a network or of another run's supernet (`train.init`).

run.json keeps under "init" what they are, with a digest, and what was taken of them, so that a training that is resumed before its first
checkpoint starts from the same.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.config.parsing import recorded_config
from nas.runs.inputs import SUPERNET
from nas.runs.splits import read_split
from nas.runs.store import RunStore
from nas.runs.weights import load_network
from search_spaces.errors import InputError
from search_spaces.files.folder import read_tensors
from search_spaces.files.tensors import read_header
from search_spaces.files.values import NotFinite
from search_spaces.named import check
from search_spaces.space import SearchSpace
from search_spaces.textfiles import expanded
from supernet.bank import bank_groups
from supernet.offering import Offer, of_bank, of_network
from supernet.supernet import Supernet
from supernet.taking import account, take

KEY = "train.init"

ALLOWED = (
    "the folder of a network (nas extract, retrain or convert), a file of its weights, or the folder of a trained run"
)

INSTEAD = f"{KEY}=RUN/searches/NAME/networks/DIGEST"


DIGITS = 12

NAMED = 3
"""Tensors that are not taken of which the name is said."""

TYPES = {"F32", "F16", "BF16", "F64", "I64"}
"""Number formats of weights, and of the counts that batch norms keep, as safetensors names them."""


@dataclass(frozen=True)
class Initial:
    """Weights to start from.

    Args:
        path: of what was read.
        what: it is, in words.
        digest: of its names, shapes and values.
        offer: of its tensors, for the space that is trained.
    """

    path: str
    what: str
    digest: str
    offer: Offer

    def record(self, space: SearchSpace) -> dict[str, Any]:
        """What run.json keeps, JSON values only."""
        found = account(space, self.offer)
        member = self.offer.arch.digest if self.offer.arch is not None and self.offer.member else None
        return {
            "path": self.path,
            "what": self.what,
            "digest": self.digest,
            "member": member,
            **dataclasses.asdict(found),
        }


def read_initial(path: str, space: SearchSpace) -> Initial:
    """The weights that lie at a path, for the supernet of a space.

    Args:
        space: checked and bound to the data.

    Raises:
        InputError: nothing of the kind lies there, it is damaged, it has numbers that are not finite, or nothing of it has a place in
            the space.
    """
    place = expanded(path)
    if not place.exists():
        raise InputError(f"{KEY}={path} does not exist", ALLOWED, INSTEAD)
    folder, file = (place, "") if place.is_dir() else (place.parent, place.name)
    store = RunStore(folder)
    if file and not file.endswith(".safetensors"):
        raise InputError(f"{KEY}={path} is no .safetensors file", ALLOWED, f"{KEY}={folder}")
    if file == SUPERNET or (not file and store.exists("run.json")):
        found = _of_supernet(path, store, space)
    else:
        try:
            network = load_network(folder, file) if file else load_network(folder)
        except NotFinite as error:
            raise InputError(f"{KEY}={path}: {error.given}", error.allowed, error.instead) from None
        state = network.state_dict()
        found = Initial(path, f"network {network.arch.digest}", _digest(state), of_network(network, space))
    if not account(space, found.offer).taken:
        raise InputError(
            f"{KEY}={path} is {found.what}, and no weight of it has a place in space {space.name}",
            "a network or supernet that has parts of this space in the same stages and blocks",
            "another folder, or no train.init",
        )
    return found


def _of_supernet(path: str, store: RunStore, space: SearchSpace) -> Initial:
    store = RunStore.open(store.folder)
    if not store.exists(SUPERNET):
        raise InputError(f"{KEY}={path} holds no trained supernet", ALLOWED, f"nas train run={store.folder}")
    owner = _space_of(store)
    shapes = {
        f"{place}.{group.name}.{key}": shape
        for group in bank_groups(owner)
        for place in group.places()
        for key, shape in group.shapes.items()
    }
    try:
        tensors = _read_bank(store.path(SUPERNET), shapes)
    except NotFinite as error:
        raise InputError(f"{KEY}={path}: {error.given}", error.allowed, error.instead) from None
    what = f"the supernet of space {owner.name} ({owner.digest})"
    return Initial(path, what, _digest(tensors), of_bank(tensors, owner, space))


def _space_of(store: RunStore) -> SearchSpace:
    """The space of a run, bound to its data.

    Raises:
        InputError: the run does not say what it is, or has parts that are not known here.
    """
    try:
        split = read_split(store)
        resolution = recorded_config(store.identity(), str(store.folder)).data.resolution
        sizes = int(split.in_channels), len(split.classes), resolution
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{store.folder} does not say what images its supernet is for ({type(error).__name__}: {error})",
            "run.json and split.json as nas wrote them",
            "restore them from a copy, or start from something else",
        ) from None
    owner = check(SearchSpace.from_toml(store.read_text("space.toml"), str(store.path("space.toml"))))
    return owner.bind(*sizes)


def _read_bank(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A supernet's file. Its header is compared with the bank of its space before any weight takes memory.

    Raises:
        InputError: the file is damaged, or has other names, shapes or number formats.
    """
    given = {key: (tensor.shape, tensor.dtype) for key, tensor in read_header(path).tensors.items()}
    wrong = [key for key in given.keys() | shapes.keys() if key not in given or given[key][0] != shapes.get(key)]
    wrong = wrong or [key for key, (_, form) in given.items() if form not in TYPES]
    if not wrong:
        return read_tensors(path)
    key = min(wrong)
    raise InputError(
        f"{path} does not fit its own space.toml: {key} is {given.get(key, 'missing')} in the file and {shapes.get(key, 'missing')} in "
        f"the space ({len(wrong)} such)",
        "supernet.safetensors and space.toml of one run",
        "the run folder as nas wrote it",
    )


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """First 12 hexadecimal digits of a SHA-256 over names, types, shapes and values, whatever the format of the file."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        found.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()[:DIGITS]


def start_from(supernet: Supernet, initial: Initial, recorded: Any) -> None:
    """Puts the weights into a supernet that has not been trained yet.

    Args:
        recorded: what run.json has of them.

    Raises:
        InputError: they are not those that the run was begun with.
    """
    before = recorded["digest"] if isinstance(recorded, Mapping) and "digest" in recorded else ""
    if initial.digest != before:
        raise InputError(
            f"{initial.path} holds other weights than the run was begun with (SHA-256 {before or 'unknown'}..., now {initial.digest}...)",
            "the weights as they were, because the run has no checkpoint yet and starts from them",
            "restore them, or begin another run: run=runs/new",
        )
    take(supernet, initial.offer)


def lines(recorded: Mapping[str, Any]) -> Iterator[str]:
    """What run.json has of the weights, in words: a line for the whole, one for each stage and one for what is not taken."""
    shares = recorded["shares"]
    taken, weights = (sum(share[key] for share in shares) for key in ("taken", "weights"))
    member = f", which is member {recorded['member']} of the space" if recorded["member"] else ""
    yield f"starts from {recorded['path']}: {recorded['what']}{member}"
    yield f"  {'in all':10} {_of(taken, weights)}"
    for share in shares:
        tensors = f"{share['whole']:,} tensors whole and {share['partly']:,} in part of {share['tensors']:,}"
        fresh = f"; fresh: {', '.join(share['fresh'])}" if share["fresh"] else ""
        yield f"  {share['place']:10} {_of(share['taken'], share['weights'])}, {tensors}{fresh}"
    if recorded["left_weights"]:
        left = recorded["left"]
        names = f", with all of {', '.join(left[:NAMED])}" if left else ""
        more = f" and {len(left) - NAMED:,} more tensors" if len(left) > NAMED else ""
        yield f"  {'not taken':10} {recorded['left_weights']:,} weights that have no place here{names}{more}"


def _of(taken: int, weights: int) -> str:
    return f"{taken:,} of {weights:,} weights ({taken / max(1, weights):.0%})"
