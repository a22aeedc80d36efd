"""Holding parts of the architecture fixed: the sub-space of the members that have them.

    fixed(space, ["stages.2.mixer=d_mixer", "stages.*.ffn.mlp.ratio=4", "stages.0.depth=2", "head=linear_head"])

A path names a choice of a stage or of the head: `stages.NUMBER.PLACE`, `stages.NUMBER.PLACE.PART.OPTION`, `head` or
`head.PART.OPTION`, where a place is width, depth, embedding, position_bias or a slot of the blocks. A star stands for any one name or
number. The blocks of a stage share their choices, so what is fixed is fixed for all of them. An option is fixed where its part
stands; other parts may stand there still.

Members of the sub-space are members of the space, with the same digests; the genes that are left have their names, and their choices
the order that they had.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from search_spaces.architecture import Value, _thaw
from search_spaces.bounds import Choice, every_choice
from search_spaces.errors import InputError, unknown
from search_spaces.narrowing import without
from search_spaces.space import SearchSpace


def fixed(space: SearchSpace, settings: Sequence[str], key: str = "fix") -> SearchSpace:
    """The members of a space that have what is fixed; the space itself where nothing is.

    Args:
        settings: PATH=VALUE each. A value that is a list is written as 1+3, or as [1, 3].
        key: what messages call the settings.

    Raises:
        InputError: the space has no such choice or value, or two settings contradict each other; the message lists what there is.
    """
    if not settings:
        return space
    there = choices_by_path(space)
    doomed: set[Choice] = set()
    named: set[str] = set()
    for setting in settings:
        pattern, _, text = setting.partition("=")
        paths = _with_ties(_matching(pattern, there, space, key), there, space)
        named.update(paths)
        for path in paths:
            kept = [choice for choice in there[path] if _is(_value(choice), text)]
            if not kept:
                values = [_written(_value(choice)) for choice in there[path]]
                raise InputError(
                    f"{key} has {setting!r}, and {path} of space {space.name} cannot be {text!r}",
                    ", ".join(values),
                    f"{key}={path}={values[0]}",
                )
            doomed.update(choice for choice in there[path] if choice not in kept)
    # Without all values of an option, its part would be taken out of the space, and nobody has asked for that.
    contradicted = any(doomed.issuperset(there[path]) for path in named)
    left = None if contradicted else without(space, doomed)
    if left is None:
        raise InputError(
            f"{key} is {', '.join(settings)}, which no network of space {space.name} has at once",
            "one value for each choice",
            f"{key}={settings[0]}",
        )
    return replace(left, name=f"{space.name} with {', '.join(settings)}")


def choices_by_path(space: SearchSpace) -> dict[str, list[Choice]]:
    """Everything that can be chosen in a space, by the path that names it; choices with one value too."""
    found: dict[str, list[Choice]] = {}
    for choice in every_choice(space):
        place = "head" if choice.stage == len(space.stages) else f"stages.{choice.stage}.{choice.place}"
        path = f"{place}.{choice.part}.{choice.option}" if choice.option else place
        found.setdefault(path, []).append(choice)
    return found


def _matching(pattern: str, there: dict[str, list[Choice]], space: SearchSpace, key: str) -> list[str]:
    """The paths that a pattern names."""
    expression = r"\.".join("[^.]+" if name == "*" else re.escape(name) for name in pattern.split("."))
    paths = [path for path in there if re.fullmatch(expression, path)]
    if not paths:
        raise unknown(f"choice of space {space.name} in {key}:", pattern, there, f"{key}={{}}=VALUE")
    return paths


def _with_ties(paths: list[str], there: dict[str, list[Choice]], space: SearchSpace) -> list[str]:
    """The same paths, and those of other stages that share their choice with one of them."""
    found = dict.fromkeys(paths)
    for path in paths:
        choice = path.split(".", 2)[-1]
        if path.startswith("stages.") and {choice, choice.partition(".")[0]} & {*space.per_network}:
            found |= dict.fromkeys(other for other in there if other.startswith("stages.") and other.split(".", 2)[-1] == choice)  # fmt: skip
    return list(found)


def _value(choice: Choice) -> Value:
    return choice.part if choice.part and not choice.option else choice.value


def _written(value: Value) -> str:
    """A value as it is typed: a comma would end the setting on a command line."""
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _is(value: Value, text: str) -> bool:
    """Whether a text means a value."""
    plain = text.replace(" ", "").lower()
    if type(value) in (int, float):
        try:
            return float(plain) == value
        except ValueError:
            return False
    return plain in (_written(value).lower(), str(_thaw(value)).replace(" ", "").lower())


__all__ = ["choices_by_path", "fixed"]
