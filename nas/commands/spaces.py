"""`nas spaces NAME`: a space as it is written, and what is in it."""

from pathlib import Path

from nas.config import Config
from nas.log import say
from nas.plugins import import_plugins
from search_spaces.checking import check_parts
from search_spaces.counting import worded
from search_spaces.named import load_space
from search_spaces.textfiles import read_text


def show(path: Path, config: Config) -> None:
    """Prints a space that training would take.

    Args:
        config: whose plugins are imported first.

    Raises:
        InputError: training would refuse it.
    """
    import_plugins(config)
    space = load_space(path)
    check_parts(space)
    say(read_text(path).rstrip())
    say(f"\n# {worded(space.size)} networks, {len(space.genes)} choices, {len(space.stages)} stages")
