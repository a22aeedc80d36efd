"""The run folder, and the only writer of it.

Whoever writes a run holds its lock. Readers take no lock and write nothing: they work while another process writes the run, and in a
folder that cannot be written.

    run.json             what the run is: configuration, space, data, versions, machine, commit, command
    space.toml           the space as it was searched
    whole_space.toml     the space as it was given, where a budget of training has narrowed it to space.toml
    split.json           which images train, choose and test, with content hashes
    train.jsonl          one line per report of supernet training
    supernet.safetensors the trained shared weights
    searches/NAME/       one folder per search: settings, evaluations, measurements, retrainings and extracted networks (`nas.runs.searches`)
    front.csv, trials.csv, report.html, front.png
    study.db             a copy of all searches for Optuna's own tools, brought up to date while a search runs
    tensorboard/         scalars, where tensorboard=true asks for them (`nas.runs.scalars`)
    older/               the search of a run that an older version made, unread
    work/                checkpoints and clocks: what a resumed run needs and a finished one does not

Everything is written atomically: a temporary file in the same folder, flushed to disk, then renamed. Lines are appended whole and
flushed, and end with a checksum (`nas.runs.lines`). A line cut off by a kill, or not yet whole, is no line for readers, and is dropped when the
file is next opened for writing. A line that is whole and damaged is an error for readers; a command that can make its record again sets
it aside, into NAME.damaged.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nas.records.shapes import Shape
from nas.runs.described import json_of, text_of
from nas.runs.disk import DamagedLine, damaged_file, unreadable, writing
from nas.runs.identity import Identity
from nas.runs.inside import Inside, parts_of
from nas.runs.leftovers import is_temporary, remove_leftovers
from nas.runs.line_files import append_line, read_lines
from nas.runs.lines import whole_parts
from nas.runs.locks import Lock, lock_of
from search_spaces.errors import InputError
from search_spaces.files.plain import RUN, Limits
from search_spaces.textfiles import LONG, SHORT, expanded, read_bytes

FORMAT = 2
"""Version of the folder's layout; a folder of another version is refused."""

OLDER_FOLDER = "older"
"""Gets the search of a run of the older layout."""

OLDER = 1
"""The layout of runs with one search, at the top of the folder. Their supernets are searched as any other."""

_OF_THE_OLDER_SEARCH = (
    "networks", "study.db", "report.html", "front.csv", "trials.csv", "front.png", "retrained.jsonl", "evaluations.jsonl",
)  # fmt: skip

MADE_FIRST = {"split.json", "space.toml", "whole_space.toml", "work"}
"""What a run that was killed while it was made may have without run.json."""

_AS_WRITTEN = "JSON lines as nas wrote them", "a copy of it, or a new folder: run=runs/new"
"""What a file of lines has to be, and what to do when it is not."""


def as_bytes(text: str) -> bytes:
    """Text as it is written. Half of a surrogate pair, which names and JSON may have and UTF-8 has not, is written as Python escapes it."""
    return text.encode(errors="backslashreplace")


class RunStore:
    """A run folder.

    Use `RunStore.create` from the verb that starts a run and `RunStore.open` from those that continue one.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = expanded(folder)
        self._inside = Inside(self.folder)
        self._lock: Lock | None = None

    @classmethod
    def open(cls, folder: str | Path) -> "RunStore":
        """An existing run.

        Raises:
            InputError: no run there, an unreadable one, or one of another version.
        """
        store = cls(folder)
        path = store.folder / "run.json"
        try:
            there = path.exists()
        except OSError as error:
            raise InputError(
                f"{folder} cannot be read ({error.strerror})", "a run that you may read", "run=PATH of such a folder"
            ) from None
        if not there:
            raise InputError(
                f"{folder} holds no run (run.json is missing)",
                "a folder that `nas train` made",
                f"nas train run={folder}",
            )
        identity = store.read_json("run.json")
        if not isinstance(identity, dict) or (
            identity.get("format") in (FORMAT, OLDER)
            and not {"config", "space_digest", "split_digest"} <= identity.keys()
        ):
            raise damaged_file(path, "it does not say what the run is")
        if identity.get("format") not in (FORMAT, OLDER):
            raise InputError(
                f"{folder} was made by another version of nas (layout {identity.get('format')!r})",
                f"layout {FORMAT}", "a new folder: run=runs/new",
            )  # fmt: skip
        store.identity()
        return store

    def identity(self) -> dict[str, Any]:
        """What run.json says that the run is.

        Raises:
            InputError: it is missing, damaged, or says something else than nas writes.
        """
        return self.read_json("run.json", shape=Identity())

    @classmethod
    def create(cls, folder: str | Path) -> "RunStore":
        """A new run's folder, locked; `begin` makes it a run.

        Raises:
            InputError: the folder holds a run, or files that are no run's.
        """
        store = cls(folder)
        store.check_new()
        store.lock()
        store.check_new()  # no other process has made it a run in between
        return store

    def check_new(self) -> None:
        """
        Raises:
            InputError: the folder holds a run, or files that are no run's.
        """
        with writing(self.folder):
            used = self.folder.exists() and (
                not self.folder.is_dir()
                or any(p.name not in MADE_FIRST and not is_temporary(p.name) for p in self.folder.iterdir())
            )
        if used:
            raise InputError(f"{self.folder} is not empty and holds no run", "a new or empty folder", "run=runs/new")

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Writes run.json, last of what a run starts with."""
        self.write_json("run.json", {"format": FORMAT, **identity})

    def renew(self) -> None:
        """Makes a run of the older layout one of this layout, before the first search of this version is written into it. What its own
        search has written goes into a folder of its own, unread.
        """
        identity = self.identity()
        if identity["format"] != FORMAT:
            for name in _OF_THE_OLDER_SEARCH:
                if self.exists(name):
                    self.move(name, f"{OLDER_FOLDER}/{name}")
            self.write_json("run.json", {**identity, "format": FORMAT})

    def path(self, name: str) -> Path:
        """Where `name` lies in the folder, for reading; writing goes through the methods below, or `path_to_write`.

        Raises:
            InputError: the name leads out of the folder.
        """
        return self.folder.joinpath(*parts_of(name))

    def exists(self, name: str) -> bool:
        """
        Raises:
            InputError: nobody can tell, because a folder on the way cannot be read.
        """
        try:
            os.stat(self.path(name))
        except PermissionError as error:
            raise unreadable(self.path(name), error) from None
        except (OSError, ValueError):
            return False
        return True

    def lock(self) -> None:
        """Holds the folder for this process, as long as this store lives, and removes what killed ones left half-written.

        Raises:
            InputError: another process holds it.
        """
        path = self.path("work/lock")
        try:
            with writing(path, but=BlockingIOError):
                self._lock = lock_of(self._inside, "work/lock")
        except BlockingIOError:
            raise InputError(
                f"{self.folder} is in use by another process",
                "one process per run folder",
                "wait for it, or run=runs/new",
            ) from None
        with writing(self.folder):
            remove_leftovers(self._inside)

    # All that is written or removed goes through `Inside`, which follows no links below the folder.

    def path_to_write(self, *names: str) -> Path:
        """Where the first name lies, for what writes by path: SQLite, TensorBoard, and commands that a command runs.

        Args:
            names: that are checked, the first among them.

        Raises:
            InputError: a link stands at one of the names or on the way, or a name leads out of the folder.
        """
        with writing(self.folder / names[0]):
            return self._inside.checked(*names)

    def make_folder(self, name: str) -> Path:
        """
        Raises:
            InputError: a link stands there or on the way, or it cannot be made.
        """
        with writing(self.path(name)):
            return self._inside.make_folder(name)

    def remove(self, name: str) -> None:
        """Removes a file, if it is there; of a link the link itself."""
        with writing(self.path(name)):
            self._inside.remove(name)

    def move(self, name: str, to: str) -> None:
        """Renames what the folder has as `name`.

        Raises:
            InputError: a link stands at one of the names or on the way, or the folder cannot be written.
        """
        with writing(self.path(to)):
            self._inside.move(name, to)

    # Whole files

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Writes a whole file atomically.

        Raises:
            InputError: the disk is full, or a link stands there. The previous file is intact.
        """
        return self.write_together({name: data})[0]

    def write_together(self, files: Mapping[str, bytes]) -> list[Path]:
        """Writes whole files, all of them or none.

        Returns:
            Their paths.

        Raises:
            InputError: the disk is full, or a link stands at one of the names. The previous files are intact.
        """
        paths = [self.path(name) for name in files]
        try:
            self._inside.write(files)
        except OSError as error:
            with writing(Path(error.filename)):
                raise
        return paths

    def write_text(self, name: str, text: str) -> Path:
        return self.write_bytes(name, as_bytes(text))

    def write_json(self, name: str, data: Any) -> Path:
        return self.write_text(name, json.dumps(data, indent=1, allow_nan=False) + "\n")

    def read_text(self, name: str, most: int = SHORT) -> str:
        """See `nas.runs.described.text_of`."""
        return text_of(self.path(name), most)

    def read_json(self, name: str, most: int = SHORT, limits: Limits = RUN, shape: Shape | None = None) -> Any:
        """See `nas.runs.described.json_of`."""
        return json_of(self.path(name), most, limits, shape)

    # Lines

    def append(self, name: str, record: Mapping[str, Any]) -> None:
        """Appends one JSON line with its checksum and flushes it to disk.

        Raises:
            InputError: the disk is full. The lines before are intact.
        """
        append_line(self._inside, name, record)

    def records(self, name: str, alike: bool = True) -> list[dict[str, Any]]:
        """All of what `each_record` gives."""
        return list(self.each_record(name, alike))

    def each_record(self, name: str, alike: bool = True) -> Iterator[dict[str, Any]]:
        """The whole lines of a file, oldest first, without their checksums; none when there is no file. A line is read when it is asked for:
        whoever judges each at once keeps nothing of a file that is wrong.

        Args:
            alike: whether a line with other keys than the first is an error.

        Raises:
            DamagedLine: a whole line is not JSON, has another checksum than its own, or none and other keys than the line before it
                that has one.
            DamagedFile: the file is saved in another encoding, or begins with zeros.
            InputError: a line has other keys than the first, or the file cannot be read.
        """
        path = self.path(name)
        keys = None
        for number, (_, record) in enumerate(read_lines(self.path(name)), 1):
            if record is None:
                raise DamagedLine(f"line {number} of {path} is damaged", *_AS_WRITTEN)
            keys = record.keys() if keys is None else keys
            if alike and record.keys() != keys:
                key = min(record.keys() ^ keys)
                raise InputError(
                    f"line {number} of {path} {'has' if key in record else 'lacks'} {key!r}, unlike line 1",
                    *_AS_WRITTEN,
                )
            yield record

    def set_aside(self, name: str) -> list[int]:
        """Moves the damaged lines of a file into NAME.damaged, and leaves the others as they are. A line that was cut off and has a
        whole one behind it loses the cut-off part only.

        Returns:
            The numbers of the lines that were damaged, from 1; empty for a sound file, which is not written.

        Raises:
            InputError: the disk is full, or a file cannot be read or written. No line is lost.
        """
        path = self.path(name)
        damaged = {number: line for number, (line, record) in enumerate(read_lines(path), 1) if record is None}
        if damaged:
            aside = f"{name}.damaged"
            with writing(self.path(aside)):
                before = read_bytes(self.path_to_write(aside), LONG) if self.exists(aside) else b""
            new = b"".join(line + b"\n" for line in damaged.values() if line + b"\n" not in before)
            self.write_bytes(aside, before + new)
            kept = [
                part for line, record in read_lines(path) for part in (whole_parts(line) if record is None else [line])
            ]
            self.write_bytes(name, b"".join(part + b"\n" for part in kept))
        return list(damaged)
