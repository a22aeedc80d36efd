"""Writes the files of a report."""

from pathlib import Path

from nas.reporting.charts import front_chart
from nas.reporting.drawing import png
from nas.reporting.findings import collect
from nas.reporting.page import page_html
from nas.reporting.tables import front_csv, trials_csv
from nas.reporting.words import shorten
from nas.store import RunStore


def write_report(store: RunStore, out: RunStore | None = None) -> Path:
    """Writes front.csv, trials.csv, front.png and, last, report.html into `out`, by default the run folder; each atomically.

    It can be called as soon as the search has evaluated one network, and again at any time. CSV and HTML are the same
    bytes for the same folder (the page names its path); the picture is, where matplotlib is the same.

    Returns:
        The path of report.html.

    Raises:
        InputError: nothing has been evaluated yet, a file is damaged, the folder cannot be written, or the disk is full.
    """
    found, out = collect(store), out or store
    out.write_text("front.csv", front_csv(found))
    out.write_text("trials.csv", trials_csv(found))
    out.write_bytes("front.png", png(front_chart(found), shorten(found.title, 90)))
    return out.write_text("report.html", page_html(found, store))
