"""The split of a run, as it is read."""

from nas.data import Split
from nas.runs.store import RunStore
from search_spaces.textfiles import LONG


def read_split(store: RunStore) -> Split:
    """The split in a run's split.json.

    Raises:
        InputError: it is missing, damaged, or says something else than nas writes.
    """
    return Split.from_dict(store.read_json("split.json", LONG, None))  # every value is checked there
