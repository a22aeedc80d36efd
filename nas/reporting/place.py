"""A search and its place on the page, for what is written about it there."""

from dataclasses import dataclass

from nas.reporting.findings import Findings, Network, SearchFindings
from nas.reporting.markup import Html, h
from nas.reporting.mixers import Mixers
from search_spaces.counting import scientific


@dataclass(frozen=True, slots=True)
class Place:
    """A search and its place on the page.

    number: of the search, from 1. folder: of the run, as it was typed.
    """

    found: Findings
    search: SearchFindings
    mixers: Mixers
    folder: str
    number: int

    def id(self, name: str) -> str:
        """An id that no other search of the page has."""
        return f"{self.anchor}-{name}" if self.found.several else name

    @property
    def anchor(self) -> str:
        """The id of the search."""
        return f"search-{self.number}"

    @property
    def level(self) -> int:
        """Of the headings of sections: below the name of the search, where there are several."""
        return 3 if self.found.several else 2

    def heading(self, text: str) -> Html:
        """A heading within a section."""
        return h(f"h{self.level + 1}", text)

    def link(self, network: Network) -> Html:
        """The digest of a network, which leads to its commands."""
        return h("a", h("code", network.digest), href=f"#{self.id('commands')}-{network.digest}")


def big(value: object) -> Html:
    """A whole number for reading: 1,234,567, or from a thousand million up 1.23 × 10¹² with a superscript."""
    digits = str(value)
    if len(digits) <= 9:
        return Html(f"{int(digits):,}")
    mantissa, power = scientific(digits)
    return Html(f"{mantissa} × 10<sup>{power}</sup>")
