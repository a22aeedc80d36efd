"""Tables that spreadsheets open: no cell of ours begins a formula, and we read back what we wrote."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.log import shown
from nas.runs.tables import as_given, as_text, csv_rows, csv_text

STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("before", ["", "'", "''"])
def test_no_text_begins_a_formula(start: str, before: str) -> None:
    text = f"{before}{start}cmd|' /C calc'!A0"
    [header, cells] = csv.reader(io.StringIO(csv_text([{text: text}]), newline=""))
    assert header == cells
    assert cells[0].startswith("'") or cells[0].startswith("\\r")
    assert csv_rows(csv_text([{text: text}])) == [{shown(text): shown(text)}]


@pytest.mark.parametrize("number", [-1, -2.5, 1e-9, -1e300, float("-inf"), "-3.5", "+4", "-1e-5", "-.5", None, 0, ""])
def test_numbers_stay_numbers(number: object) -> None:
    assert as_text(number) == number
    assert csv_text([{"a": number, "b": 1}]).splitlines()[1] == f"{'' if number is None else number},1"


@settings(max_examples=40)
@given(st.text())
def test_every_text_comes_back(text: str) -> None:
    cell = as_text(text)
    assert isinstance(cell, str)
    assert as_given(cell) == shown(text)
    assert shown(cell) == cell
    assert not cell.startswith(STARTS) or cell[0] in "+-"  # of a number


@settings(max_examples=20)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "=b", "'c"]), st.text(min_size=1), min_size=1), min_size=1))
def test_tables_come_back(rows: list[dict[str, str]]) -> None:
    found = csv_rows(csv_text(rows).encode(errors="surrogatepass").decode(errors="surrogatepass"))
    assert [{key: value for key, value in row.items() if value} for row in found] == [
        {key: shown(value) for key, value in row.items()} for row in rows
    ]
