"""Names of things that people add: one of ours, which is a file of a folder, or a class of the user by its dotted path.

`nas.data.sources`, `nas.executors`, `nas.runtimes`, `nas.samplers` and `nas.reporting.sections` look names up here. The name
fashion_mnist is the file fashion_mnist.py with the class FashionMnist in it; any other name is imported as it is written,
my_package.MyClass. Standard library only: a name is checked before anything is imported.
"""

import importlib
import pkgutil
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nas.plugins.given import is_given, not_given
from search_spaces.errors import InputError, unknown


def file_names(folder: str) -> tuple[str, ...]:
    """The names of the files in a folder of `nas`, such as data/sources, sorted; nothing is imported."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / folder)])))


def path_of(name: str, names: Iterable[str], package: str) -> str:
    """The dotted path of a name: for one of ours the class in its file of `package`, else the name itself."""
    return f"{package}.{name}.{name.title().replace('_', '')}" if name in names else name


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


def found_at(path: str, names: Iterable[str], key: str, what: str, method: str, *, ours: bool) -> object:
    """What stands at a dotted path.

    Args:
        names: ours, for messages. key: of the configuration that the path is given for. what: it should be, in a word.
        ours: whether it comes with this project; of others the user has to have given the module.
        method: that such a class has; classes of the module with it are offered in place of one that is not there.

    Raises:
        InputError: the module was not given by the user, cannot be imported or fails, or has nothing of this name.
    """
    module_name, _, class_name = path.rpartition(".")
    if not ours and not is_given(module_name):
        raise not_given(f"{key}={path}", module_name)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        raise _failed(error, f"{key}={path}", module_name, names) from error
    found = getattr(module, class_name, None)
    if found is None:
        classes = [name for name, value in vars(module).items() if isinstance(value, type) and hasattr(value, method)]
        own = [name for name in classes if vars(module)[name].__module__ == module_name]
        raise unknown(f"{what} in {module_name}", class_name, own or classes, f"{key}={module_name}.{{}}")
    return found


def _failed(error: BaseException, typed: str, module: str, names: Iterable[str]) -> InputError:
    """What is wrong with a module that cannot be imported.

    Args:
        typed: the key and the path. names: see `found_at`.
    """
    if isinstance(error, SyntaxError):
        return InputError(
            f"{typed}: module {module!r} is not Python ({error.filename}, line {error.lineno}: {error.msg})",
            "a module that can be imported",
            f"fix line {error.lineno} of {error.filename}",
        )
    if isinstance(error, ImportError):
        return InputError(
            f"{typed}: module {module!r} cannot be imported ({error})",
            f"{', '.join(names)}, or the dotted path of a class in a module that can be imported",
            f"PYTHONPATH=FOLDER nas ... {typed}",
        )
    last = traceback.extract_tb(error.__traceback__)[-1]
    return InputError(
        f"{typed}: module {module!r} fails ({last.filename}, line {last.lineno}: {type(error).__name__}: {error})",
        "a module that can be imported",
        f"fix line {last.lineno} of {last.filename}",
    )


def made_of(found: object, typed: str, contract: str, *arguments: object) -> Any:
    """What a class of the user makes.

    Args:
        typed: the key and the path of the class, for messages.
        contract: what such a class is, for messages.
        arguments: of its constructor.

    Raises:
        InputError: it cannot be made.
    """
    if not callable(found):
        raise InputError(f"{typed} is {type(found).__name__}", contract, f"another {typed.partition('=')[0]}")
    try:
        return found(*arguments)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # whatever the class does
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise InputError(
            f"{typed} cannot be made ({last.filename}, line {last.lineno}: {type(error).__name__}: {error})",
            contract,
            f"another {typed.partition('=')[0]}, or fix line {last.lineno} of {last.filename}",
        ) from error
