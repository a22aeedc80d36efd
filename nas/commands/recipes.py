"""`nas recipes`: the named recipes of retraining, or one of them with its keys and where they come from."""

import json
import textwrap

from nas.config.recipes import IMAGENET, named_recipe, recipe_names
from nas.config.retrain import RetrainConfig
from nas.log import say
from search_spaces.errors import InputError


def recipes(*names: str) -> None:
    """Prints a line for each recipe, or all that is known of one.

    Raises:
        InputError: more than one name, or no such recipe.
    """
    if len(names) > 1:
        raise InputError(f"arguments {list(names)}", "at most one recipe", f"nas recipes {names[0]}")
    if names:
        _show(names[0])
        return
    say(f"{'recipe':20} {'epochs':>6} {'batch':>6} {'lr':>7} {'pixels':>8}  about")
    for name in recipe_names():
        recipe, keys = named_recipe(name), named_recipe(name).keys()
        pixels = "-".join(map(str, recipe.resolution))
        say(f"{name:20} {keys['epochs']:>6} {keys['batch_size']:>6} {keys['lr']:>7g} {pixels:>8}  {recipe.about}")
    say("\nnas recipes NAME shows one; nas retrain recipe=NAME trains by it, and keys beside it change it (epochs=100)")
    whole = ", ".join(f"{IMAGENET.name}/{path.name}" for path in sorted(IMAGENET.glob("*.toml")))
    say("\nwhole configurations: nas demo CONFIG data.root=IMAGENET with one of")
    for line in textwrap.wrap(whole, 110, initial_indent="  ", subsequent_indent="  "):
        say(line)


def _show(name: str) -> None:
    """Prints a recipe; keys at their defaults are left out, unless its file gives them."""
    recipe = named_recipe(name)
    low, high = recipe.resolution
    say(f"{name}: {recipe.about}\nfor images of {low} to {high} pixels\n")
    for line in textwrap.wrap(recipe.source, 100):
        say(line)
    say("\n[retrain]")
    known = RetrainConfig.__dataclass_fields__
    for key, value in recipe.values.items():
        say(
            f"{key + ' = ' + json.dumps(value):40} # {textwrap.shorten(known[key].metadata['meaning'], 90, placeholder=' ...')}"
        )
