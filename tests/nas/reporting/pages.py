"""Reads reports, as strictly as a test may."""

import csv
import html.parser

from nas.records import eligible
from nas.reporting import (
    SearchFindings,
    SearchView,
    collect,
)
from nas.runs.store import RunStore
from tests.nas.reporting.made_searches import (
    COSTS,
    run_of,
)

OUTPUTS = ("front.csv", "front.png", "report.html", "trials.csv")


COST_NAMES = [cost["name"] for cost in COSTS]


def found_in(view: SearchView) -> SearchFindings:
    return collect(run_of(), [view]).searches[0]


def rows(store: RunStore, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(store.path(name).read_text().splitlines()))


class Page(html.parser.HTMLParser):
    """A page read strictly: every element closed, in order."""

    VOID = ("meta",)

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """The attributes of all elements that have these."""
        given = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [own for name, own in self.tags if name == tag and given.items() <= own.items()]

    @property
    def titles(self) -> list[str]:
        return [attributes["title"] or "" for _, attributes in self.tags if "title" in attributes]


def page(store: RunStore) -> Page:
    return Page(store.path("report.html").read_text())


def check_page(store: RunStore) -> Page:
    """What holds for every report: well formed, self-contained, links that lead somewhere."""
    found = page(store)
    text = store.path("report.html").read_text()
    for loaded in ("http:", "https:", "//", "url(", "@import", "<script", "javascript:"):
        assert loaded not in text.lower()
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base"})
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for _, attributes in found.tags:
        assert not any(name.startswith("on") or name in ("src", "srcset", "xlink:href") for name in attributes)
        target = attributes.get("href")
        assert target is None or (target[1:] in ids if target.startswith("#") else target in OUTPUTS)
        if "aria-describedby" in attributes:
            assert attributes["aria-describedby"] in ids
    return found


def may(view: SearchView) -> set[str]:
    return {e.digest for e in eligible(view.evaluations, view.budget, view.objectives)}
