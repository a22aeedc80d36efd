"""Sections of the page: ours by their files, the user's beside them, and what is said of those that cannot be used."""

from pathlib import Path

import pytest

from nas.config import ReportConfig
from nas.dotted import file_names
from nas.reporting import collect
from nas.reporting.page import page_html
from nas.reporting.section import RunSection, SearchSection
from nas.reporting.sections import sections
from search_spaces.errors import InputError
from tests.nas.reporting.made_searches import run_of

MINE = """\
from nas.reporting.markup import h
from nas.reporting.section import RunSection, SearchSection


class Title(RunSection):
    title, order = "Whose <it> is", 5

    def parts(self, found):
        return [h("p", found.title, " & more")]


class Silent(Title):
    title = "Nothing to say"

    def parts(self, found):
        return []


class Failing(Title):
    def parts(self, found):
        return [1 / 0]


class NoOrder(SearchSection):
    title = "First"

    def parts(self, place):
        return []


class NoParts(RunSection):
    title, order = "x", 1


number = 3
"""


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_sections.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)


def page(*names: str) -> str:
    return page_html(collect(run_of(), []), "run", [f"my_sections.{name}" for name in names])


def test_ours_are_the_files_and_stand_by_their_order() -> None:
    ours = sections()
    assert {type(section).__module__.rpartition(".")[2] for section in ours} == set(file_names("reporting/sections"))
    for kind in (SearchSection, RunSection):
        orders = [section.order for section in ours if isinstance(section, kind)]
        assert orders == sorted(set(orders)), "two sections share a place"


def test_a_section_of_the_user_stands_at_its_place_and_cannot_inject_markup() -> None:
    found = page("Title", "Silent")
    assert "<section><h2>Whose &lt;it&gt; is</h2>\n<p>" in found
    assert " &amp; more</p>" in found
    assert found.index("Whose") < found.index("What each number means")
    assert "Nothing to say" not in found
    assert page("Silent") == page()


@pytest.mark.parametrize(
    ("name", "given", "instead"),
    [
        ("Titel", "unknown section in my_sections 'Titel'", "report.sections=my_sections.Title"),
        ("number", "report.sections=my_sections.number is no section", "nas report without my_sections.number"),
        ("NoOrder", "has no order", "without my_sections.NoOrder"),
        ("NoParts", "cannot be made", "another report.sections"),
        ("Failing", "section my_sections.Failing fails (ZeroDivisionError: division by zero)", "fix my_sections"),
    ],
)
def test_what_is_no_section(name: str, given: str, instead: str) -> None:
    with pytest.raises(InputError) as error:
        page(name)
    assert given in error.value.given
    assert instead in error.value.instead


def test_names_that_are_no_paths_are_refused_early() -> None:
    with pytest.raises(InputError, match=r"report\.sections=networks") as error:
        ReportConfig(sections=("networks",))
    assert error.value.instead == "report.sections=my_package.MySection"
