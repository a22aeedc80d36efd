"""Files of costs are bound to what used them: a search or a training does not resume with other contents."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.config.search import SearchConfig
from nas.runs.inputs import check_unchanged, digests_of
from search_spaces.costs.profile_files import model_of
from search_spaces.errors import InputError
from search_spaces.named import check
from search_spaces.space import SearchSpace
from search_spaces.space_units import space_units
from tests.command_line import SPACE, Commands, prepare

TINY = check(SearchSpace.from_toml(SPACE)).bind(1, 10, 8)
QUICK = ("evaluations=2", "samplers=random", "calibration_images=64")


def profile(ms: float = 0.1, device: str = "pi5") -> dict[str, Any]:
    """A profile of a device that is elsewhere, on which every unit of the space takes equally long."""
    return {
        "format": 1, "device": device, "space": {"name": "tiny", "in_channels": 1, "num_classes": 10, "resolution": 8}, "setting": {"runtime": "eager"}, "fingerprint": {"processor": "Abacus 3"},
        "noisy": False, "model": {"form": "sum of units", "base": 0.1, "weights": {"ms": 1.0}}, "errors": {}, "networks": [],
        "units": [{"ms": ms, "error": 0.01, "rounds": 15, **unit.to_dict()} for unit in space_units(TINY)],
    }  # fmt: skip


def limit() -> float:
    """Milliseconds that some members of the space take, and others do not."""
    model = model_of(profile(), "pi5.json")
    times = sorted(model.predict(TINY.sample(random.Random(seed))) or 0.0 for seed in range(20))
    assert times[0] < times[-1]
    return (times[0] + times[-1]) / 2


def test_a_search_does_not_resume_with_another_table(nas: Commands, after: Callable[[str], Path]) -> None:
    place = after("train")
    digest = TINY.sample(random.Random(0)).digest
    (place / "phone.csv").write_text(f"digest,phone_ms\n{digest},3.5\n")
    asked = ("search", "run=run", "measured=phone.csv", *QUICK, "name=bound")
    nas(*asked, cwd=place).ok()
    about = place / "run/searches/bound/search.json"
    (file, digest_of_file), *_ = json.loads(about.read_text())["files"].items()
    assert Path(file) == (place / "phone.csv").resolve()
    assert len(digest_of_file) == 12
    nas(*asked, "evaluations=3", cwd=place).ok()
    (place / "phone.csv").write_text(f"digest,phone_ms\n{digest},4.5\n")
    before = about.read_bytes()
    given, _, instead = nas(*asked, "evaluations=4", cwd=place).refused(
        "search bound of run", "phone.csv", digest_of_file
    )
    assert "used other contents" in given
    assert "close=true" in instead
    assert "search.name=another" in instead
    assert about.read_bytes() == before
    nas(*asked, "evaluations=4", "name=another", cwd=place).ok()
    nas(*asked, "evaluations=4", "close=true", cwd=place).ok()
    # A search of a version that kept no digests resumes as it did.
    older = json.loads(about.read_text())
    del older["files"]
    about.write_text(json.dumps(older))
    nas(*asked, "evaluations=4", cwd=place).ok()


def test_a_training_does_not_resume_with_another_profile(nas: Commands, tmp_path: Path) -> None:
    place = prepare(tmp_path / "place")
    (place / "pi5.json").write_text(json.dumps(profile()))
    asked = (
        "train",
        "config.toml",
        "search.profiles=pi5.json",
        f"budget=latency_ms@pi5={limit():.6g}",
        "search.noisy=true",
    )
    nas(*asked, cwd=place).ok()
    identity = json.loads((place / "run/run.json").read_text())
    assert list(identity["files"]) == [str((place / "pi5.json").resolve())]
    assert "noisy" not in identity["config"]["search"]  # which is of one command
    # The file is found from wherever later commands are typed.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run = str(place / "run")
    again = ("train", f"run={run}", f"space={place / 'tiny.toml'}")
    nas(*again, cwd=elsewhere).ok()
    nas("search", f"run={run}", *QUICK, cwd=elsewhere).ok()
    (place / "run/supernet.safetensors").rename(place / "supernet.safetensors")
    (place / "pi5.json").write_text(json.dumps(profile(0.05)))
    for where in (place, elsewhere):
        _, _, instead = nas(*again, cwd=where).refused("used other contents", "pi5.json")
        assert "run=runs/new train.budget=latency_ms@pi5=" in instead
    (place / "supernet.safetensors").rename(place / "run/supernet.safetensors")
    nas("search", f"run={run}", *QUICK, "name=other", cwd=place).refused("the training of", "used other contents")
    (place / "pi5.json").write_text(json.dumps(profile()))
    nas("search", f"run={run}", *QUICK, "name=other", cwd=place).ok()


def test_a_budget_of_counted_costs_binds_no_file(nas: Commands, place: Path) -> None:
    (place / "pi5.json").write_text(json.dumps(profile()))
    nas("train", "config.toml", "search.profiles=pi5.json", "budget=1G", cwd=place).ok()
    assert "files" not in json.loads((place / "run/run.json").read_text())


def test_the_space_of_a_start_that_was_killed_is_not_that_of_the_run(nas: Commands, place: Path) -> None:
    (place / "run").mkdir()
    (place / "run/whole_space.toml").write_text(SPACE.replace("width = [16, 32]", "width = [16]"))
    nas("train", "config.toml", cwd=place).ok()
    shutil.copy(place / "tiny.toml", place / "same.toml")
    nas("train", "config.toml", "space=same.toml", cwd=place).ok()


def test_what_is_compared(tmp_path: Path) -> None:
    one, two = tmp_path / "one.csv", tmp_path / "two.json"
    one.write_text("1")
    two.write_text("2")
    settings = SearchConfig(measured=(str(one),), profiles=(str(two),))
    before = digests_of(settings)
    assert list(before) == [str(one), str(two)]
    check_unchanged(before, digests_of(settings), "search a", "another")
    one.write_text("3")
    with pytest.raises(InputError, match=r"one\.csv") as error:
        check_unchanged(before, digests_of(settings), "search a", "another")
    assert "two.json" not in error.value.given
    for older in (None, {}, {str(two): before[str(two)]}):
        check_unchanged(older, digests_of(settings), "search a", "another")
    two.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        digests_of(settings)
