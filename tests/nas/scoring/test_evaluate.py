"""`nas evaluate`: a score is that of the network on those images, seen as it was trained to see them, and classes go by their names."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform

from nas import evaluate, load_network
from nas.config import DataConfig
from nas.data import Split, load_part, make_split
from nas.data.view import View, load_view
from nas.networks.timm_models import fresh_model
from nas.runs.store import RunStore
from nas.runs.weights import ARCH, WEIGHTS, save_tensors
from nas.scoring.asked import Scored
from nas.scoring.classes import outputs_of
from nas.scoring.entrants import entrant
from nas.scoring.scores import score, wilson
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError
from search_spaces.named import check
from search_spaces.network import build
from search_spaces.papers import paper_network
from search_spaces.space import SearchSpace
from tests.command_line import SEARCH, SPACE, Runs, cold, make_images

CLASSES = ("class0", "class1", "class2", "class3")


@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (500, 1000, 0.4691, 0.5309)],
)
def test_the_interval_is_wilsons(right: int, images: int, low: float, high: float) -> None:
    """Against values of R's binom.confint."""
    assert wilson(right, images) == pytest.approx((low, high), abs=5e-5)


def test_a_score_counts_what_is_right() -> None:
    logits = torch.tensor([[3.0, 2, 1, 0, -1, -2], [3.0, 2, 1, 0, -1, -2], [1, 1.5, 1, 1, 1, 9.0]])
    found = score("made", lambda x: x, [(logits[:2], torch.tensor([0, 1])), (logits[2:], torch.tensor([1]))], [5, 1])
    # Label 0 means output 5: the last of six for the first image. Label 1 means output 1, which is second in both.
    assert (found.images, found.right, found.right_of_five) == (3, 0, 2)
    wanted = torch.tensor([5, 1, 1])
    assert found.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, wanted).item())
    with pytest.raises(InputError, match="not finite"):
        score("made", lambda x: x, [(logits * float("nan"), torch.tensor([0, 1, 0]))], [5, 1])
    with pytest.raises(InputError, match="one number for each class"):
        score("made", lambda x: x, [(logits[:, :4], torch.tensor([0, 1, 0]))], [5, 1])


@pytest.mark.parametrize(
    ("names", "expected"),
    [(None, [0, 1]), (("b", "a"), [1, 0]), (("c", "b", "x", "a"), [3, 1])],
)
def test_classes_go_by_their_names(names: tuple[str, ...] | None, expected: list[int]) -> None:
    assert outputs_of("net", len(names or "ab"), names, ("a", "b"), "data") == expected


@pytest.mark.parametrize(
    ("outputs", "names", "said"),
    [
        (3, None, "3 classes apart"),
        (2, ("a", "c"), "does not know 1 of the 2 classes of data set data: 'b'"),
        (3, ("a", "b"), "3 outputs"),
        (3, ("a", "b", "a"), "two classes 'a'"),
    ],
)
def test_classes_that_do_not_match_are_refused(outputs: int, names: tuple[str, ...] | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        outputs_of("net", outputs, names, ("a", "b"), "data")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes of coloured images, wider than high, that a crop changes."""
    root = make_images(tmp_path_factory.mktemp("data") / "images", each=10)
    for file in root.rglob("*.png"):
        Image.open(file).resize((90, 60)).save(file)
    return root


def data_of(images: Path, resolution: int = 8) -> tuple[str, ...]:
    return "data=folder", f"data.root={images}", f"data.resolution={resolution}"


@pytest.fixture
def saved(images: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a network of this project for the images; `about` stands in the header of its weights."""

    def write(name: str, about: dict[str, str], config: dict[str, Any] | None = None) -> Path:
        space = check(SearchSpace.from_toml(SPACE, "tiny.toml")).bind(3, 4, 8)
        network = build(space.smallest(macs), seed=0)
        store = RunStore(tmp_path / name)
        save_tensors(store, WEIGHTS, network.state_dict(), about)
        store.write_text(ARCH, network.arch.to_json())
        if config is not None:
            store.write_json("config.json", config)
        return store.folder

    return write


def by_hand(network: torch.nn.Module, images: Path, split: Split, part: str, transform: Any, place: list[int]) -> float:
    """Top-1 of a network on the files of a part, each through a transform of timm's."""
    right = 0
    with torch.no_grad():
        for id, label in zip(split.parts[part], split.labels[part], strict=True):
            x = transform(Image.open(images / id).convert("RGB"))[None]
            right += int(network(x).argmax() == place[label])
    return right / len(split.parts[part])


def test_a_folder_that_timm_saved(images: Path, tmp_path: Path) -> None:
    """Its own crop, interpolation, mean and std, and its own order of classes; as timm's transform by hand has it."""
    torch.manual_seed(0)
    network = fresh_model("test_resnet", num_classes=4).eval()
    for module in network.modules():  # outputs of fresh weights hardly depend on the image
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=1.0)
    cfg = {
        "input_size": [3, 32, 32],
        "mean": [0.3, 0.2, 0.4],
        "std": [0.2, 0.3, 0.1],
        "interpolation": "bilinear",
        "crop_pct": 0.7,
    }
    order = [2, 0, 3, 1]
    about = {
        "architecture": "test_resnet", "num_classes": 4, "label_names": [CLASSES[label] for label in order], "pretrained_cfg": cfg,
    }  # fmt: skip
    RunStore(tmp_path / "net").write_json("config.json", about)
    timm.models.save_for_hf(network, tmp_path / "net", model_config={}, safe_serialization=True)
    RunStore(tmp_path / "net").write_json("config.json", about)  # save_for_hf writes one of its own
    [found] = evaluate(str(tmp_path / "net"), asked=Scored(part="train"), data=data_of(images))
    split = make_split(DataConfig(name="folder", root=str(images), resolution=8), 0)
    transform = create_transform((3, 32, 32), interpolation="bilinear", mean=cfg["mean"], std=cfg["std"], crop_pct=0.7)
    place = [order.index(label) for label in range(4)]
    assert found.score.top1 == by_hand(network, images, split, "train", transform, place)
    assert found.score.images == len(split.parts["train"])
    assert found.params == sum(p.numel() for p in network.parameters())
    assert found.score.top5 is None


def test_the_folder_says_how_images_are_seen(images: Path, saved: Callable[..., Path], tmp_path: Path) -> None:
    """config.json first, then the split in the weights' header, then that a published checkpoint was converted; else it is asked for."""
    split = make_split(DataConfig(name="folder", root=str(images), resolution=8), 0)
    config = {
        "pretrained_cfg": {"input_size": [3, 8, 8], "mean": [0.1] * 3, "std": [0.2] * 3},
        "label_names": list(CLASSES),
    }
    folders = {
        "said": (saved("said", {}, config), (0.1,) * 3, CLASSES),
        "split": (saved("split", {"split": split.digest}), split.mean, CLASSES),
        "converted": (saved("converted", {"source": "model.pth"}), (0.485, 0.456, 0.406), None),
    }
    scored = evaluate(
        *(str(folder) for folder, _, _ in folders.values()), asked=Scored(part="val"), data=data_of(images)
    )
    for one, (folder, mean, classes) in zip(scored, folders.values(), strict=True):
        assert (one.entrant.name, one.view.mean, one.entrant.classes) == (str(folder), mean, classes)
    silent = saved("silent", {})
    with pytest.raises(InputError, match="says how its images") as error:
        evaluate(str(silent), asked=Scored(out=str(tmp_path / "scores.csv")), data=data_of(images))
    assert error.value.instead == "preprocess=data"
    assert not (tmp_path / "scores.csv").exists()
    asked = Scored(preprocess="data", out=str(tmp_path / "scores.csv"))
    [found] = evaluate(str(silent), asked=asked, data=data_of(images))
    part = load_part(DataConfig(name="folder", root=str(images), resolution=8), split, "validation")
    expected = score("net", load_network(silent), part.batches(7), range(4))
    assert (found.score.right, found.score.loss) == (expected.right, pytest.approx(expected.loss))
    [row] = csv.DictReader((tmp_path / "scores.csv").read_text().splitlines())
    assert (row["part"], row["split"], float(row["top1"])) == ("validation", split.digest, found.score.top1)


@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        ({"input_size": [3, 8, 10**9], "mean": [0.1] * 3, "std": [0.1] * 3}, "squares"),
        ({"input_size": [3, 10**9, 10**9], "mean": [0.1] * 3, "std": [0.1] * 3}, "4096"),
        ({"input_size": [3, 8, 8], "mean": [0.1] * 3, "std": [0.0] * 3}, "std above 0"),
        ({"input_size": [3, 8, 8], "mean": ["x"] * 3, "std": [0.1] * 3}, "could not convert"),
        ({"input_size": 8, "mean": [0.1] * 3, "std": [0.1] * 3}, "iterable"),
        ({"input_size": [3, 8, 8], "mean": [0.1] * 3, "std": [0.1] * 3, "crop_pct": 1e-9}, "crop_pct"),
        ({"input_size": [3, 8, 8], "mean": [0.1] * 3, "std": [0.1] * 3, "interpolation": "worst"}, "interpolation"),
        ([1], "attribute"),
    ],
)
def test_a_config_that_says_nonsense_is_refused(cfg: Any, said: str, images: Path, saved: Callable[..., Path]) -> None:
    folder = saved("net", {"digest": ""}, {"pretrained_cfg": cfg})
    with pytest.raises(InputError, match=said):
        evaluate(str(folder), asked=Scored(), data=data_of(images))


@pytest.mark.slow
def test_a_converted_checkpoint_is_cropped_as_its_authors_do(images: Path, tmp_path: Path) -> None:
    """TransXNet-T on 0.9 of the short side, with the names of ImageNet's folders."""
    network = build(paper_network("transxnet_tiny").arch, seed=0)
    store = RunStore(tmp_path / "net")
    save_tensors(store, WEIGHTS, network.state_dict(), {"digest": network.arch.digest, "source": "model.pth"})
    store.write_text(ARCH, network.arch.to_json())
    split = make_split(DataConfig(name="folder", root=str(images), resolution=8), 0)
    found = entrant(str(store.folder), Scored(), split)
    assert found.view == View(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0.9)
    assert found.classes is not None
    assert found.classes[0] == "n01440764"


def test_a_model_without_published_weights_is_not_scored_with_fresh_ones(images: Path) -> None:
    """timm itself would only warn."""
    with pytest.raises(InputError, match="no pretrained weights of hat_net_tiny"):
        evaluate("timm/hat_net_tiny", asked=Scored(), data=data_of(images))


@pytest.mark.slow
def test_a_run_gives_back_what_it_recorded(runs: Runs, tmp_path: Path) -> None:
    """Inherited weights on search-validation as the search saw them, and the retrained network on test as retraining did."""
    place = tmp_path / "place"
    shutil.copytree(runs["retrain"], place)
    run = RunStore(place / "run")
    record = run.records(f"{SEARCH}/retrained.jsonl")[0]
    [evaluation] = [line for line in run.records(f"{SEARCH}/evaluations.jsonl") if line["digest"] == record["digest"]][
        :1
    ]
    folder = place / "run" / SEARCH / "networks" / record["digest"]
    names = (str(folder), str(folder / f"retrained-scratch-{record['seed']}.safetensors"))
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    found = evaluate(*names, asked=Scored(run=str(run.folder), out=str(tmp_path / "scores.json")))
    assert (found[0].score.top1, found[0].score.images) == (evaluation["top1"], evaluation["images"])
    assert found[0].score.loss == pytest.approx(evaluation["loss"])
    assert found[1].score.top1 == record["validation_top1"]
    assert json.loads((tmp_path / "scores.json").read_text())["networks"][0]["top1"] == evaluation["top1"]
    found = evaluate(names[1], asked=Scored(run=str(run.folder), part="test"))
    assert (found[0].score.top1, found[0].score.images) == (record["test_top1"], record["test_images"])
    assert before == {path: path.stat().st_mtime_ns for path in place.rglob("*")}  # a run is only read


def test_only_the_part_that_is_named_is_opened(images: Path, saved: Callable[..., Path], tmp_path: Path) -> None:
    """A run's test images may be gone while validation is scored."""
    root = Path(shutil.copytree(images, tmp_path / "moved"))
    config = DataConfig(name="folder", root=str(root), resolution=8)
    split = make_split(config, 0)
    for id in split.parts["test"]:
        (root / id).unlink()
    view = View(8, split.mean, split.std)
    assert len(load_view(config, split, "validation", view)) == len(split.parts["validation"])
    with pytest.raises(InputError, match="cannot be read"):
        load_view(config, split, "test", view)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "given no network"),
        (("net",), "given no images"),
        (("net", "run=a", "data=digits"), "data=digits beside run=a"),
        (("net", "run=a", "part=tset"), "unknown part 'tset'"),
        (("net", "run=a", "limit=x"), "limit is 'x'"),
        (("net", "run=a", "out=scores.txt"), "out=scores.txt"),
        (("net", "run=a", "prt=test"), "unknown option of evaluate: 'prt'"),
    ],
)
def test_wrong_arguments_are_refused_in_three_parts(arguments: tuple[str, ...], said: str) -> None:
    from nas.scoring.asked import parse

    with pytest.raises(InputError, match=said):
        parse(list(arguments))


def test_arguments_are_refused_before_torch_is_imported(tmp_path: Path) -> None:
    result = cold("evaluate", "net", "run=a", "part=tset", cwd=tmp_path)
    result.refused("'tset'", "part=test")
    assert not result.imported & {"torch", "timm", "numpy"}
