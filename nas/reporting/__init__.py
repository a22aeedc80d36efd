"""The report of a run, written from its folder alone: a page, a picture, two tables, and a text for the terminal.

    findings.py   collect: run.json, evaluations.jsonl and retrained.jsonl as one value, with the front
    tables.py     front.csv and trials.csv; the text that `nas demo` ends with
    charts.py     one description of a chart
    drawing.py    a chart drawn twice: as SVG into the page, by matplotlib into front.png
    page.py       report.html, with report.css; from markup.py (HTML), mixers.py (blocks as coloured cells) and
    words.py      how numbers and names are written
    write.py      write_report: all of these, into the run folder or another

Equal folders give equal bytes: there is no clock in any output. matplotlib and pandas are imported here, when first
needed, and nowhere else.
"""

from nas.reporting.findings import BASELINES, INITS, ROLES, Findings, collect
from nas.reporting.tables import FRONT_COLUMNS, TRIAL_COLUMNS, table
from nas.reporting.write import write_report

__all__ = [
    "BASELINES",
    "FRONT_COLUMNS",
    "INITS",
    "ROLES",
    "TRIAL_COLUMNS",
    "Findings",
    "collect",
    "table",
    "write_report",
]
