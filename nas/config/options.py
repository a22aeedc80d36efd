"""Options of a command that works on no run: `key=value` words as the fields of a frozen dataclass. Standard library only."""

import dataclasses
import typing
from collections.abc import Iterable
from typing import Any, TypeVar

from nas.config.keys import typed
from nas.config.parsing import values_of
from nas.plugins.given import give
from search_spaces.errors import InputError, unknown
from search_spaces.files.toml import value_of
from search_spaces.textfiles import expanded

Options = TypeVar("Options")


def options_of(
    kind: type[Options], words: Iterable[str], verb: str, sections: tuple[str, ...] = ()
) -> tuple[Options, list[str], list[str]]:
    """The options among the words of a command line.

    Args:
        kind: a dataclass whose fields are made by `nas.config.keys.key`.
        words: of the command line, without the verb.
        verb: for messages.
        sections: of the configuration whose keys may be given too, such as "data" for data.root=PATH.

    Returns:
        The options, the `key=value` words of the sections, and the words that name something, in their order.

    Raises:
        InputError: an unknown option, a value of the wrong type, or one that `kind` refuses.
    """
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    own: list[str] = []
    of_sections: list[str] = []
    names: list[str] = []
    for word in words:
        name, equals, text = word.partition("=")
        if equals and name in known:
            own.append(word)
        elif equals and name.partition(".")[0] in sections:
            of_sections.append(word)
        elif equals and not expanded(word).exists():
            allowed = [*known, *(f"{section}.KEY" for section in sections)]
            raise unknown(f"option of {verb}:", name, allowed, f"{{}}={text or 'VALUE'}")
        else:
            names.append(word)
    return kind(**values_typed(kind, own)), of_sections, names


def values_typed(kind: Any, words: Iterable[str]) -> dict[str, Any]:
    """The values of `key=value` words whose keys are fields of a dataclass, each of its type.

    Raises:
        InputError: a value of the wrong type.
    """
    hints = typing.get_type_hints(kind)
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    given = {}
    for word in words:
        name, _, text = word.partition("=")
        given[name] = _value(text, hints[name], name, typed(defaults[name]))
        give(name, given[name])
    return values_of(kind, given, "")


def _value(text: str, annotation: object, name: str, example: str) -> object:
    """Text as a value of TOML, where the option is no text itself."""
    if annotation is str:
        return text
    if typing.get_origin(annotation) is tuple:
        return [item for item in (part.strip(" \"'") for part in text.strip("[] ").split(",")) if item]
    try:
        return value_of(text)
    except ValueError:
        words = {int: "a whole number", float: "a number", bool: "true or false"}
        raise InputError(f"{name} is {text[:80]!r}", words.get(annotation, "a value"), f"{name}={example}") from None  # type: ignore[call-overload]
