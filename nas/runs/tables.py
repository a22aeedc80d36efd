"""Rows as the text of a CSV file."""

import csv
import io
from collections.abc import Iterable, Mapping


def csv_text(rows: Iterable[Mapping[str, object]]) -> str:
    """Rows as CSV, with a column for every key, in the order in which keys first appear; a cell is empty where a row lacks its key."""
    found = list(rows)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in found for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return stream.getvalue()
