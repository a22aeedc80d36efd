"""Zip archives as torch.save writes them, checked by their directories: entries that are stored as they are and stand beside each other.

Python and torch read archives by libraries of their own. What the two could read differently is refused, so that what is checked here is what
torch reads: bytes before the first entry or a comment behind the last, names that differ in their case, entries outside of the first folder.
"""

import os
import struct
import zipfile
from pathlib import Path

from search_spaces.errors import quoted

MOST_DIRECTORY = 8 * 2**20
"""Bytes of an archive's directory: about 80,000 entries."""

MOST_PICKLE = 16 * 2**20
"""Bytes of data.pkl, which has the names and shapes of the tensors, and no numbers of theirs."""

MOST_BESIDE = 4096
"""Bytes of an entry that is neither data.pkl nor the numbers of a tensor, such as the version. torch copies each of them several times."""

_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"


class NotPlain(ValueError):
    """A file is no checkpoint, or holds something else than names, numbers and plain tensors; the message is a reason."""


def entries_of(path: Path) -> tuple[dict[str, int], bytes]:
    """The sizes of all entries by their names in the folder that everything in an archive is in, and the content of data.pkl.

    Raises:
        NotPlain: its entries are not stored as they are.
        ValueError: it is no such archive; the message is a reason.
        OSError: it cannot be read.
    """
    size = os.path.getsize(path)
    _check_directory(path, size)
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            folder = infos[0].filename.partition("/")[0] + "/" if infos else ""
            found = {info.filename.removeprefix(folder): info.file_size for info in infos}
            for info in infos:
                if (
                    info.compress_type != zipfile.ZIP_STORED
                    or info.file_size != info.compress_size
                    or info.flag_bits & 1
                ):
                    raise NotPlain("it is compressed or encrypted, as torch.save writes no file")
                if not info.filename.startswith(folder) or info.orig_filename != info.filename:
                    raise ValueError("it has entries outside of its folder")
            if len({name.lower() for name in found}) < len(infos):
                raise ValueError("it has two entries of one name")
            if min((info.header_offset for info in infos), default=1):
                raise ValueError("it does not begin with its first entry")
            if sum(found.values()) > size:
                raise ValueError(f"its entries have {sum(found.values()):,} bytes, and it has {size:,}")
            if "data.pkl" not in found:
                raise ValueError("it has no data.pkl")
            if found["data.pkl"] > MOST_PICKLE:
                raise ValueError(f"its data.pkl has {found['data.pkl']:,} bytes, and at most {MOST_PICKLE:,} are read")
            for name, length in found.items():
                if length > MOST_BESIDE and name != "data.pkl" and not name.startswith("data/"):
                    raise ValueError(
                        f"its entry {quoted(name)} has {length:,} bytes, and at most {MOST_BESIDE:,} are read"
                    )
            return found, archive.read(f"{folder}data.pkl")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error) as error:
        raise ValueError(f"it is no whole zip archive: {error}") from None


def _check_directory(path: Path, size: int) -> None:
    """
    Raises:
        ValueError: the directory is larger than any that is read, or does not stand at the end of the file.
    """
    with open(path, "rb") as file:
        file.seek(max(0, size - 42))
        end = file.read(42)
        if end[-22:-18] != _END or end[-2:] != b"\0\0":
            raise ValueError("it does not end with the directory of a zip archive")
        length = struct.unpack("<I", end[-10:-6])[0]
        if end[:4] == _LOCATOR64:
            file.seek(min(struct.unpack("<Q", end[8:16])[0], size))
            record = file.read(56)
            if len(record) < 56 or record[:4] != _END64:
                raise ValueError("its directory is damaged")
            length = max(length, struct.unpack("<Q", record[40:48])[0])
    if length > MOST_DIRECTORY:
        raise ValueError(f"its directory has {length:,} bytes, and at most {MOST_DIRECTORY:,} are read")
