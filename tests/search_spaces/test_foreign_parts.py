"""Parts of somebody else's, in a file outside the checkout: what they need to be costed, trained and tested is said by them."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from search_spaces import registry, testing
from search_spaces.costs import pieces
from search_spaces.network import decayed
from search_spaces.testing import Case, cases, elastic_space, fvcore_macs
from supernet.supernet import Supernet
from tests.command_line import environment
from tests.foreign_parts import PARTS

LAWS = """\
import my_parts
import pytest

from search_spaces.testing import CostLaws, PartLaws, cases, elastic_space, name_of
from supernet.testing import SupernetLaws

NAMES = ("einsum_window", "running_sum")


@pytest.mark.parametrize("case", [case for name in NAMES for case in cases("mixer", name)], ids=str)
class TestParts(PartLaws):
    pass


@pytest.mark.parametrize("space", [elastic_space("mixer", name) for name in NAMES], ids=name_of)
class TestShared(CostLaws, SupernetLaws):
    pass
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "my_parts.py").write_text(PARTS)
    return tmp_path


@pytest.fixture
def parts(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The parts, known while a test runs."""
    monkeypatch.syspath_prepend(place)
    import my_parts  # type: ignore[import-not-found]

    yield
    for name in ("einsum_window", "running_sum"):
        registry._PARTS["mixer"].pop(name)
    registry.options.cache_clear()
    registry.complete_part.cache_clear()
    elastic_space.cache_clear()
    del sys.modules[my_parts.__name__]


def found(case: Case) -> int:
    return pieces.part_cost(case.kind, case.part, case.dims, 7, 5).macs


def test_what_torch_counts_is_what_fvcore_counts(parts: None) -> None:
    for case in cases("mixer", "einsum_window"):
        assert found(case) == fvcore_macs(case.make(), *case.inputs(7, 5)) > 4 * 16 * 16 * 7 * 5


def test_a_part_costs_its_own_operators(parts: None) -> None:
    (case,) = cases("mixer", "running_sum")
    assert found(case) == fvcore_macs(case.make(), *case.inputs(7, 5)) + 16 * 7 * 5


def test_what_a_part_leaves_out_of_weight_decay(parts: None) -> None:
    """In a network of its own and in a supernet."""
    space = elastic_space("mixer", "running_sum")
    supernet = Supernet(space)
    for module in (supernet, supernet.extract(space.decode(tuple(len(gene.choices) - 1 for gene in space.genes)))):
        names = {name for name, _ in module.named_parameters() if name.endswith("table")}
        assert names
        assert not names & decayed(module)
        assert {name for name, p in module.named_parameters() if p.dim() > 1} - names == decayed(module)


@pytest.mark.slow
def test_they_keep_all_laws(place: Path) -> None:
    (place / "test_laws.py").write_text(LAWS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_laws.py"]
    env = environment(PYTHONPATH=str(place))
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


def test_what_the_laws_need_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(testing.__file__).read_text()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "hypothesis" else object())
    with pytest.raises(ImportError, match=r'need hypothesis: pip install "hybrid-mixer-nas\[testing\]"'):
        exec(compile(source, "testing", "exec"), {"__name__": "testing"})
