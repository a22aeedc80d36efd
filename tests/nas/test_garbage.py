"""Garbage is not collected while packages are imported."""

import gc
import subprocess
import sys

import pytest

from nas.machine.garbage import importing


def test_collection_stops_inside_and_goes_on_afterwards() -> None:
    frozen = gc.get_freeze_count()
    with importing():
        assert not gc.isenabled()
        with importing():
            pass
        assert not gc.isenabled(), "the inner one turned it on"
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen, "whoever imports this package has garbage of their own"


def test_collection_goes_on_after_an_import_that_fails() -> None:
    with pytest.raises(ImportError), importing():
        raise ImportError("no such package")
    assert gc.isenabled()


def test_a_process_of_one_command_freezes_what_it_imports() -> None:
    code = (
        "import atexit, gc, weakref\n"
        "from nas.machine.garbage import importing, runs_one_command\n"
        "atexit.register(lambda: print(gc.get_freeze_count()))\n"  # runs last
        "runs_one_command()\n"
        "with importing(): import pickletools\n"
        "print(gc.get_freeze_count())\n"
        "class Own: pass\n"
        "own = Own(); own.own = own; left = weakref.ref(own)\n"
        "with importing(): import pickletools\n"
        "del own; gc.collect(); assert left() is None, 'frozen by an import of nothing'\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert int(found[0]) > 1000
    assert int(found[1]) == 0, "left to the interpreter's last collection"
