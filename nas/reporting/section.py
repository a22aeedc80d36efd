"""What a section of the page is: one for each search, or one for the whole run."""

import abc
from typing import ClassVar

from nas.reporting.findings import Findings
from nas.reporting.markup import Html
from nas.reporting.place import Place


class SearchSection(abc.ABC):
    """A section about one search.

    title: its heading. order: sections stand by rising order, ours at 10, 20 and so on.
    """

    title: ClassVar[str]
    order: ClassVar[float]

    @abc.abstractmethod
    def parts(self, place: Place) -> list[Html]:
        """What stands below the heading, one element after the other; nothing where there is nothing to say, and then no heading."""


class RunSection(abc.ABC):
    """A section about all searches of the run, behind those of the searches. `title` and `order` as in `SearchSection`."""

    title: ClassVar[str]
    order: ClassVar[float]

    @abc.abstractmethod
    def parts(self, found: Findings) -> list[Html]:
        """As in `SearchSection`."""


Section = SearchSection | RunSection
