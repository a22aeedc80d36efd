"""Which folder of a data set is which part."""

import re
from collections.abc import Mapping
from pathlib import Path

from nas.data.walking import subfolders
from search_spaces.errors import InputError

PART_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "eval", "evaluation", "dev"),
    "test": ("test", "testing"),
}
"""Names of a part's folder, in any case."""

_LIKE_A_PART = re.compile(
    r"((data|dataset|images?|imgs?|set|split|x)[\W_]*)?"
    rf"(?P<word>{'|'.join(name for names in PART_NAMES.values() for name in names)})"
    r"([\W_]*(data|dataset|folder|images?|imgs?|part|set|split))?[\W_]*\d*",
    re.IGNORECASE,
)
"""Names that people give to parts, such as test_set, train2017 or images-val."""


def part_named(name: str) -> str | None:
    """The part that a folder of this name holds, whatever the case; None if it says nothing."""
    return next((part for part, names in PART_NAMES.items() if name.casefold() in names), None)


def like_a_part(name: str) -> str | None:
    """The part that a name suggests, also where it does not say it outright."""
    found = _LIKE_A_PART.fullmatch(name)
    return part_named(found["word"]) if found else None


def _words(name: str) -> set[str]:
    """The parts whose names are words of a name: seg_train, PublicTest."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    return {part for word in words if (part := part_named(word))}


def parts_of(root: Path, layout: str) -> dict[str, Path]:
    """The folder of each part that there is; {"train": root} where the classes lie in `root` itself.

    Args:
        layout: auto, classes or parts; see `nas.config.DataConfig`.

    Raises:
        InputError: no folder, parts without train, one part twice, or folders that may be parts or classes.
    """
    if not root.is_dir():
        raise InputError(
            f"{root} is not a folder", "a folder with one sub-folder of images per class", "data.root=PATH"
        )
    folders = subfolders(root)
    if layout == "classes":
        return {"train": root}
    named: dict[str, list[Path]] = {part: [] for part in PART_NAMES}
    for folder in folders:
        if part := part_named(folder.name):
            named[part].append(folder)
    whole = {part: [folder for folder in found if subfolders(folder)] for part, found in named.items()}
    if whole["train"] or layout == "parts":
        return _parts(root, folders, named, whole, layout)
    if whole["validation"] or whole["test"]:
        raise no_train(root, (whole["validation"] + whole["test"])[0].name)
    _no_parts_among(root, folders)
    return {"train": root}


def _parts(
    root: Path, folders: list[Path], named: Mapping[str, list[Path]], whole: Mapping[str, list[Path]], layout: str
) -> dict[str, Path]:
    """
    Raises:
        InputError: see `parts_of`.
    """
    if not named["train"]:
        raise InputError(f"{root} has no folder train", "train/CLASS/IMAGE", "data.layout=classes, or make that folder")
    for part, found in whole.items():
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise InputError(f"{root} has {names}", f"one folder of {part} images", "rename or merge one of them")
    for part, found in named.items():
        if found and not whole[part]:
            raise InputError(
                f"{found[0]} holds no folder of a class",
                "the same classes as in train",
                f"remove or fill {found[0]}",
            )
    others = [folder for folder in folders if part_named(folder.name) is None]
    if layout == "auto":
        for folder in others:
            if part := like_a_part(folder.name) or min(_words(folder.name), default=None):
                raise InputError(
                    f"{folder} beside {whole['train'][0].name} is called like a part, but not so that it is sure",
                    f"the names {', '.join(name for names in PART_NAMES.values() for name in names)}, in any case",
                    f"rename it to {part}, or data.layout=parts to leave it out",
                )
        if others and not whole["validation"] and not whole["test"]:
            names = ", ".join(folder.name for folder in others[:5]) + ", ..." * (len(others) > 5)
            raise InputError(
                f"{root} holds {whole['train'][0].name} and {names}: parts, or classes of which one has that name",
                "parts alone, or classes alone",
                f"data.layout=classes, or data.layout=parts, which leaves {names} out",
            )
    return {part: found[0] for part, found in whole.items() if found}


def _no_parts_among(root: Path, classes: list[Path]) -> None:
    """
    Raises:
        InputError: what would be classes are parts by their names, or hold parts.
    """
    suspects = [folder for folder in classes if like_a_part(folder.name)]
    words = {folder: _words(folder.name) for folder in classes}
    if len(set().union(*words.values())) > 1:  # one alone may be a train station
        suspects = [folder for folder in classes if words[folder]]
    if suspects:
        names = " and ".join(folder.name for folder in suspects[:3])
        raise InputError(
            f"{root} would have the class{'es' * (len(suspects) > 1)} {names}, which {'are' if len(suspects) > 1 else 'is'} "
            "called like a part of a data set",
            "train/CLASS/IMAGE with val and test, in any case, or CLASS/IMAGE",
            f"name the parts so, each with a folder per class; data.layout=classes if {suspects[0].name} is a class",
        )
    for folder in classes:
        found = {part_named(path.name) for path in subfolders(folder)} - {None}
        if "train" in found and len(found) > 1:
            alone = len(classes) == 1
            raise InputError(
                f"{folder} would be a class, and holds {' and '.join(sorted(filter(None, found)))}",
                "train/CLASS/IMAGE with val and test beside it, or CLASS/IMAGE",
                f"data.root={folder}" if alone else f"rearrange {root}; data.layout=classes to merge them",
            )


def no_train(root: Path, part: str) -> InputError:
    return InputError(
        f"{root} has a part {part} but no train",
        "train/CLASS/IMAGE beside it, or CLASS/IMAGE alone",
        f"put the training images into {root / 'train'}",
    )
