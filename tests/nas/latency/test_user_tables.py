"""Tables that users have measured: single units in place of a profile, and whole networks that every other is learned from."""

import csv
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas.latency.learned_costs import add_learned, units_of
from nas.latency.unit_tables import read_unit_table, write_unit_list
from nas.records import SAMPLER
from nas.runs.searches import read_search
from nas.runs.store import RunStore
from search_spaces.architecture import Architecture
from search_spaces.costs import cost_named, cost_names, temporary_costs
from search_spaces.costs.pieces import unit_cost
from search_spaces.errors import InputError
from search_spaces.named import load_space
from search_spaces.registry import complete
from search_spaces.space import SearchSpace
from search_spaces.space_units import space_units
from search_spaces.units import Unit
from tests.command_line import Commands

After = Callable[[str], Path]


@pytest.fixture(autouse=True)
def scoped() -> Iterator[None]:
    with temporary_costs():
        yield


def digits() -> SearchSpace:
    return load_space("digits").bind(1, 10, 16)


def unit_ms(unit: Unit) -> float:
    return 0.01 + 1e-6 * unit_cost(unit).macs


def network_ms(arch: Architecture) -> float:
    return 0.2 + sum(n * unit_ms(unit) for unit, n in units_of(arch).items())


def members(space: SearchSpace, count: int) -> list[Architecture]:
    drawn = (complete(space.sample(random.Random(seed))) for seed in range(4 * count))
    return list({arch.digest: arch for arch in drawn}.values())[:count]


def write(path: Path, header: list[str], rows: list[list[object]]) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def networks_table(path: Path, archs: list[Architecture]) -> str:
    rows: list[list[object]] = [[arch.digest, network_ms(arch), arch.to_json()] for arch in archs]
    return write(path, ["digest", "latency_ms@phone", "architecture"], rows)


def test_the_list_of_units_filled_in_is_a_device(tmp_path: Path) -> None:
    space, path = digits(), tmp_path / "phone.csv"
    count = write_unit_list(space, path, "pi5")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert count == len(rows) == len(space_units(space))
    assert [Unit.from_dict(json.loads(row["unit"])) for row in rows] == space_units(space)
    for row in rows:
        row["latency_ms@pi5"] = str(unit_ms(Unit.from_dict(json.loads(row["unit"]))))
    filled = write(path, list(rows[0]), [list(row.values()) for row in rows])
    [device] = read_unit_table(filled)
    assert device.name == "latency_ms@pi5"
    arch = members(space, 1)[0]
    assert device.predict(arch) == pytest.approx(network_ms(arch) - 0.2)
    with pytest.raises(InputError, match="cannot be written"):
        write_unit_list(space, path)


def test_whole_networks_in_the_table_correct_the_sum(tmp_path: Path) -> None:
    space = digits()
    rows: list[list[object]] = [[json.dumps(unit.to_dict()), "", unit_ms(unit)] for unit in space_units(space)]
    archs = members(space, 20)
    rows += [["", arch.to_json(), network_ms(arch)] for arch in archs[:15]]
    path = write(tmp_path / "my-phone.csv", ["unit", "architecture", "latency_ms"], rows)
    [device] = read_unit_table(path)
    assert device.name == "latency_ms@my-phone"
    for arch in archs[15:]:
        assert device.predict(arch) == pytest.approx(network_ms(arch), rel=0.01)


def test_several_devices_and_repeated_rows(tmp_path: Path) -> None:
    unit = json.dumps(space_units(digits())[0].to_dict())
    rows: list[list[object]] = [[unit, 1.0, ""], [unit, 3.0, 8.0], [unit, 2.0, ""]]
    one, two = read_unit_table(write(tmp_path / "t.csv", ["unit", "latency_ms@a", "LATENCY_MS@B"], rows))
    assert [(found.device, list(found.times.measured.values())) for found in (one, two)] == [("a", [2.0]), ("b", [8.0])]


def test_networks_teach_the_others(tmp_path: Path) -> None:
    archs = members(digits(), 60)
    [cost] = add_learned(networks_table(tmp_path / "t.csv", archs[:40]))
    assert cost_named("latency_ms@phone") is cost
    assert "cross-validated MAPE" in cost.about
    assert cost.additive is not None
    for arch in archs[40:]:
        assert cost(arch) == pytest.approx(network_ms(arch), rel=0.05)
        added = [cost.additive.of_unit(unit) for unit in units_of(arch).elements()]
        assert cost.additive.base + sum(ms for ms in added if ms is not None) == pytest.approx(cost(arch))


def test_nothing_is_registered_of_a_table_that_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="9 networks with latency_ms@phone and an architecture"):
        add_learned(networks_table(tmp_path / "t.csv", members(digits(), 9)))
    assert "latency_ms@phone" not in cost_names()


# The real command


def test_a_search_by_a_learned_cost(nas: Commands, after: After) -> None:
    """Every network has the cost, those that were not measured too, and its error is printed and recorded."""
    place = after("train")
    store = RunStore(place / "run")
    space = read_space_of(store)
    archs = members(space, 30)
    networks_table(place / "phone.csv", archs)
    middle = sorted(map(network_ms, archs))[15]
    command = (
        "search",
        "run=run",
        "name=phone",
        "learned=phone.csv",
        "objectives=top1,latency_ms@phone",
        "evaluations=4",
    )
    printed = nas(*command, f"budget=latency_ms@phone={middle:.4f}", cwd=place).ok().out
    assert "latency_ms@phone: learned from 30 networks of phone.csv by " in printed
    search = read_search(store, "phone")
    found = search.evaluations()
    for one in found:
        assert one.costs["latency_ms@phone"] == pytest.approx(network_ms(one.architecture), rel=0.1)
    assert all(one.costs["latency_ms@phone"] <= middle for one in found if one.origin.kind == SAMPLER)
    assert "cross-validated MAPE" in (store.path(search.folder) / "search.json").read_text()


def read_space_of(store: RunStore) -> SearchSpace:
    space = load_space(store.path("space.toml"))
    return space.bind(1, 10, 8)


def test_the_command_lists_units_and_takes_their_times(nas: Commands, after: After) -> None:
    place = after("train")
    sizes = ("channels=1", "classes=10", "resolution=8")
    printed = nas("profile", "space=tiny.toml", "list=list.csv", "name=pi5", *sizes, cwd=place).ok().out
    with (place / "list.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert f"{len(rows)} units" in printed
    for row in rows:
        row["latency_ms@pi5"] = str(unit_ms(Unit.from_dict(json.loads(row["unit"]))))
    write(place / "pi5.csv", list(rows[0]), [list(row.values()) for row in rows])
    search = ("search", "run=run", "budget=latency_ms@pi5=1", "evaluations=2")
    nas(*search, "name=all", "profiles=pi5.csv", cwd=place).ok()
    assert all("latency_ms@pi5" in one.costs for one in read_search(RunStore(place / "run"), "all").evaluations())
    write(place / "some.csv", list(rows[0]), [list(row.values()) for row in rows[:-5]])
    nas(*search, "name=some", "profiles=some.csv", cwd=place).refused("is not known for 5 of the", "search.fill=true")
    printed = nas(*search, "name=filled", "profiles=some.csv", "fill=true", cwd=place).ok().out
    assert "units that were not measured by " in printed
    nas("profile", "space=tiny.toml", "list=list.csv", *sizes, cwd=place).refused("list.csv cannot be written")


def test_bad_tables_are_refused(nas: Commands, after: After) -> None:
    place = after("train")
    unit = json.dumps(space_units(digits())[0].to_dict())
    arch = members(digits(), 1)[0]
    profiles = [
        (["unit"], [[unit]], "no column has times"),
        (["name", "latency_ms"], [["a", 1]], "no column is called unit"),
        (["unit", "latency_ms@Pi 5"], [[unit, 1]], "'latency_ms@Pi 5'"),
        (["unit", "latency_ms", "latency_ms"], [[unit, 1, 2]], "'latency_ms'"),
        (["unit", "latency_ms"], [[unit, ""]], "no time of a unit in column latency_ms"),
        (["unit", "latency_ms"], [[unit, "0"]], "line 2: latency_ms is '0'"),
        (["unit", "latency_ms"], [[unit, "fast"]], "line 2: latency_ms is 'fast'"),
        (["unit", "latency_ms"], [[unit, "3", "5"]], "more cells than columns"),
        (["unit", "latency_ms"], [["mlp", 1]], "line 2: the unit is no JSON"),
        (["unit", "latency_ms"], [["{}", 1]], "line 2: a unit is described by {}"),
        (["unit", "latency_ms"], [[json.dumps(json.loads(unit) | {"kind": "tail"}), 1]], "a unit is described by"),
    ]
    for header, rows, says in profiles:
        write(place / "bad.csv", header, rows)
        nas("search", "run=run", "profiles=bad.csv", "budget=latency_ms@bad=3", cwd=place).refused("bad.csv", says)
    learned = [
        (["digest", "latency_ms"], [[arch.digest, 1]], "0 networks with latency_ms and an architecture"),
        (["digest", "architecture"], [[arch.digest, arch.to_json()]], "no column is a cost"),
        (["latency_ms", "architecture"], [[1, arch.to_json()]], "no column is called digest"),
        (["digest", "macs"], [[arch.digest, 1]], "built in"),
    ]
    for header, rows, says in learned:
        write(place / "bad.csv", header, rows)
        nas("search", "run=run", "learned=bad.csv", "budget=latency_ms=3", cwd=place).refused("bad.csv", says)
    same = members(digits(), 12)
    write(place / "bad.csv", ["digest", "latency_ms", "architecture"], [[a.digest, 2, a.to_json()] for a in same])
    command = ("search", "run=run", "learned=bad.csv", "budget=latency_ms=3")
    nas(*command, cwd=place).refused("bad.csv, column latency_ms: all 12 measured networks take 2.0 ms")
    nas(*command, "measured=bad.csv", cwd=place).refused("bad.csv, line 1: cost 'latency_ms' is already a column of")
    nas("search", "run=run", "learned=no.csv", cwd=place).refused("no.csv cannot be read")
    nas("search", "run=run", "profiles=no.csv", cwd=place).refused("no.csv cannot be read")
    assert not list((place / "run" / "searches").glob("*"))
