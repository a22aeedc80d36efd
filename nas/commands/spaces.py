"""`nas spaces NAME`: a space as it is written, and what is in it."""

from pathlib import Path

from nas.config import Config
from nas.log import say
from nas.run import import_plugins
from search_spaces.checking import check_parts
from search_spaces.named import load_space


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
    say(path.read_text().rstrip())
    say(f"\n# {space.size:.3g} networks, {len(space.genes)} choices, {len(space.stages)} stages")
