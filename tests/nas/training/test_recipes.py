"""Named recipes: every installed one can be used, its figures are those of the papers, and what does not fit is refused."""

import json
from pathlib import Path

import pytest

from nas.config import RetrainConfig
from nas.config.effective import configure
from nas.config.parsing import config_from, load_config
from nas.config.recipes import KEYS, named_recipe, recipe_names, retrain_config
from nas.config.timm_recipe import TimmRecipe
from search_spaces.errors import InputError
from search_spaces.papers import paper_networks
from tests.command_line import HEAVY, Commands, cold


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_can_be_used(name: str) -> None:
    recipe = named_recipe(name)
    assert recipe.about
    assert recipe.source
    assert 4 <= recipe.resolution[0] < recipe.resolution[1] <= 4096
    section = retrain_config(name, seeds=3)
    assert (section.recipe, section.seeds) == (name, 3)
    assert {key: getattr(section, key) for key in KEYS} == recipe.keys()
    typed = load_config(None, [f"retrain.recipe={name}", "retrain.seeds=3"]).retrain
    assert typed == section
    assert config_from(load_config(None, [f"retrain.recipe={name}"]).to_dict()).retrain.recipe == name


PRINTED = {
    "emsnet": {"epochs": 300, "lr": 1e-3, "batch_size": 512, "weight_decay": 0.03, "warmup_epochs": 5, "ema": 0},
    "mat": {"lr": 1e-3, "min_lr": 1e-6, "batch_size": 4096, "warmup_lr": 1e-7, "mixup": 0.1, "cutmix": 1, "reprob": 0.25, "drop_path": 0.05},
    "partialformer": {"epochs": 300, "lr": 1e-3, "weight_decay": 0.005},
    "hat_net": {"epochs": 300, "lr": 1e-3, "batch_size": 1024, "weight_decay": 0.05},
    "hat_net/ablation": {"epochs": 100, "lr": 5e-4, "batch_size": 512},
    "linglo": {"epochs": 300, "lr": 1e-3, "batch_size": 1024, "warmup_epochs": 5, "aug_repeats": 3},
    "linglo/ablation": {"epochs": 100, "lr": 1e-3, "warmup_epochs": 3},
    "transxnet/tiny": {"lr": 2e-3, "min_lr": 1e-5, "batch_size": 1024, "cooldown_epochs": 10, "drop_path": 0.1, "model_ema_decay": 0.9998},
    "transxnet/small": {"drop_path": 0.2, "model_ema_decay": 0.99985, "mixup": 0.8, "cutmix": 1, "aa": "rand-m9-mstd0.5-inc1"},
    "transxnet/base": {"drop_path": 0.4, "model_ema_decay": 0.99985, "label_smoothing": 0.1},
    "transxnet/finetune": {"epochs": 30},
    "transxnet/ablation": {"epochs": 200},
}  # fmt: skip


@pytest.mark.parametrize("name", PRINTED)
def test_figures_are_those_that_are_printed(name: str) -> None:
    keys = named_recipe(name).keys()
    assert {key: keys[key] for key in PRINTED[name]} == PRINTED[name]


def test_stochastic_depth_is_that_of_the_papers_networks() -> None:
    rates = {network.name: network.drop_path for network in paper_networks()}
    recipes = {"transxnet_tiny": "transxnet", "transxnet_small": "transxnet/small", "transxnet_base": "transxnet/base"}
    recipes |= {"hat_net_small": "hat_net", "hat_net_large": "hat_net/large", "mat_1": "mat"}
    for network, recipe in recipes.items():
        assert named_recipe(recipe).keys()["drop_path"] == rates[network], network


def test_keys_beside_a_recipe_change_it_and_another_recipe_replaces_it() -> None:
    base = load_config(None, ["retrain.recipe=mat", "retrain.epochs=7", "retrain.points=2", "retrain.jobs=3"])
    assert (base.retrain.epochs, base.retrain.weight_decay, base.retrain.mixup) == (7, 0.05, 0.1)
    other = load_config(None, ["recipe=emsnet"], section="retrain", base=base).retrain
    assert (other.epochs, other.weight_decay, other.mixup) == (300, 0.03, 0.8)
    assert (other.points, other.jobs) == (2, 3)  # which are of no recipe
    assert load_config(None, ["lr=1e-4"], section="retrain", base=base).retrain.mixup == 0.1
    assert load_config(None, ["recipe="], section="retrain", base=base).retrain.mixup == 0


def test_names_of_timms_script_are_taken(tmp_path: Path) -> None:
    found = load_config(
        None, ["smoothing=0.2", "retrain.clip_grad=3", "augment=timm", "scale=0.3,1"], section="retrain"
    ).retrain
    assert (found.label_smoothing, found.clip, found.scale) == (0.2, 3, (0.3, 1.0))
    file = tmp_path / "c.toml"
    file.write_text("[retrain]\nsmoothing = 0.3\n[train]\nclip_grad = 2\n")
    config = load_config(file)
    assert (config.retrain.label_smoothing, config.train.clip) == (0.3, 2)
    file.write_text("[retrain]\nsmoothing = 0.3\nlabel_smoothing = 0.1\n")
    with pytest.raises(InputError, match="are the same key"):
        load_config(file)


REFUSED = {
    "recipe=transxnt": ("unknown recipe 'transxnt'", "retrain.recipe=transxnet"),
    "recipe=transxnet/tny": ("unknown recipe", "retrain.recipe=transxnet/tiny"),
    "recipe=gone.toml": ("cannot be read", "nas recipes"),
    "mixupp=1": ("unknown key 'mixupp'", "mixup=1"),
    "mixup_prob=0.5": ("no effect without mixup=0.8", "retrain.mixup=0.8"),
    "aa=rand-m9": ("no effect without augment=timm", "retrain.augment=timm"),
    "min_lr=1e-5": ("no effect without sched=cosine", "retrain.sched=cosine"),
    "model_ema_decay=0.9": ("no effect without model_ema=true", "retrain.model_ema=true"),
    "kd_temperature=2.0": ("no effect without kd_model_name", "retrain.kd_model_name=supernet"),
    "sched=cosin": ("unknown value for retrain.sched", "retrain.sched=cosine"),
    "scale=0.5": ("retrain.scale is [0.5]", "retrain.scale=0.08,1.0"),
    "scale=1,0.5": ("retrain.scale is", "retrain.scale=0.08,1.0"),
    "scale=a,b": ("retrain.scale is 'a'", "retrain.scale="),
    "grad_accum_steps=65": ("retrain.grad_accum_steps is 65", "retrain.grad_accum_steps=1"),
    "layer_decay=0": ("retrain.layer_decay is 0", "retrain.layer_decay=1"),
    "hflip=2.0": ("retrain.hflip is 2.0", "retrain.hflip=0.5"),
}  # fmt: skip


@pytest.mark.parametrize("typed", REFUSED)
def test_what_is_refused(typed: str) -> None:
    with pytest.raises(InputError) as error:
        load_config(None, [typed], section="retrain")
    given, instead = REFUSED[typed]
    assert given in error.value.given
    assert instead in error.value.instead


@pytest.mark.parametrize(
    ("keys", "given"),
    [
        ({"mixup": 0.8, "batch_size": 63}, "mix images in pairs"),
        ({"cutmix": 1.0, "batch_size": 8, "grad_accum_steps": 5}, "grad_accum_steps is 5"),
        ({"sched": "cosine", "lr": 1e-4, "min_lr": 1e-3}, "min_lr is 0.001"),
        ({"sched": "cosine", "epochs": 5, "warmup_epochs": 5.0}, "leaves none for sched=cosine"),
        ({"aug_repeats": 9, "batch_size": 8}, "aug_repeats is 9"),
        ({"grad_checkpointing": True, "torchcompile": "eager"}, "running statistics twice"),
    ],
)  # fmt: skip
def test_keys_that_contradict_each_other_are_refused(keys: dict[str, object], given: str) -> None:
    with pytest.raises(InputError, match=given):
        RetrainConfig(**keys)  # type: ignore[arg-type]


def test_a_recipe_is_refused_for_images_that_it_is_not_made_for(tmp_path: Path) -> None:
    arguments = [f"run={tmp_path / 'run'}", "retrain.recipe=transxnet"]
    with pytest.raises(InputError) as error:
        configure("train", [*arguments, "data.resolution=32"])
    assert "made for images of 160 to 448 pixels, and the run's have 32" in error.value.given
    assert error.value.instead in ("retrain.recipe=few_images", "retrain.recipe=small")
    (config,) = configure("train", [*arguments, "data.resolution=224"])
    assert config.retrain.mixup == 0.8
    with pytest.raises(InputError, match="small is made for images of 4 to 64"):
        configure("train", [arguments[0], "retrain.recipe=small", "data.resolution=224"])


BAD_FILES = {
    "epoch = 3": ("unknown key 'epoch'", "{}"),
    "[recipe]\nepoch = 3": ("unknown key 'retrain.epoch'", "retrain.epochs=VALUE"),
    "[recipe]\nseeds = 3": ("unknown key of a recipe 'seeds'", "VALUE"),
    "[recipe]\nmixup = 'a'": ("retrain.mixup is 'a'", "retrain.mixup=0.0"),
    "[recipe]\nmixup_prob = 0.5": ("no effect without mixup", "retrain.mixup"),
    "resolution = 3": ("resolution is 3", "resolution = [160, 448]"),
    "recipe = 3": ("retrain is 3", "[retrain]"),
    "a": ("is not TOML", "fix"),
}


@pytest.mark.parametrize("text", BAD_FILES)
def test_a_file_of_a_recipe_is_checked(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        named_recipe(str(file))
    assert "mine.toml" in error.value.given
    assert BAD_FILES[text][0] in error.value.given
    assert BAD_FILES[text][1].replace("{}", "") in error.value.instead


def test_the_command_lists_and_shows_them(nas: Commands, tmp_path: Path) -> None:
    listed = nas("recipes", cwd=tmp_path).ok().out
    table = listed.split("\n\n")[0]
    assert [line.split()[0] for line in table.splitlines()[1:]] == list(recipe_names())
    assert "imagenet/transxnet.toml" in listed
    (tmp_path / "mine.toml").write_text('about = "of mine"\n[recipe]\nepochs = 3\naa = ""\n')
    shown = nas("recipes", "mine.toml", cwd=tmp_path).ok().out
    assert "of mine" in shown
    assert "epochs = 3" in shown
    assert "mixup" not in shown
    nas("recipes", "mta", cwd=tmp_path).refused("mat")
    nas("recipes", "mat", "linglo", cwd=tmp_path).refused("nas recipes mat")
    assert not cold("recipes", "mat", cwd=tmp_path).imported & {*HEAVY}


def test_keys_have_the_defaults_that_change_nothing() -> None:
    """Runs of before have none of these keys."""
    recorded = json.loads(json.dumps({"epochs": 5, "ema": 0.9}))
    section = config_from({"retrain": recorded}).retrain
    assert section == RetrainConfig(epochs=5, ema=0.9)
    own = set(TimmRecipe.__dataclass_fields__)
    assert {"opt", "sched", "mixup", "kd_model_name"} <= own
    assert (section.opt, section.sched, section.augment, section.model_ema, section.kd_model_name) == (
        "adamw", "default", "", False, "",
    )  # fmt: skip
