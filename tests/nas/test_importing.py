"""Garbage is not looked for while packages are imported."""

import gc
import subprocess
import sys

import pytest

from nas.machine.importing import importing


def test_collection_stops_inside_and_goes_on_behind() -> None:
    frozen = gc.get_freeze_count()
    with importing():
        assert not gc.isenabled()
        with importing():
            pass
        assert not gc.isenabled(), "the inner one turned it on"
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen, "whoever imports this package has garbage of their own"


def test_collection_goes_on_behind_an_import_that_fails() -> None:
    with pytest.raises(ImportError), importing():
        raise ImportError("no such package")
    assert gc.isenabled()


def test_a_process_of_one_command_never_looks_through_what_it_imported() -> None:
    code = (
        "import atexit, gc\n"
        "from nas.machine.importing import everything_stays, importing\n"
        "atexit.register(lambda: print(gc.get_freeze_count()))\n"  # runs last
        "everything_stays()\n"
        "with importing(): import json\n"
        "print(gc.get_freeze_count())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert int(found[0]) > 1000
    assert int(found[1]) == 0, "left to the interpreter's last collection"
