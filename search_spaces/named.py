"""The named spaces (files in spaces/) and the loading of any space, checked against the registered parts."""

from pathlib import Path

from search_spaces.errors import InputError, unknown
from search_spaces.files.toml import MOST_BYTES
from search_spaces.space import SearchSpace
from search_spaces.textfiles import expanded, read_text

FOLDER = Path(__file__).with_name("spaces")


def space_names() -> list[str]:
    """The spaces that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def claim_names() -> list[str]:
    """The small spaces that come with the package, one for each claim of a paper: all members can be enumerated."""
    return sorted(path.stem for path in (FOLDER / "claims").glob("*.toml"))


def space_file(name: str | Path, type_instead: str = "space={}") -> Path:
    """The file of a named space, or `name` itself when it is the path of a TOML file. Imports nothing heavy.

    Args:
        type_instead: how a name is typed, for messages; `{}` stands for it.

    Raises:
        InputError: neither; the nearest name is offered.
    """
    path = expanded(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise InputError(
                f"space file {path} does not exist",
                f"a TOML file, or one of {', '.join(space_names())}",
                type_instead.replace("{}", space_names()[0]),
            )
        return path
    if str(name) in claim_names():
        return FOLDER / "claims" / f"{name}.toml"
    if str(name) not in space_names():
        raise unknown("space", str(name), [*space_names(), *claim_names()], type_instead)
    return FOLDER / f"{name}.toml"


def read_space(name: str | Path) -> SearchSpace:
    """A space as its file says, not yet checked against the registered parts."""
    path = space_file(name)
    try:
        text = read_text(path, MOST_BYTES)
    except UnicodeError as error:
        raise InputError(
            f"{path.name} is not TOML: {error}", "a TOML file, saved as UTF-8", f"fix {path.name}, or save it as UTF-8"
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
        InputError: an unknown part or option, a value that is not allowed, values in another order than from the smallest to the
            largest, or sizes that no network can have.
    """
    from search_spaces.completing import check_built, completed  # imports torch, which reading a space does not need

    found = completed(space)
    check_built(found)
    return found
