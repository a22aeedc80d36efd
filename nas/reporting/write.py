"""Writes the files of a report."""

from pathlib import Path

from nas.reporting.charts import front_chart
from nas.reporting.drawing import png
from nas.reporting.findings import collect
from nas.reporting.page import page_html
from nas.reporting.tables import front_csv, trials_csv
from nas.reporting.words import shorten
from nas.store import RunStore


def write_report(store: RunStore) -> Path:
    """Writes front.csv, trials.csv, front.png and, last, report.html into the run folder; each atomically.

    It can be called as soon as the search has evaluated one network, and again at any time. CSV and HTML are the same
    bytes for the same folder (the page names its path); the picture is, where matplotlib is the same.

    Returns:
        The path of report.html.

    Raises:
        InputError: nothing has been evaluated yet, a file is damaged, or the disk is full.
    """
    found = collect(store)
    store.write_text("front.csv", front_csv(found))
    store.write_text("trials.csv", trials_csv(found))
    store.write_bytes("front.png", png(front_chart(found), shorten(found.title, 90)))
    return store.write_text("report.html", page_html(found, store))
