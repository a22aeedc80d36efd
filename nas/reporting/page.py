"""report.html: one file, no script, nothing loaded; its sections in the order in which they are read."""

from pathlib import Path

from nas.reporting.findings import Findings
from nas.reporting.looks import COLOURS
from nas.reporting.markup import Html, h, join
from nas.reporting.mixers import CELLS, Mixers
from nas.reporting.sections.charts import charts
from nas.reporting.sections.choices import choices
from nas.reporting.sections.commands import commands
from nas.reporting.sections.conditions import conditions, search_conditions
from nas.reporting.sections.images import images
from nas.reporting.sections.lead import all_lead, all_tiles, lead, tiles
from nas.reporting.sections.meanings import meanings
from nas.reporting.sections.networks import networks
from nas.reporting.sections.overview import overview
from nas.reporting.sections.place import Place
from nas.reporting.sections.predictions import predictions
from nas.reporting.sections.samplers import samplers
from nas.reporting.sections.times import times

OF_A_SEARCH = (charts, networks, predictions, times, samplers, choices, commands)
OF_THE_RUN = (meanings, images, conditions)

_FILES = {"front.csv": "the networks", "trials.csv": "every evaluation", "front.png": "the first chart"}


def page_html(found: Findings, folder: str) -> str:
    """The whole page.

    Args:
        folder: of the run, as commands are to name it.
    """
    mixers = Mixers.of(found.architectures)
    places = [Place(found, search, mixers, folder, number) for number, search in enumerate(found.searches, 1)]
    if not places:
        top = [h("p", "This run has no search yet.", class_="lead")]
        parts: list[Html] = []
    elif found.several:
        top = [all_lead(found), all_tiles(found)]
        parts = [overview(found, places), *map(_search, places)]
    else:
        top = [lead(places[0]), tiles(places[0])]
        parts = [part(places[0]) for part in OF_A_SEARCH]
    parts += [part(found) for part in OF_THE_RUN]
    beside = join(join([", " * bool(k), h("a", n, href=n), f" ({_FILES[n]})"]) for k, n in enumerate(_FILES))
    head = h(
        "head",
        Html('<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'),
        h("title", f"Pareto report: {found.title}"),
        Html(f"\n<style>\n{_style()}</style>\n"),
    )
    body = h(
        "body",
        h("header", h("p", "Pareto report", class_="kicker"), h("h1", found.title), *top),
        h("main", *parts),
        h("footer", h("p", "Beside this file: ", beside, ".")),
    )
    return "<!DOCTYPE html>\n" + h("html", head, body, lang="en") + "\n"


def _search(place: Place) -> Html:
    """One search of several, under its name."""
    title = h("h2", h("span", "Search ", class_="kicker"), place.search.name)
    parts = (*(part(place) for part in OF_A_SEARCH), search_conditions(place))
    return h("section", title, lead(place), tiles(place), *parts, class_="search", id=place.anchor)


def _style() -> str:
    """report.css with the colours of the charts and cells."""
    sheet = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    colours = [";".join(f"--{name}:{pair[k]}" for name, pair in COLOURS.items()) for k in (0, 1)]
    rules = [f".{name}{{--c:var(--{name})}}" for name in COLOURS]
    rules += [f".k{number}{{background-color:{colour}}}" for number, colour in enumerate(CELLS)]
    return sheet.replace("/*light*/", colours[0]).replace("/*dark*/", colours[1]) + "\n".join(rules) + "\n"
