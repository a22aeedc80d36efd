"""HTML in which no text from a file can become markup."""

import html
import json
from collections.abc import Iterable, Mapping
from typing import Any

from nas.reporting.words import plain


class Html(str):
    """Text that is HTML already; templates leave it as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


_OWN_LINE = {"body", "section", "figure", "tr", "p", "h1", "h2", "h3", "li", "div", "svg", "g", "path", "line", "text"}


def _text(value: object) -> str:
    """Anything as HTML text."""
    return value if isinstance(value, Html) else plain(html.escape(str(value)))


def join(parts: Iterable[object]) -> Html:
    """The parts one after the other; all that is not `Html` is escaped."""
    return Html("".join(map(_text, parts)))


def h(tag: str, *children: object, **attributes: object) -> Html:
    """An element, closed. All that is not `Html` is escaped, so no text from a file can become markup.

    Attribute names lose a trailing underscore (`class_`) and get hyphens (`aria_label`); None leaves one out.
    """
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    opening = "".join(f' {key}="{_text(value)}"' for key, value in given.items())
    return Html(f"<{tag}{opening}>{join(children)}</{tag}>" + "\n" * (tag in _OWN_LINE))


def boxed_table(name: str, *children: object, class_: str | None = None) -> Html:
    """A table in a box of its own, which scrolls where the window is narrow."""
    contents = h("table", *children, class_=class_)
    return h("div", contents, class_="box", tabindex=0, role="region", aria_label=name)


def headings(*names: str) -> list[Html]:
    """Headings of a first column of names and further ones of numbers."""
    return [h("th", name, scope="col", class_="num" if k else None) for k, name in enumerate(names)]


def number_cell(value: object, small: str = "", title: str | None = None) -> Html:
    """A table cell with a number."""
    return h("td", value, h("small", small) if small else "", class_="num", title=title)


def settings_listing(settings: Mapping[str, Any]) -> Html:
    """Settings as a file of configuration says them."""
    lines = []
    for key, value in settings.items():
        pairs = {f"{key}.{name}": v for name, v in value.items()} if isinstance(value, Mapping) else {key: value}
        lines += [f"{name} = {json.dumps(v, ensure_ascii=False, default=str)}" for name, v in pairs.items()]
    return h("pre", h("code", "\n".join(lines)), tabindex=0)
