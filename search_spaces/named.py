"""The named spaces (files in spaces/) and the loading of any space, checked against the registered parts."""

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from search_spaces.additions import is_left_out
from search_spaces.architecture import SLOTS, Part
from search_spaces.errors import InputError, unknown
from search_spaces.space import NO_BIAS, PartChoice, SearchSpace, Slot, StageSpace, check_ties
from search_spaces.textfiles import expanded, read_text

FOLDER = Path(__file__).with_name("spaces")


def space_names() -> list[str]:
    """The spaces that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def claim_names() -> list[str]:
    """The small spaces that come with the package, one for each claim of a paper: all members can be enumerated."""
    return sorted(path.stem for path in (FOLDER / "claims").glob("*.toml"))


def space_file(name: str | Path) -> Path:
    """The file of a named space, or `name` itself when it is the path of a TOML file. Imports nothing heavy.

    Raises:
        InputError: neither; the nearest name is offered.
    """
    path = expanded(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise InputError(
                f"space file {path} does not exist",
                f"a TOML file, or one of {', '.join(space_names())}",
                f"space={space_names()[0]}",
            )
        return path
    if str(name) in claim_names():
        return FOLDER / "claims" / f"{name}.toml"
    if str(name) not in space_names():
        raise unknown("space", str(name), [*space_names(), *claim_names()], "space={}")
    return FOLDER / f"{name}.toml"


def read_space(name: str | Path) -> SearchSpace:
    """A space as its file says, not yet checked against the registered parts."""
    path = space_file(name)
    try:
        text = read_text(path)
    except UnicodeError as error:
        raise InputError(
            f"{path.name} is not TOML: {error}", "a TOML file, saved as UTF-8", f"mend {path.name}, or save it as UTF-8"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror})", "a file that you may read", "space=FILE"
        ) from None
    return SearchSpace.from_toml(text, path.name)


def load_space(name: str | Path) -> SearchSpace:
    """A space, complete and checked, but for what only running its parts shows (`search_spaces.checking`).

    Raises:
        InputError: see `read_space` and `check`.
    """
    return check(read_space(name))


def check(space: SearchSpace) -> SearchSpace:
    """The same space with every option of every part written out.

    Raises:
        InputError: an unknown part or option, a value that is not allowed, or sizes that no network can have.
    """
    from search_spaces.canonical import RULES
    from search_spaces.checking import check_build, some_members
    from search_spaces.registry import complete_part

    def slot(kind: str, choices: Slot, where: str) -> Slot:
        try:
            return completed(kind, choices)
        except InputError as error:
            given = f"{where} of space {space.name}: {error.given}"
            raise InputError(given, error.allowed, error.instead) from None

    def completed(kind: str, choices: Slot) -> Slot:
        complete = []
        for choice in choices:
            if (kind, choice.name) == ("position_bias", NO_BIAS):
                if choice.options:
                    raise unknown("option of position bias 'none':", choice.options[0][0], ["part"], "{} = ...")
                complete.append(choice)
                continue
            merged: dict[str, list] = {}
            for member in choice.members():
                for key, value in complete_part(kind, member).values().items():
                    merged.setdefault(key, [])
                    if value not in merged[key]:
                        merged[key].append(value)
            offered = [(key, tuple(values)) for key, values in merged.items()]
            # A choice with one value that members leave out is left out too, so that the space keeps its digest.
            offered = [(k, found) for k, found in offered if not all(is_left_out(choice.name, k, v) for v in found)]
            complete.append(PartChoice(choice.name, tuple(sorted(offered))))
        return tuple(complete)

    def there(ties: tuple[str, ...], stages: list[tuple[Slot, ...]]) -> tuple[str, ...]:
        """The ties of slots, and of options that are not left out."""
        kept = {
            f"{kind}.{choice.name}.{key}"
            for blocks in stages
            for kind, choices in zip(SLOTS, blocks, strict=True)
            for choice in choices
            for key, _ in choice.options
        }
        return tuple(tie for tie in ties if tie in SLOTS or tie in kept)

    def stage_space(number: int, stage: StageSpace) -> StageSpace:
        here = f"stages.{number}"
        blocks = tuple(slot(kind, choices, f"{here}.{kind}") for kind, choices in zip(SLOTS, stage.blocks, strict=True))
        return StageSpace(
            width=stage.width,
            depth=stage.depth,
            embedding=slot("embedding", stage.embedding, f"{here}.embedding"),
            blocks=blocks,
            per_stage=there(stage.per_stage, [blocks]),
            position_bias=slot("position_bias", stage.position_bias, f"{here}.position_bias"),
        )

    stages = tuple(stage_space(number, stage) for number, stage in enumerate(space.stages))
    checked = SearchSpace(
        name=space.name,
        about=space.about,
        in_channels=space.in_channels,
        num_classes=space.num_classes,
        resolution=space.resolution,
        stages=stages,
        head=slot("head", space.head, "head"),
        per_network=there(space.per_network, [stage.blocks for stage in stages]),
        rules=RULES,
    )
    check_ties(checked)
    built: set[tuple[str, Part, tuple[int, ...]]] = set()
    left = frozenset(_beyond(checked, some_members))
    for where, _, kind, part, dims in checked.part_specs():
        if (kind, part, dims) not in built and part not in left:
            built.add((kind, part, dims))
            try:
                check_build(kind, part, dims)
            except InputError as error:
                raise InputError(
                    f"{where} of space {space.name}: {error.given}", error.allowed, error.instead
                ) from error.__cause__
    return checked


MANY = 100
"""Combinations of a part's options, above which not all of them are built before a run."""


def _beyond(space: SearchSpace, some: Callable[[Slot], Iterable[Part]]) -> Iterator[Part]:
    """The members of large choices that are not built: building all of them would take longer than the smallest searches."""
    for stage in space.stages:
        for slot in (stage.embedding, *stage.blocks):
            for choice in slot:
                if math.prod(len(values) for _, values in choice.options) > MANY:
                    yield from set(choice.members()) - set(some((choice,)))
