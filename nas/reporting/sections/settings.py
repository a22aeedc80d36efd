"""The settings of one search of several; those of a search that is alone stand with the conditions of the run."""

from nas.reporting.markup import Html, settings_listing
from nas.reporting.place import Place
from nas.reporting.section import SearchSection


class Settings(SearchSection):
    """As a file of configuration says them."""

    title = "Settings of this search"
    order = 80

    def parts(self, place: Place) -> list[Html]:
        return [settings_listing({"search": dict(place.search.view.settings)})] if place.found.several else []
