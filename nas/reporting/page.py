"""report.html: one file, no script, nothing loaded; its sections in the order in which they are read. Its skeleton is page.html.jinja."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from nas.reporting.findings import Findings
from nas.reporting.lead import all_lead, all_tiles, lead, tiles
from nas.reporting.looks import COLOURS
from nas.reporting.markup import Html, h, join
from nas.reporting.mixers import CELLS, Mixers
from nas.reporting.overview import overview
from nas.reporting.place import Place
from nas.reporting.section import RunSection, SearchSection
from nas.reporting.sections import sections
from nas.reporting.words import plain
from search_spaces.errors import InputError

_FILES = {"front.csv": "the networks", "trials.csv": "every evaluation", "front.png": "the first chart"}

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class _Shown:
    """A section with its heading."""

    title: str
    html: Html


@dataclass(frozen=True, slots=True)
class _SearchShown:
    """A search: its result in a paragraph and a row of numbers, where it is one of several, and its sections."""

    place: Place
    top: Html
    sections: list[_Shown]


def page_html(found: Findings, folder: str, more: Sequence[str] = ()) -> str:
    """The whole page.

    Args:
        folder: of the run, as commands are to name it.
        more: dotted paths of sections of the user.

    Raises:
        InputError: one of them cannot be imported, is no section, or fails.
    """
    mixers, every = Mixers.of(found.architectures), sections(more)
    places = [Place(found, search, mixers, folder, number) for number, search in enumerate(found.searches, 1)]
    if not places:
        top = [h("p", "This run has no search yet.", class_="lead")]
    elif found.several:
        top = [all_lead(found), all_tiles(found)]
    else:
        top = [lead(places[0]), tiles(places[0])]
    top[1:1] = [h("p", h("b", "Warning: "), f"{warning}.", class_="warning") for warning in found.warnings]
    of_searches = [section for section in every if isinstance(section, SearchSection)]
    of_run = [section for section in every if isinstance(section, RunSection)]
    searches = [_SearchShown(place, join([lead(place), tiles(place)]), _shown(of_searches, place)) for place in places]
    # Without a script there is nothing to escape but text, and text is made fit for UTF-8 here as `markup` does.
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        finalize=lambda value: value if hasattr(value, "__html__") else plain(str(value)),
    )
    template = environment.from_string((_FOLDER / "page.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        title=found.title,
        style=Html(_style()),
        top=join(top),
        overview=_Shown("Searches", join(overview(found, places))) if found.several else None,
        searches=searches,
        run_sections=_shown(of_run, found),
        beside=_FILES,
    )


def _shown(sections: Sequence[SearchSection] | Sequence[RunSection], about: Place | Findings) -> list[_Shown]:
    """The sections that have something to say.

    Raises:
        InputError: one of the user's fails.
    """
    shown = []
    for section in sections:
        try:
            parts = section.parts(about)  # type: ignore[arg-type]
        except Exception as error:
            path = f"{type(section).__module__}.{type(section).__qualname__}"
            if path.startswith("nas."):
                raise
            raise InputError(
                f"section {path} fails ({type(error).__name__}: {error})",
                "a section that gives HTML for whatever was found, or nothing",
                f"fix {path}, or nas report without it",
            ) from error
        if parts:
            shown.append(_Shown(section.title, join(parts)))
    return shown


def _style() -> str:
    """report.css with the colours of the charts and cells."""
    sheet = (_FOLDER / "report.css").read_text(encoding="utf-8")
    colours = [";".join(f"--{name}:{pair[k]}" for name, pair in COLOURS.items()) for k in (0, 1)]
    rules = [f".{name}{{--c:var(--{name})}}" for name in COLOURS]
    rules += [f".k{number}{{background-color:{colour}}}" for number, colour in enumerate(CELLS)]
    return sheet.replace("/*light*/", colours[0]).replace("/*dark*/", colours[1]) + "\n".join(rules) + "\n"
