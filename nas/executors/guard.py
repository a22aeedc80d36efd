"""What is said about processes that do a part of the work: a script that they cannot import, and a process that is ended.

Standard library only. A process that is started by spawning imports the script of the one that started it, so a script that
calls nas outside of `if __name__ == "__main__":` would start over in each of them.
"""

import json
import multiprocessing
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nas.log import say
from nas.machine.environment import variable
from search_spaces.errors import InputError

VARIABLE = "NAS_EXECUTOR"
"""Environment variable that tells a starting process the words of the one that starts it, and where to leave its mark."""


@dataclass(frozen=True)
class Words:
    """How the caller of an executor calls its work.

    Args:
        doing: what the processes do, as in "the processes that evaluate networks".
        single: what to type to start no processes, such as "search.jobs=1".
        ended: given, allowed and instead of the error of a process that was ended from outside; None composes it from the others.
    """

    doing: str = "do the work"
    single: str = "one worker"
    ended: tuple[str, str, str] | None = None

    def ended_from_outside(self) -> InputError:
        """The error of a process that was ended by something else than its work, such as the kernel when memory runs out."""
        return InputError(
            *self.ended
            or (
                f"one of the processes that {self.doing} was ended from outside, most often because memory ran out",
                "memory for all processes that work at once",
                f"the same command with {self.single}",
            )
        )

    def unguarded(self) -> InputError:
        """The error of a script that calls nas while another process imports it."""
        return InputError(
            f'{sys.argv[0] or "the script"} calls nas outside of `if __name__ == "__main__":`, and the processes that '
            f"{self.doing} import it first",
            "calls that stand under this line, as in README.md",
            f'if __name__ == "__main__": and the calls indented below it, or {self.single}, which starts no processes',
        )

    def cannot_import(self) -> InputError:
        """The error of a script that fails when another process imports it."""
        return InputError(
            f"the processes that {self.doing} cannot import {_script()}; their own error stands above, if there is one",
            "a script in a file, whose import succeeds in any process",
            f"{self.single}, which starts no processes, or fix the script",
        )

    def from_standard_input(self) -> InputError:
        """The error of a script that other processes cannot read once more."""
        return InputError(
            f"the script comes from standard input, and the processes that {self.doing} have to import it",
            "a script in a file",
            f"{self.single}, which starts no processes, or save the script",
        )


def _script() -> str | None:
    return getattr(sys.modules["__main__"], "__file__", None)


def importable_by_others() -> bool:
    """Whether the script of this process can be read once more."""
    return _script() != "<stdin>"


def is_command_line() -> bool:
    """Whether this process is `nas`, and no script of a user."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name == "nas.cli" if spec else Path(_script() or "nas").name == "nas"


def new_mark() -> Path:
    """The name of a file that is not there: a process that imports an unguarded script makes it."""
    return Path(tempfile.gettempdir()) / f"nas-unguarded-{os.getpid()}-{secrets.token_hex(8)}"


@contextmanager
def told(words: Words, mark: Path) -> Iterator[None]:
    """Processes that are started meanwhile know the words and the mark."""
    with variable(VARIABLE, json.dumps({"mark": str(mark), "words": asdict(replace(words, ended=None))})):
        yield


def check_guarded() -> None:
    """
    Raises:
        InputError: this process was started to do a part of the work, and is still importing the script that it came from.
    """
    process = multiprocessing.current_process()
    if not getattr(process, "_inheriting", False):  # as multiprocessing itself tells
        return
    words = Words()
    if text := os.environ.get(VARIABLE):
        found = json.loads(text)
        words = Words(**found["words"])
        Path(found["mark"]).touch()  # for the process that started this one
    # Nobody is there to catch the error. A sentence instead of a traceback, and from one of many that end alike; the process
    # that started them says it too.
    sys.excepthook = lambda _, error, __: say(f"nas: {error}", sys.stderr) if process.name.endswith("-1") else None
    raise words.unguarded()
