"""Lines of records: every flipped bit and every cut is found, and costs no record that is not hit itself."""

import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from nas.runs.disk import DamagedLine
from nas.runs.line_files import LONGEST_LINE
from nas.runs.lines import LINE, is_sealed, line_of, record_of, whole_parts
from nas.runs.store import RunStore
from search_spaces.errors import InputError

RECORDS: list[dict[str, Any]] = [{"n": n, "of": {"name": "\u00fc" * n, "values": [0.1 * n, None]}} for n in range(3)]
LINES = [line_of(record) for record in RECORDS]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


def test_a_line_is_json_and_has_its_checksum() -> None:
    for record, line in zip(RECORDS, LINES, strict=True):
        assert json.loads(line)["n"] == record["n"]
        assert list(json.loads(line))[-1] == "crc"
        assert is_sealed(line[:-1])
        assert record_of(line[:-1]) == record
    for record in ({"n": float("nan")}, {"crc": "00000000"}, {}):
        with pytest.raises(ValueError):  # noqa: PT011 - of json, or of our own
            line_of(record)


def test_lines_of_earlier_versions_are_read(store: RunStore) -> None:
    old = [json.dumps(record).encode() + b"\n" for record in RECORDS]
    store.write_bytes("a.jsonl", old[0] + old[1])
    store.append("a.jsonl", RECORDS[2])
    assert store.records("a.jsonl") == RECORDS
    assert store.set_aside("a.jsonl") == []
    store.write_bytes("b.jsonl", LINES[0] + old[1] + LINES[2])  # an earlier version has resumed what this one began
    assert store.records("b.jsonl") == RECORDS
    assert store.set_aside("b.jsonl") == []
    store.write_bytes("b.jsonl", LINES[0] + b'{"n":1}\n')  # no version has written that
    assert store.set_aside("b.jsonl") == [2]
    for end in range(1, len(old[1]) - 1):  # what a kill leaves of such a line is none, whatever lies behind it
        for torn in (old[1][:end] + b"\n", old[1][:end] + LINES[2]):
            store.write_bytes("b.jsonl", LINES[0] + torn)
            with pytest.raises(DamagedLine, match=r"line 2 of .*b\.jsonl is damaged"):
                store.records("b.jsonl")


def test_lines_that_are_not_alike(store: RunStore) -> None:
    for record in (RECORDS[0], {"other": 1}):
        store.append("a.jsonl", record)
    with pytest.raises(InputError, match=r"line 2 of .* lacks"):
        store.records("a.jsonl")
    assert store.records("a.jsonl", alike=False) == [RECORDS[0], {"other": 1}]


def test_other_line_ends_are_read(store: RunStore) -> None:
    store.write_bytes("a.jsonl", b"".join(LINES).replace(b"\n", b"\r\n"))
    assert store.records("a.jsonl") == RECORDS


def test_every_flipped_bit_is_found(store: RunStore) -> None:
    """Wherever it is, the records of the other lines are kept; the bytes of the damaged line are kept too."""
    whole = b"".join(LINES)
    starts = [sum(map(len, LINES[:n])) for n in range(3)]
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        store.write_bytes("a.jsonl", bytes(flipped))
        hit = max(n for n in range(3) if starts[n] <= place)
        at_end = place == starts[hit] + len(LINES[hit]) - 1
        if at_end and hit == 2:  # a torn last line
            assert store.records("a.jsonl") == RECORDS[:2]
            continue
        with pytest.raises(DamagedLine, match=f"line {hit + 1} of"):
            store.records("a.jsonl")
        if place % 4 and not at_end:
            continue
        assert store.set_aside("a.jsonl")[0] == hit + 1
        left = [record for n, record in enumerate(RECORDS) if n != hit or at_end]
        if at_end:
            left = [RECORDS[hit + 1], *RECORDS[:hit], *RECORDS[hit + 2 :]]
        found = store.records("a.jsonl")
        assert sorted(found, key=str) == sorted(left, key=str) or (at_end and found == RECORDS)
        aside = store.path("a.jsonl.damaged")
        assert bytes(flipped[starts[hit] : starts[hit] + 20]) in aside.read_bytes()
        aside.unlink()


def test_every_cut_is_found(store: RunStore) -> None:
    """Of the file: the last line is dropped. Inside the file: what lies behind the cut is kept."""
    whole, rng = b"".join(LINES), random.Random(0)
    for end in range(0, len(whole), 5):
        store.write_bytes("a.jsonl", whole[:end])
        complete = whole[:end].count(b"\n")
        assert store.records("a.jsonl") == RECORDS[:complete]
        for record in RECORDS[complete:]:
            store.append("a.jsonl", record)
        assert store.path("a.jsonl").read_bytes() == whole
    for hit in (0, 1):
        for cut in (*range(1, len(LINES[hit]), 9), len(LINES[hit]) - 1):
            lines = [*LINES[:hit], LINES[hit][:cut], *LINES[hit + 1 :]]
            store.write_bytes("a.jsonl", b"".join(lines))
            assert store.set_aside("a.jsonl") == [hit + 1]
            kept = RECORDS if cut == len(LINES[hit]) - 1 else [r for n, r in enumerate(RECORDS) if n != hit]
            assert store.records("a.jsonl") == kept
            start = rng.randrange(1, len(LINES[hit]))
            assert whole_parts(LINES[hit][start:-1] + b" " + LINES[2][:-1]) == [LINES[2][:-1]]


def test_setting_aside_twice_keeps_one_copy(store: RunStore) -> None:
    """A kill between the two writes leaves the damaged line in both files."""
    damaged = LINES[0].replace(b"0", b"1", 1)
    store.write_bytes("a.jsonl", damaged + LINES[1])
    assert store.set_aside("a.jsonl") == [1]
    store.write_bytes("a.jsonl", damaged + LINES[1])
    assert store.set_aside("a.jsonl") == [1]
    assert store.path("a.jsonl.damaged").read_bytes() == damaged
    assert store.path("a.jsonl").read_bytes() == LINES[1]


def test_another_encoding_is_no_damage(store: RunStore) -> None:
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        content = json.dumps(RECORDS[0]).encode(encoding) + "\n".encode(encoding)
        store.write_bytes("a.jsonl", content)
        for read in (store.records, store.set_aside):
            with pytest.raises(InputError, match="UTF-8"):
                read("a.jsonl")
        assert store.path("a.jsonl").read_bytes() == content


def test_a_line_is_read_when_it_is_asked_for(store: RunStore) -> None:
    store.write_bytes("a.jsonl", b"".join(LINES) + b"no line\n")
    records = store.each_record("a.jsonl")
    assert [next(records) for _ in RECORDS] == RECORDS
    with pytest.raises(DamagedLine, match="line 4"):
        next(records)


def test_the_values_of_a_line_are_counted_before_they_take_memory() -> None:
    line = b'{"a":[' + b"[]," * (LONGEST_LINE // 3 - 9) + b"[]]}"
    tracemalloc.start()
    try:
        assert record_of(line) is None
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert record_of(b'{"a":["' + b"[{," * LINE.values + b'"]}') is not None  # a text may have them


@pytest.mark.parametrize("size", [LONGEST_LINE - 1, LONGEST_LINE + 1])
def test_a_line_may_not_be_longer_than_any_that_is_written(size: int, store: RunStore) -> None:
    store.write_bytes("a.jsonl", b'{"a":"' + b"a" * (size - 9) + b'"}\n')
    if size < LONGEST_LINE:
        assert len(store.records("a.jsonl")) == 1
    else:
        with pytest.raises(InputError, match=r"a line has more than 4,194,304 bytes"):
            store.records("a.jsonl")
