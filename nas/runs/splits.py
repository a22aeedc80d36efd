"""The split of a run, as it is read."""

from nas.data import Split
from nas.runs.store import RunStore
from search_spaces.files.plain import Limits
from search_spaces.textfiles import LONG

SPLIT = Limits(values=50_000_000, containers=1000, each=False)
"""Of a split.json. An image has three values in three long lists; with ImageNet-21k's 14 million images they take 76 bytes each in the file, which
is just what `LONG` allows. There are 14 lists and tables.
"""


def read_split(store: RunStore) -> Split:
    """The split in a run's split.json.

    Raises:
        InputError: it is missing, damaged, or says something else than nas writes.
    """
    return Split.from_dict(store.read_json("split.json", LONG, SPLIT))  # every value is checked there
