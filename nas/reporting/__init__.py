"""The report of a run's searches: a page, a picture, two tables, and a text for the terminal.

    findings.py   collect: run.json and the records of each search as one value, with fronts and the networks that matter
    tables.py     front.csv and trials.csv
    terminal.py   the text that `nas report` ends with
    chart.py      what a chart is: layers of marks on two axes; charts.py and curves.py make them
    drawing.py    a chart on the page, by svg.py; picture.py draws it by matplotlib into front.png; looks.py has the marks of both
    page.py       report.html: the skeleton page.html.jinja, the style report.css, and the sections
    sections/     the sections of the page, one file each, and how to add one; section.py says what one is
    lead.py       what stands above the sections; overview.py, all searches side by side; place.py, a search and its place on the page
    markup.py     HTML without injections; mixers.py, blocks as cells
    words.py      how numbers and names are written
    write.py      write_report: all of these, into a folder

Equal findings give equal bytes: there is no clock in any output. No space, no data and no plug-in is needed, and no file is
read. matplotlib and pandas are imported here, when first needed, and nowhere else; numpy when times on devices are reported.
"""

from nas.goals.roles import ROLES
from nas.records import BASELINES, INITS
from nas.reporting.findings import CostInfo, Findings, SearchFindings, SearchView, collect
from nas.reporting.tables import FRONT_COLUMNS, MEASURED_COLUMNS, TRIAL_COLUMNS
from nas.reporting.terminal import table
from nas.reporting.write import write_report

__all__ = [
    "BASELINES",
    "FRONT_COLUMNS",
    "INITS",
    "MEASURED_COLUMNS",
    "ROLES",
    "TRIAL_COLUMNS",
    "CostInfo",
    "Findings",
    "SearchFindings",
    "SearchView",
    "collect",
    "table",
    "write_report",
]
