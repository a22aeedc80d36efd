"""Classes of the user that are named by a dotted path, `my_package.MyClass`, where a name of ours could stand. Standard library only."""

import importlib
from collections.abc import Iterable

from search_spaces.errors import InputError, unknown


def is_dotted(name: str) -> bool:
    """Whether a name has the form of a dotted path."""
    return "." in name and all(map(str.isidentifier, name.split(".")))


def check_name(name: str, names: Iterable[str], key: str, example: str) -> None:
    """Whether `name` is one of ours, or has the form of a dotted path; imports nothing.

    Args:
        key: of the configuration that it is given for.
        example: the name of a class, for the message.

    Raises:
        InputError: neither.
    """
    if name not in names and not is_dotted(name):
        raise unknown(key, name, names, f"{key}={{}}, or a class of yours as my_package.{example}")


def found_at(path: str, names: Iterable[str], key: str, what: str, method: str) -> object:
    """What stands at a dotted path.

    Args:
        names: ours, for messages. key: of the configuration that the path is given for. what: it should be, in a word.
        method: that such a class has; classes of the module with it are offered in place of one that is not there.

    Raises:
        InputError: the module cannot be imported or fails, or has nothing of this name.
    """
    module_name, _, class_name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(
            f"{key}={path}: module {module_name!r} cannot be imported ({error})",
            f"{', '.join(names)}, or a class of a module that can be imported",
            f"PYTHONPATH=FOLDER nas ... {key}={path}",
        ) from None
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        raise InputError(
            f"{key}={path}: module {module_name!r} fails ({type(error).__name__}: {error})",
            "a module that can be imported",
            f"mend {module_name}",
        ) from error
    found = getattr(module, class_name, None)
    if found is None:
        classes = [name for name, value in vars(module).items() if isinstance(value, type) and hasattr(value, method)]
        raise unknown(f"{what} in {module_name}", class_name, classes, f"{key}={module_name}.{{}}")
    return found
