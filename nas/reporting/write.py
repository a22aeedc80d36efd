"""Writes the files of a report."""

from collections.abc import Sequence
from pathlib import Path

from nas.reporting.chart import EMPTY, Chart
from nas.reporting.charts import front_charts, overview_chart
from nas.reporting.curves import best_chart
from nas.reporting.findings import Findings, shared
from nas.reporting.page import page_html
from nas.reporting.picture import png
from nas.reporting.tables import front_csv, trials_csv
from nas.reporting.words import shorten
from nas.runs.store import RunStore, as_bytes


def first_chart(found: Findings) -> Chart:
    """The chart that the page begins with; an empty one before anything has been evaluated."""
    if found.several:
        for (_, cost), group in shared(found.searches).items():
            if len(group) > 1 and (chart := overview_chart(group, cost)):
                return chart
    for search in found.searches:
        if len(search.objectives) == 1 and (chart := best_chart(search)):
            return chart
        if charts := front_charts(search):
            return charts[0]
    return EMPTY


def write_report(
    found: Findings, out: RunStore, folder: str | Path | None = None, sections: Sequence[str] = ()
) -> Path:
    """Writes front.csv, trials.csv, front.png and report.html into `out`, all of them or none (see `RunStore.write_together`).

    It can be called at any time, whatever the searches have reached. CSV and HTML are the same bytes for equal findings; the
    picture is, where matplotlib is the same.

    Args:
        folder: the run folder as the commands on the page are to name it; `out` by default.
        sections: dotted paths of sections of the user, for the page.

    Returns:
        The path of report.html.

    Raises:
        InputError: the folder cannot be written, or the disk is full; or a section of the user cannot be used. The files of the last
            report are as they were.
    """
    page = page_html(found, str(out.folder if folder is None else folder), sections)
    files = {
        "front.csv": as_bytes(front_csv(found)),
        "trials.csv": as_bytes(trials_csv(found)),
        "front.png": png(first_chart(found), shorten(found.title, 90)),
        "report.html": as_bytes(page),
    }
    return out.write_together(files)[-1]
