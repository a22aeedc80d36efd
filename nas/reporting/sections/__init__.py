"""The sections of report.html, one file each: what was found goes in, HTML comes out, or nothing where there is nothing to say.

A section of your own is a class that inherits SearchSection (about one search) or RunSection (about the run), made without
arguments. `nas report report.sections=my_package.Cheapest` puts it on the page, by its order:

    from nas.reporting.markup import h
    from nas.reporting.section import SearchSection

    class Cheapest(SearchSection):
        title = "The cheapest network of the Pareto front"
        order = 25  # behind the table of networks, which has 20

        def parts(self, place):
            front = place.search.front
            if not front:
                return []
            network = min(front, key=lambda network: network.costs["macs"])
            return [h("p", h("code", network.digest), f" takes {network.costs['macs']:,} MACs.")]

`h` escapes all text that is not HTML already.
"""

from collections.abc import Iterable

from nas.dotted import file_names, found_at, made_of, path_of
from nas.reporting.section import RunSection, SearchSection, Section
from search_spaces.errors import InputError

_CONTRACT = "a class that inherits SearchSection or RunSection of nas.reporting.section, with title, order and parts"


def sections(more: Iterable[str] = ()) -> list[Section]:
    """All sections, by their order.

    Args:
        more: dotted paths of sections beside those that come with nas.

    Raises:
        InputError: one of them cannot be imported, or is no section.
    """
    ours = file_names("reporting/sections")
    return sorted(map(_section, (*ours, *dict.fromkeys(more))), key=lambda section: section.order)


def _section(name: str) -> Section:
    ours = file_names("reporting/sections")
    typed = f"report.sections={name}"
    found = found_at(
        path_of(name, ours, "nas.reporting.sections"), ours, "report.sections", "section", "parts", ours=name in ours
    )
    if not (isinstance(found, type) and issubclass(found, SearchSection | RunSection)):
        raise InputError(f"{typed} is no section", _CONTRACT, f"nas report without {name}")
    section = made_of(found, typed, _CONTRACT)
    lacks = [
        key
        for key, kind in (("title", str), ("order", int | float))
        if not isinstance(getattr(section, key, None), kind)
    ]
    if lacks:
        raise InputError(f"{typed} has no {' and no '.join(lacks)}", _CONTRACT, f"nas report without {name}")
    return section
