"""Real commands on a run folder with links where they write: each refuses them, and the world outside the folder stays as it is."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import SEARCH, Commands, contents

After = Callable[[str], Path]

MORE = ("search", "run=run", "search=small", "search.evaluations=6")
NETWORK = f"{SEARCH}/networks/*"
"""The folder of a network that is on the Pareto front, whichever it is."""

COST = ("cost", f"run/{NETWORK}", "out=run/given/table.csv")
EXPORT = ("export", f"run/{NETWORK}", "format=onnx")
PROFILE = ("profile", "space=tiny.toml", "out=run/given/profile.json", "runtime=onnx", "noisy=true")
RETRAIN = ("retrain", "run=run", "seeds=2")
SCALARS = (*MORE, "tensorboard=true")

FAST = [("study.db", MORE), ("work", MORE), ("report.html", ("report", "run=run")), ("given/table.csv", COST)]
SLOW = [
    ("work/lock", MORE), ("study.db-journal", MORE), ("study.db-wal", MORE), ("searches", MORE), (SEARCH, MORE),
    (f"{SEARCH}/evaluations.jsonl", MORE), (f"{SEARCH}/search.json", MORE),
    ("tensorboard", SCALARS), ("tensorboard/search", SCALARS), ("tensorboard/search/small/nsga2", SCALARS),
    (f"{SEARCH}/networks", ("extract", "run=run")), (NETWORK, ("extract", "run=run")),
    *((f"{NETWORK}/{name}", ("extract", "run=run")) for name in ("model.safetensors", "weights.safetensors", "arch.json", "card.json")),
    ("given/front.csv", ("report", "run=run", "out=run/given")), ("front.png", ("report", "run=run")),
    ("given/NETWORK", ("extract", "run=run", "out=run/given")),
    ("given/NETWORK/model.safetensors", ("extract", "run=run", "out=run/given")),
    (f"{SEARCH}/retrained.jsonl", RETRAIN), ("work/retrain", RETRAIN), ("work/retrain/small", RETRAIN),
    (f"{NETWORK}/NETWORK.onnx", EXPORT), (f"{NETWORK}/NETWORK.onnx.json", EXPORT),
    ("given/profile.json.prepared", PROFILE), ("given/profile.json.partial", PROFILE),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"), [*FAST, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]
)  # fmt: skip
def test_links_in_a_run_are_refused(
    nas: Commands, after: After, tmp_path: Path, name: str, words: tuple[str, ...]
) -> None:
    """To a file or folder, as what stood there was; to both where nothing did."""
    place = after("report")
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "precious").write_text("years of work")
    (outside / "folder" / ".left.99999999.tmp").write_text("half")
    [network] = {path.parent for path in sorted((place / "run").glob(f"{NETWORK}/card.json"))[:1]}
    name = name.replace(NETWORK, str(network.relative_to(place / "run"))).replace("NETWORK", network.name)
    link, typed = (
        place / "run" / name,
        [word.replace(f"run/{NETWORK}", str(network.relative_to(place))) for word in words],
    )
    targets = ["folder"] if link.is_dir() else ["precious"] if link.exists() else ["precious", "folder"]
    if link.is_dir():
        shutil.rmtree(link)
    link.parent.mkdir(parents=True, exist_ok=True)
    for target in targets:
        link.unlink(missing_ok=True)
        link.symlink_to(outside / target)
        before = contents(outside)
        nas(*typed, cwd=place).refused(link.name)
        assert contents(outside) == before
        assert link.is_symlink()
        assert not list((place / "run").rglob(".*.tmp"))


def test_a_report_that_cannot_be_written_leaves_the_last(nas: Commands, after: After) -> None:
    """All files of it, whichever the fault is in, and nothing half-written."""
    place = after("report")
    (place / "run" / "front.png").unlink()
    (place / "run" / "front.png").mkdir()
    for name in ("front.csv", "trials.csv", "report.html"):
        (place / "run" / name).write_text("the last")
    before = contents(place)
    nas("report", "run=run", cwd=place).refused("front.png cannot be written")
    assert contents(place) == before


def test_the_folder_that_is_typed_may_be_a_link(nas: Commands, after: After) -> None:
    place = after("report")
    (place / "mine").symlink_to("run")
    (place / "elsewhere").mkdir()
    (place / "out").symlink_to("elsewhere")
    nas("report", "run=mine", "out=out", cwd=place).ok()
    assert (place / "elsewhere" / "report.html").is_file()


FAULTY = [
    ("train", "data=digits", "data.resolution=8", "space=tiny.toml", "data.root=nowhere"),
    ("train", "data=digits", "data.resolution=8", "space=tiny.toml", "train.batch_size=99999"),
    ("demo", "search.samplers=nobody"),
    ("ablate", "a=transxnet_tiny", "data=folder", "data.root=nowhere"),
    ("report", "out=new/report"),
    ("cost", "nowhere", "out=new/table.csv"),
]


@pytest.mark.parametrize("words", FAULTY, ids=" ".join)
def test_a_command_that_fails_at_its_arguments_makes_no_folder(
    nas: Commands, place: Path, words: tuple[str, ...]
) -> None:
    before = contents(place)
    own = [] if words[0] == "cost" else ["run=new/run"]
    nas(*words, *own, cwd=place).refused()
    assert contents(place) == before
