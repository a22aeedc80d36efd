"""`nas spaces NAME`: prints the file of a space and its size; with a budget, the space that the budget leaves."""

from pathlib import Path

from nas.config import Config
from nas.goals.limiting import budget_of, costs_of_training, narrow
from nas.latency.profiles import read_devices
from nas.log import say
from nas.plugins import import_plugins
from search_spaces.checking import check_parts
from search_spaces.counting import worded
from search_spaces.named import load_space
from search_spaces.narrowing import removed
from search_spaces.space import SearchSpace
from search_spaces.textfiles import read_text
from search_spaces.writing import to_toml


def show(path: Path, config: Config, resolution: int = 0) -> None:
    """Prints a space as training would use it. With a budget, this is the narrowed space.

    Args:
        config: its plugins are imported first, and the budget is its train.budget.
        resolution: of the images, on which costs depend; 0 takes that of a profile of this space, else that of the space.

    Raises:
        InputError: training would refuse the space.
    """
    import_plugins(config)
    space = load_space(path)
    channels, classes, side = _profiled(space, config) or (space.in_channels, space.num_classes, space.resolution)
    space = space.bind(channels, classes, resolution or side)
    check_parts(space)
    if not budget_of(config.train):
        say(read_text(path).rstrip())
        say(f"\n# {_counted(space)}")
        return
    budget = budget_of(config.train)
    with costs_of_training(config, "budget"):
        left = narrow(space, budget, "budget")
    title = (
        f"Space {space.name} without what no network can have that costs {budget.said()},\n"
        f"for images of {space.in_channels} x {space.resolution} x {space.resolution} and {space.num_classes:,} classes."
    )
    say(to_toml(left, title).rstrip())
    say(f"\n# before: {_counted(space)}\n# after:  {_counted(left)}")
    lines = removed(space, left)
    say("# removed:" if lines else "# removed: nothing, as some network within the budget may have each choice")
    for line in lines:
        say(f"#   {line}")


def _profiled(space: SearchSpace, config: Config) -> tuple[int, int, int] | None:
    """Channels, classes and resolution of the data that a profile of this space was made for, whose times are of no other."""
    for about in (model.about.get("space", {}) for file in config.search.profiles for model in read_devices(file)):
        sizes = tuple(about.get(key) for key in ("in_channels", "num_classes", "resolution"))
        if about.get("name") == space.name and all(isinstance(size, int) for size in sizes):
            return sizes
    return None


def _counted(space: SearchSpace) -> str:
    counts = (len(space.genes), "choice"), (len(space.stages), "stage")
    return ", ".join((f"{worded(space.size)} networks", *(f"{n} {noun}{'s' * (n != 1)}" for n, noun in counts)))
