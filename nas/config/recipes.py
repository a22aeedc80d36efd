"""Named recipes: files of `nas/training/recipes`, each with the keys of `retrain` that a paper prints, or a file of the user.

    about = "TransXNet on ImageNet-1K"          # one line for `nas recipes`
    source = "where each figure is from"
    resolution = [160, 448]                     # sides of the images that it is made for, in pixels
    [recipe]                                    # keys of the section retrain
    epochs = 300
    [variants.small]                            # recipe=transxnet/small changes these
    about = "stochastic depth of TransXNet-S"
    drop_path = 0.2

Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from nas.config.retrain import RetrainConfig
from search_spaces.errors import InputError, unknown
from search_spaces.files.toml import read_toml
from search_spaces.textfiles import expanded

FOLDER = Path(__file__).resolve().parents[1] / "training" / "recipes"

IMAGENET = FOLDER.parent / "imagenet"
"""Configurations of whole runs on ImageNet: imagenet/NAME.toml stands for a file there."""

NOT_OF_A_RECIPE = frozenset(
    {
        "recipe", "points", "inits", "seeds", "references", "jobs", "processes", "checkpoint_steps", "estimate",
        "grad_accum_steps", "grad_checkpointing", "channels_last", "torchcompile",
        "kd_model_name", "kd_temperature", "distill_loss_weight", "task_loss_weight",
    }
)  # fmt: skip
"""Keys of `retrain` that say what is trained, by which teacher and on which machine. No recipe sets them, and none resets them."""

KEYS = tuple(field.name for field in fields(RetrainConfig) if field.name not in NOT_OF_A_RECIPE)
"""Keys that a recipe sets; those that its file leaves out have their default."""


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe of a file.

    Args:
        about: what it is for, in a line.
        source: where its figures come from, and which are not printed there.
        resolution: smallest and largest side of the images that it is made for, in pixels.
        values: keys of `retrain`, those that the file gives.
    """

    name: str
    about: str
    source: str
    resolution: tuple[int, int]
    values: Mapping[str, Any]

    def keys(self) -> dict[str, Any]:
        """All keys of a recipe, those that the file leaves out with their defaults."""
        known = RetrainConfig.__dataclass_fields__
        return {key: known[key].default for key in KEYS} | dict(self.values)

    def check_resolution(self, resolution: int) -> None:
        """
        Raises:
            InputError: it is not made for images of this side in pixels.
        """
        low, high = self.resolution
        if not low <= resolution <= high:
            fitting = [name for name in recipe_names() if _fits(named_recipe(name), resolution)]
            raise InputError(
                f"retrain.recipe={self.name} is made for images of {low} to {high} pixels, and the run's have {resolution} (data.resolution)",
                f"a recipe for such images: {', '.join(fitting)}; or a TOML file of your own",
                f"retrain.recipe={fitting[0]}" if fitting else "retrain.recipe=FILE.toml",
            )


def _fits(recipe: NamedRecipe, resolution: int) -> bool:
    return recipe.resolution[0] <= resolution <= recipe.resolution[1]


@cache
def recipe_names() -> tuple[str, ...]:
    """The names of the recipes that are installed, variants behind the recipe that they change."""
    found = []
    for path in sorted(FOLDER.glob("*.toml")):
        found.append(path.stem)
        found += [f"{path.stem}/{variant}" for variant in _table(path).get("variants", {})]
    return tuple(found)


def named_recipe(name: str) -> NamedRecipe:
    """A recipe by its name, or by the path of its file, which ends in .toml.

    Raises:
        InputError: no such recipe, or a file that is none.
    """
    if name.endswith(".toml"):
        return _recipe(name, expanded(name), "")
    if name not in recipe_names():
        instead = "retrain.recipe={}, or the path of a TOML file; nas recipes describes them"
        raise unknown("recipe", name, recipe_names(), instead)
    stem, _, variant = name.partition("/")
    return _recipe(name, FOLDER / f"{stem}.toml", variant)


def check_fits(name: str, resolution: int) -> None:
    """
    Args:
        name: of a recipe, or empty for none.
        resolution: side of the images of a run, in pixels.

    Raises:
        InputError: the recipe is not made for such images. A file that is gone has done its work, and is not asked.
    """
    if name and not (name.endswith(".toml") and not expanded(name).exists()):
        named_recipe(name).check_resolution(resolution)


def retrain_config(recipe: str, **changes: Any) -> RetrainConfig:
    """The section `retrain` with a named recipe, for Python.

    Args:
        changes: other keys of the section, and keys of the recipe that are to be otherwise.

    Raises:
        InputError: see `named_recipe`; or values that do not go together.
    """
    return RetrainConfig(**{**named_recipe(recipe).keys(), "recipe": recipe, **changes})


def _table(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except OSError as error:
        allowed = (
            f"a TOML file that you may read, or one of {', '.join(path.stem for path in sorted(FOLDER.glob('*.toml')))}"
        )
        raise InputError(f"recipe {path} cannot be read ({error.strerror})", allowed, "nas recipes") from None
    except ValueError as error:
        raise InputError(f"recipe {path} is not TOML: {error}", "TOML, saved as UTF-8", f"fix {path}") from None


def _recipe(name: str, path: Path, variant: str) -> NamedRecipe:
    table = _table(path)
    for key in table:
        if key not in ("about", "source", "resolution", "recipe", "variants"):
            raise _wrong(path, unknown("key", key, ("about", "source", "resolution", "recipe", "variants"), "{}"))
    changes = dict(table.get("variants", {}).get(variant, {}))
    about = changes.pop("about", table.get("about", ""))
    values = {**_section(path, table.get("recipe", {})), **_section(path, changes)}
    limits = table.get("resolution", [4, 4096])
    if not isinstance(limits, list) or len(limits) != 2 or not all(type(side) is int for side in limits):
        raise InputError(
            f"recipe {path}: resolution is {limits!r}", "smallest and largest side in pixels", "resolution = [160, 448]"
        )
    try:
        RetrainConfig(**values)
    except InputError as error:
        raise _wrong(path, error) from None
    return NamedRecipe(name, str(about), str(table.get("source", "")), (limits[0], limits[1]), values)


def _section(path: Path, table: Any) -> dict[str, Any]:
    """The keys of a recipe in a table of its file, each of its type."""
    from nas.config.parsing import section_values  # which knows all sections

    try:
        values = section_values("retrain", table)
        for key in values:
            if key not in KEYS:
                raise unknown("key of a recipe", key, KEYS, "{}=VALUE")
    except InputError as error:
        raise _wrong(path, error) from None
    return values


def _wrong(path: Path, error: InputError) -> InputError:
    return InputError(f"recipe {path}: {error.given}", error.allowed, error.instead)
