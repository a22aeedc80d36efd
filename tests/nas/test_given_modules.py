"""No run, profile or folder chooses which modules are imported: the user gives them, and is told which words do."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from nas.config import Config
from nas.config.parsing import recorded_config
from nas.plugins import import_plugins
from nas.plugins.given import CLASSES, give, is_given, only_given
from nas.runtimes import make_runtime
from nas.samplers import make_sampler
from search_spaces.errors import InputError
from tests.command_line import ROOT, Commands, cold, contents

STRANGER = 'from pathlib import Path\n\nPath(__file__).with_name("was_imported").touch()\n'


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder with a stranger's module, from which Python could import it."""
    (tmp_path / "stranger.py").write_text(STRANGER)
    return tmp_path


def run_with(place: Path, **config: Any) -> None:
    """A run as far as its configuration is read."""
    (place / "run").mkdir()
    identity = json.loads((ROOT / "results" / "fashion_mnist" / "run.json").read_text())
    for key, value in config.items():
        own = identity["config"]
        own[key] = {**own.get(key, {}), **value} if isinstance(value, dict) else value
    (place / "run" / "run.json").write_text(json.dumps(identity))


NAMED = {
    "plugins": {"plugins": ["stranger"]},
    "data": {"data": {"name": "stranger.Source"}},
    "strategy": {"train": {"strategy": "stranger.Strategy"}},
    "samplers": {"search": {"samplers": ["stranger.Sampler"]}},
}


@pytest.mark.parametrize(
    ("key", "verb"),
    [
        *(("plugins", verb) for verb in ("train", "search", "extract", "retrain")),
        *(("data", verb) for verb in ("train", "search", "extract", "retrain")),
        ("strategy", "train"),
        ("samplers", "search"),
    ],
)
def test_a_module_that_a_run_names_is_not_imported(key: str, verb: str, world: Path, nas: Commands) -> None:
    run_with(world, **NAMED[key])
    before = contents(world)
    given, allowed, instead = nas(verb, "run=run", "seed=0", cwd=world, env={"PYTHONPATH": str(world)}).refused(
        "stranger"
    )
    assert given == (
        "run needs the module stranger, which you did not give: a run only says what it needs, because importing a module runs it"
    )
    assert "hybrid-mixer-nas/plugins.toml" in allowed
    assert instead == f"nas {verb} run=run seed=0 plugins=stranger"
    assert contents(world) == before
    if verb == "search":
        again = nas(*shlex.split(instead)[1:], cwd=world, env={"PYTHONPATH": str(world)})
        assert "did not give" not in again.err
        assert key != "plugins" or (world / "was_imported").exists()


def test_a_report_imports_no_module_of_the_run(world: Path, nas: Commands) -> None:
    run_with(world, plugins=["stranger"], data={"name": "stranger.Source"}, report={"sections": ["stranger.Page"]})
    nas("report", "run=run", cwd=world, env={"PYTHONPATH": str(world)}).refused("run has no search")
    assert not (world / "was_imported").exists()


def test_what_was_typed_stands_in_the_words_to_type(world: Path, nas: Commands) -> None:
    run_with(world, plugins=["stranger", "other.mixers"], data={"name": "stranger.Source"})
    here = {"PYTHONPATH": str(world)}
    _, _, instead = nas("search", "run=run", "plugins=mine", "device=a b", cwd=world, env=here).refused("other.mixers")
    assert instead == "nas search run=run 'device=a b' plugins=mine,stranger,other.mixers"
    _, _, instead = nas("search", "run=run", "plugins=other,stranger", cwd=world, env=here).refused("'other.mixers'")
    assert "PYTHONPATH" in instead  # the package was given, and there is none


def test_the_users_own_file_gives_modules(world: Path, nas: Commands) -> None:
    run_with(world, plugins=["stranger"])
    own = world / "configurations" / "hybrid-mixer-nas" / "plugins.toml"
    own.parent.mkdir(parents=True)
    own.write_text('plugins = ["stranger"]\n')
    env = {"PYTHONPATH": str(world), "XDG_CONFIG_HOME": "configurations"}
    nas("search", "run=run", cwd=world, env=env).refused("did not give")  # relative: of the present folder
    env["XDG_CONFIG_HOME"] = str(world / "configurations")
    assert "did not give" not in nas("search", "run=run", cwd=world, env=env).err
    assert (world / "was_imported").exists()
    own.write_text("plugins = 3\n")
    nas("search", "run=run", cwd=world, env=env).refused("plugins.toml has more than the names of modules")


@pytest.mark.parametrize("name", ["a; rm -rf ~", "$(id)", "a\nb", "..", "", "a" * 201, "-c", "\x1b[2J"])
def test_names_of_modules_are_names(name: str) -> None:
    with pytest.raises(InputError, match="plugins has"):
        Config(plugins=(name,))


def test_no_run_says_who_works_and_where_files_go() -> None:
    config = {"executor": "stranger.Pool", "device": "cuda:9", "report": {"out": "/etc", "sections": ["stranger.Page"]}}
    config |= {
        "extract": {"out": "/etc"},
        "profile": {"out": "/etc/x", "runtime": "stranger.Engine"},
        "digest": "../..",
    }
    assert recorded_config({"config": config}, "run") == recorded_config({"config": {}}, "run")


def test_imports_themselves_are_refused(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a name comes from a file that nobody checked, such as the runtime of a profile."""
    monkeypatch.syspath_prepend(str(world))
    with only_given(lambda: ()):
        for refused in (
            lambda: make_runtime("stranger.Engine"),
            lambda: make_sampler("stranger.Sampler", seed=0, population=2),
            lambda: make_sampler("nas.runs.store.RunStore", seed=0, population=2, options={"folder": "x"}),
            lambda: import_plugins(Config(plugins=("stranger",))),
        ):
            with pytest.raises(InputError, match="importing a module runs it"):
                refused()
        make_sampler("random", seed=0, population=2)
        make_runtime("eager")
    assert not (world / "was_imported").exists()


def test_what_is_typed_is_given() -> None:
    assert is_given("anything")  # a program names its own modules
    with only_given(lambda: ("own",)):
        assert not is_given("typed")
        for key in CLASSES:
            give(key, f"{key.replace('.', '_')}.module.Class")
            assert is_given(f"{key.replace('.', '_')}.module")
            assert not is_given(key.replace(".", "_"))
        give("plugins", ["typed", "other"])
        give("run", "runs.mine")
        assert is_given("typed.inner")
        assert is_given("own.inner")
        assert not is_given("typedmore")
        assert not is_given("runs")
    assert is_given("runs")


def test_modules_of_the_present_folder_are_not_imported(world: Path) -> None:
    (world / "torch.py").write_text(STRANGER)
    (world / "random.py").write_text("")  # what any module of the standard library would import
    result = cold("spaces", "digits", "plugins=stranger", cwd=world)
    result.refused("plugin 'stranger' cannot be imported")
    assert not (world / "was_imported").exists()
