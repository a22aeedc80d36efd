"""The report on synthetic runs: what is in it, that it is the same bytes each time, and that no text becomes markup."""

import csv
import html.parser
import json
import math
import os
import random
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.commands.extract import selected
from nas.config import config_from, parse_macs
from nas.pareto import hypervolume, spread_over
from nas.reporting import BASELINES, FRONT_COLUMNS, ROLES, TRIAL_COLUMNS, collect, table, write_report
from nas.reporting.charts import Scale
from nas.reporting.mixers import Mixers
from nas.run import Run
from nas.store import FORMAT, RunStore
from search_spaces.architecture import Architecture, Block, Part, Stage
from search_spaces.errors import InputError

MIXERS = (
    Part.of("pooling", size=3),
    Part.of("depthwise_conv", kernel_size=5),
    Part.of("window_attention", num_heads=2, window_size=4),
    Part.of("mhsa", num_heads=4),
    Part.of("osra", num_heads=2, ratio=[4, 2]),
)
OUTPUTS = ("front.csv", "front.png", "report.html", "trials.csv")


def architecture(rng: random.Random, shape: tuple[tuple[int, int], ...] | None = None) -> Architecture:
    shape = shape or tuple((rng.randint(1, 3), rng.choice((1, 2)) * width) for width in (12, 24, 48))
    stages = []
    for depth, width in shape:
        blocks = tuple(
            Block(
                position=Part.of("dpe", kernel_size=3),
                norm=Part.of("group_norm"),
                mixer=rng.choice(MIXERS),
                ffn=Part.of("mlp", ratio=rng.choice((2, 4))),
                scale=Part.of("layer_scale", init=1e-5),
            )
            for _ in range(depth)
        )
        stages.append(Stage(width=width, embedding=Part.of("conv_embedding", stride=2), blocks=blocks))
    return Architecture(in_channels=1, num_classes=10, resolution=16, stages=tuple(stages), head=Part.of("linear"))


def cost(arch: Architecture) -> tuple[int, int]:
    """(macs, params), roughly as a network of this shape has them."""
    params = sum(len(stage.blocks) * 8 * stage.width**2 + 40 * stage.width for stage in arch.stages)
    heavy = sum(block.mixer.name in ("mhsa", "window_attention") for stage in arch.stages for block in stage.blocks)
    return params * 16 + 31_000 * heavy, params


def quality(arch: Architecture) -> float:
    names = [[block.mixer.name for block in stage.blocks] for stage in arch.stages]
    taste = names[0].count("depthwise_conv") / len(names[0]) + names[-1].count("mhsa") / len(names[-1])
    return 0.98 - 90 / math.sqrt(cost(arch)[0]) + 0.02 * taste


def evaluation(n: int, sampler: str, trial: int, arch: Architecture, rng: random.Random) -> dict[str, Any]:
    macs, params = cost(arch)
    right = round(360 * min(max(quality(arch) - 0.14 + rng.gauss(0, 0.02), 0.05), 0.99))
    return {
        "n": n,
        "sampler": sampler,
        "trial": trial,
        "digest": arch.digest,
        "architecture": arch.to_dict(),
        "params": params,
        "macs": macs,
        "top1": right / 360,
        "loss": 2.2 * (1 - right / 360),
        "images": 360,
    }


def build_run(
    folder: Path,
    *,
    evaluations: int = 40,
    samplers: tuple[str, ...] = ("nsga2", "random"),
    baselines: bool = True,
    seeds: int = 0,
    budget: str = "2.5M",
    **identity: Any,
) -> RunStore:
    """A run folder as the verbs would leave it: `evaluations` of each sampler, and `seeds` retrainings of each start."""
    rng = random.Random(7)
    config = config_from({"search": {"budget": budget}}).to_dict()
    del config["run"]  # a run does not say where it lies
    known = {
        "config": config,
        "space_name": "digits",
        "space_digest": "0123456789ab",
        "space_size": "1234567890123",
        "split_digest": "ba9876543210",
        "split_sizes": {"train": 1077, "validation": 360, "test": 360},
        "classes": [str(number) for number in range(10)],
        "versions": {"python": "3.11.7", "torch": "2.11.0"},
        "machine": {"cpu": "Some CPU", "cores": 2, "memory_gib": 7.8, "threads": 2},
        "commit": "0123456789ab",
        "command": ["nas", "demo", "run=runs/demo"],
    }
    store = RunStore(folder)
    store.write_json("run.json", {"format": FORMAT, **known, **identity})
    records = []
    if baselines:
        shapes = {
            "smallest": ((1, 12), (1, 24), (1, 48)),
            "largest": ((3, 24), (3, 48), (3, 96)),
            "hand_made": ((2, 16), (2, 32), (2, 64)),
        }
        records += [(name, 0, architecture(rng, shape)) for name, shape in shapes.items()]
    limit = parse_macs(budget) or math.inf
    for sampler in samplers:
        for trial in range(evaluations):
            # NSGA-II is played by the best of ever more draws.
            drawn = [architecture(rng) for _ in range(1 + min(trial // 10, 4) * (sampler == "nsga2"))]
            records.append((sampler, trial, max(drawn, key=lambda arch: quality(arch) * (cost(arch)[0] <= limit))))
    lines = [evaluation(n, sampler, trial, arch, rng) for n, (sampler, trial, arch) in enumerate(records)]
    store.write_text("evaluations.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    if seeds:
        retrain(store, seeds=seeds)
    return store


def retrain(store: RunStore, *, seeds: int) -> None:
    """Retrains five networks of the front, and the rest of the reported ones."""
    rng = random.Random(8)
    networks = collect(store).networks
    whole = [network for network in networks if network.on_front]
    chosen = spread_over([(n.macs, n.inherited.top1 if n.inherited else 0) for n in whole], 5)
    lines = []
    for network in [whole[index] for index in chosen] + [n for n in networks if not n.on_front]:
        for init in ("scratch", "inherited"):
            for seed in range(seeds):
                score = min(quality(network.architecture) + 0.01 * (init == "inherited") + rng.gauss(0, 0.008), 0.995)
                record = {
                    "digest": network.digest,
                    "roles": list(network.roles),
                    "init": init,
                    "seed": seed,
                    "architecture": network.architecture.to_dict(),
                    "params": network.params,
                    "macs": network.macs,
                    "epochs": 30,
                    "validation_top1": round(360 * score) / 360,
                    "test_top1": round(360 * (score - 0.004)) / 360,
                    "test_images": 360,
                }
                lines.append(json.dumps(record) + "\n")
    store.write_text("retrained.jsonl", "".join(lines))
    if whole:
        best = whole[chosen[-1]]
        store.write_text(f"networks/{best.digest}/arch.json", best.architecture.to_json(indent=1))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """A run with everything, and its report."""
    store = build_run(tmp_path_factory.mktemp("full") / "run", seeds=3)
    write_report(store)
    return store


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """A run that has been searched only, and its report."""
    store = build_run(tmp_path_factory.mktemp("searched") / "run")
    write_report(store)
    return store


def rows(store: RunStore, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(store.path(name).read_text().splitlines()))


class Page(html.parser.HTMLParser):
    """A page read strictly: every element closed, in order."""

    VOID = ("meta",)

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(store: RunStore) -> Page:
    return Page(store.path("report.html").read_text())


def check_page(store: RunStore) -> Page:
    """What holds for every report: well formed, self-contained, links that lead somewhere."""
    found = page(store)
    text = store.path("report.html").read_text()
    for loaded in ("http:", "https:", "//", "url(", "@import", "<script", "javascript:"):
        assert loaded not in text.lower()
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base"})
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for _, attributes in found.tags:
        assert not any(name.startswith("on") or name in ("src", "srcset", "xlink:href") for name in attributes)
        target = attributes.get("href")
        assert target is None or (target[1:] in ids if target.startswith("#") else target in OUTPUTS)
        if "aria-describedby" in attributes:
            assert attributes["aria-describedby"] in ids
    return found


# What is in it


def test_files(full: RunStore) -> None:
    assert write_report(full) == full.path("report.html")
    found = sorted(path.name for path in full.folder.iterdir())
    assert found == sorted((*OUTPUTS, "evaluations.jsonl", "retrained.jsonl", "run.json", "networks"))
    check_page(full)


def brute_front(records: list[dict[str, Any]], limit: float) -> set[str]:
    """Digests of the front, by comparing all pairs."""
    allowed = [r for r in records if r["sampler"] not in BASELINES and r["macs"] <= limit]
    return {
        a["digest"]
        for a in allowed
        if not any(
            b["macs"] <= a["macs"] and b["top1"] >= a["top1"] and (b["macs"], b["top1"]) != (a["macs"], a["top1"])
            for b in allowed
        )
    }


@pytest.mark.parametrize("budget", ["2.5M", "600K", "none"])
def test_front_is_brute_force(tmp_path: Path, budget: str) -> None:
    store = build_run(tmp_path, budget=budget, seeds=1)
    write_report(store)
    records, limit = store.records("evaluations.jsonl"), parse_macs(budget) or math.inf
    listed = rows(store, "front.csv")
    on_front = [row for row in listed if "front" in row["role"].split("+")]
    assert {row["digest"] for row in on_front} == brute_front(records, limit)
    assert [int(row["macs"]) for row in on_front] == sorted(int(row["macs"]) for row in on_front)
    assert {row["digest"] for row in rows(store, "trials.csv") if row["on_front"] == "true"} == {
        row["digest"] for row in on_front
    }
    best = max(
        (r for r in records if r["sampler"] == "random" and r["macs"] <= limit),
        key=lambda r: (r["top1"], -r["macs"], -r["n"]),
    )
    assert [row["digest"] for row in listed if "random_best" in row["role"].split("+")] == [best["digest"]]
    for role in BASELINES:
        digests = {r["digest"] for r in records if r["sampler"] == role}
        assert {row["digest"] for row in listed if role in row["role"].split("+")} == digests
    assert all(row["role"] and set(row["role"].split("+")) <= set(ROLES) for row in listed)


@pytest.mark.parametrize("steps", [360, 20, 4])
@pytest.mark.parametrize("budget", ["2.5M", "600K", "none"])
def test_what_is_retrained_is_what_is_reported(tmp_path: Path, budget: str, steps: int) -> None:
    """`nas extract` and the report choose by the same rule, also where many networks have the same top-1."""
    store = build_run(tmp_path, budget=budget)
    scores: dict[str, float] = {}  # a network that is proposed again has the same score
    lines = [
        line | {"top1": scores.setdefault(line["digest"], round(line["top1"] * steps) / steps)}
        for line in store.records("evaluations.jsonl")
    ]
    store.write_text("evaluations.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    reported = collect(store).networks
    for points in (1, 3, 100):
        config = config_from({"search": {"budget": budget}, "retrain": {"points": points}})
        chosen = selected(Mock(spec=Run, store=store, config=config))
        for role in ("front", "random_best", *BASELINES):
            ours = {digest for digest, entry in chosen.items() if role in entry["roles"]}
            theirs = {network.digest for network in reported if role in network.roles}
            assert ours
            assert ours <= theirs if role == "front" and points < 100 else ours == theirs


@pytest.mark.parametrize(
    ("size", "tile", "row"),
    [
        ("46656", "46,656 networks in the space", ", 46656 networks"),
        ("1999999999", "2 × 10 9 networks in the space", ", 1999999999 networks"),
        ("9" * 60, "1 × 10 60 networks in the space", f", {'9' * 60} networks"),
        ("1234" + "0" * 398, "1.23 × 10 401 networks in the space", ", 1.23 × 10 401 networks"),
        ("25" + "1" * 4999, "2.51 × 10 5000 networks in the space", ", 2.51 × 10 5000 networks"),
    ],
    ids=lambda value: f"{len(value)} characters",
)
def test_spaces_of_any_size(tmp_path: Path, size: str, tile: str, row: str) -> None:
    """Their digits are never read as one integer, which Python refuses from 4,301 digits up."""
    write_report(store := build_run(tmp_path, space_size=size))
    text = check_page(store).text
    assert tile in text
    assert row in text


def test_front_columns(full: RunStore) -> None:
    listed = rows(full, "front.csv")
    assert list(listed[0]) == list(FRONT_COLUMNS)
    assert all(meaning and "\n" not in meaning for meaning in (*FRONT_COLUMNS.values(), *TRIAL_COLUMNS.values()))
    evaluated = {record["digest"]: record for record in full.records("evaluations.jsonl")}
    retrained = full.records("retrained.jsonl")
    assert len(listed) > 8
    for row in listed:
        record = evaluated[row["digest"]]
        arch = Architecture.from_dict(record["architecture"])
        assert arch.digest == row["digest"]
        assert (int(row["macs"]), int(row["params"])) == (record["macs"], record["params"])
        assert float(row["inherited_validation_top1"]) == record["top1"]
        assert float(row["inherited_validation_loss"]) == record["loss"]
        assert int(row["depth"]) == arch.depth == sum(map(int, row["depths"].split("|")))
        assert [int(width) for width in row["widths"].split("|")] == [stage.width for stage in arch.stages]
        mixers = [[block.mixer.name for block in stage.blocks] for stage in arch.stages]
        assert [stage.split(" ") for stage in row["mixers"].split("|")] == mixers
        for init, prefix in (("scratch", "scratch"), ("inherited", "inherited_init")):
            own = [r for r in retrained if r["digest"] == row["digest"] and r["init"] == init]
            assert int(row[f"{prefix}_seeds"]) == len(own)
            if own:
                tests = [r["test_top1"] for r in own]
                assert float(row[f"{prefix}_test_top1_mean"]) == pytest.approx(sum(tests) / len(tests), abs=1e-12)
                assert float(row[f"{prefix}_test_top1_min"]) == min(tests)
                assert float(row[f"{prefix}_test_top1_max"]) == max(tests)
                assert row["test_images"] == "360"
            else:
                assert row[f"{prefix}_test_top1_mean"] == ""


def test_trial_columns(full: RunStore) -> None:
    listed = rows(full, "trials.csv")
    records = full.records("evaluations.jsonl")
    assert list(listed[0]) == list(TRIAL_COLUMNS)
    assert [(row["digest"], int(row["n"]), float(row["top1"])) for row in listed] == [
        (record["digest"], record["n"], record["top1"]) for record in records
    ]
    assert {row["within_budget"] for row in listed} == {"true", "false"}
    for row in listed:
        assert (row["within_budget"] == "true") == (int(row["macs"]) <= 2_500_000)
        assert row["on_front"] == "false" or row["on_sampler_front"] == "true"
        assert row["sampler"] not in BASELINES or row["on_sampler_front"] == "false"


def test_page_says_what_was_found(full: RunStore) -> None:
    found = check_page(full)
    text, networks = found.text, collect(full).networks
    for network in networks:
        run = full.folder
        for command in (
            f"nas extract run={run} digest={network.digest}",
            f"nas retrain run={run} digest={network.digest}",
            f"nas extract run={run} digest={network.digest} verify=true",
        ):
            assert command in found.words
    for mixer in MIXERS:
        assert mixer.name in found.words
    for said in (
        "FLOPs",
        "0123456789ab",
        "ba9876543210",
        "Some CPU",
        "torch 2.11.0",
        'search.budget = "2.5M"',
        "0, 1, 2",
    ):
        assert said in text
    assert "binomial standard error on 360 images is 0.0" in text
    titles = [attributes["title"] or "" for _, attributes in found.tags if "title" in attributes]
    assert any(
        "window_attention(num_heads=2, window_size=4)" in title and "ffn: mlp(ratio=" in title for title in titles
    )
    svgs = [attributes for tag, attributes in found.tags if tag == "svg" and attributes.get("role") == "img"]
    assert len(svgs) == 6
    assert all(attributes["aria-label"] for attributes in svgs)


def test_headline_is_chosen_by_validation(full: RunStore, tmp_path: Path) -> None:
    """A network with a perfect test and a poor validation result is not what the report presents."""
    copy = RunStore(tmp_path)
    for name in ("run.json", "evaluations.jsonl", "retrained.jsonl"):
        copy.write_bytes(name, full.path(name).read_bytes())
    before = collect(copy).best
    assert before is not None
    whole = [network for network in collect(copy).networks if network.on_front and not network.results]
    record = copy.records("retrained.jsonl")[0]
    lucky = {"digest": whole[0].digest, "architecture": whole[0].architecture.to_dict(), "test_top1": 1.0}
    copy.append("retrained.jsonl", record | lucky | {"validation_top1": 0.1})
    after = collect(copy).best
    assert after is not None
    assert (after[0].digest, after[1]) == (before[0].digest, before[1])


def test_hypervolume(full: RunStore) -> None:
    text = page(full).text
    for sampler in ("nsga2", "random"):
        points = [
            (record["macs"], record["top1"])
            for record in full.records("evaluations.jsonl")
            if record["sampler"] == sampler and record["macs"] <= 2_500_000
        ]
        assert f"{hypervolume(points, (2_750_000, 0)) / 2_750_000:.4f}" in text


def test_last_of_equal_retrainings_counts(tmp_path: Path) -> None:
    store = build_run(tmp_path, seeds=1)
    record = store.records("retrained.jsonl")[0]
    store.append("retrained.jsonl", record | {"test_top1": 0.125})
    network = next(network for network in collect(store).networks if network.digest == record["digest"])
    assert network.results[record["init"]].tests == [0.125]


def test_retrained_network_that_left_the_front_is_kept(tmp_path: Path) -> None:
    store = build_run(tmp_path, baselines=False, seeds=1)
    worst = next(network for network in collect(store).networks if network.on_front and network.results)
    arch = architecture(random.Random(99), ((1, 12), (1, 12), (1, 12)))
    better = evaluation(1000, "nsga2", 40, arch, random.Random(0)) | {"macs": worst.macs - 1, "top1": 0.999}
    store.append("evaluations.jsonl", better)
    write_report(store)
    row = next(row for row in rows(store, "front.csv") if row["digest"] == worst.digest)
    assert row["role"] in ("retrained", "random_best")
    assert row["scratch_seeds"] == "1"
    check_page(store)


# At every stage


def test_without_retraining(searched: RunStore) -> None:
    text = check_page(searched).text
    assert "No network of the front is retrained yet" in text
    assert "it has not been read yet" in text
    assert "retrained from scratch" not in text
    assert all(row["scratch_seeds"] == "0" and row["test_images"] == "" for row in rows(searched, "front.csv"))


@pytest.mark.parametrize(
    ("changes", "front"),
    [
        pytest.param({"evaluations": 1, "samplers": ("nsga2",), "baselines": False, "budget": "none"}, 1, id="one"),
        pytest.param({"evaluations": 1, "samplers": ("random",), "baselines": False, "seeds": 1, "budget": "none"}, 1),
        pytest.param({"evaluations": 0, "seeds": 2}, 0, id="baselines"),
        pytest.param({"evaluations": 5, "budget": "1K", "seeds": 1}, 0, id="nothing within the budget"),
        pytest.param({"evaluations": 8, "samplers": ("random", "tpe", "cmaes", "nsga2")}, None, id="other samplers"),
    ],
)
def test_sparse_runs(tmp_path: Path, changes: dict[str, Any], front: int | None) -> None:
    store = build_run(tmp_path, **changes)
    write_report(store)
    check_page(store)
    assert front is None or len(collect(store).front) == front
    assert len(rows(store, "front.csv")) == len(collect(store).networks)
    assert max(map(len, table(store).splitlines())) <= 100


def test_nothing_evaluated(tmp_path: Path) -> None:
    store = build_run(tmp_path, evaluations=0, baselines=False)
    for call in (write_report, table, collect):
        with pytest.raises(InputError, match="nas search run="):
            call(store)


@pytest.mark.parametrize("damage", [{"digest": 1}, {"n": 0, "digest": "x"}, {"digest": "x", "architecture": {}}])
def test_damaged_record(tmp_path: Path, damage: dict[str, Any]) -> None:
    store = build_run(tmp_path, evaluations=1)
    store.append("evaluations.jsonl", damage)
    with pytest.raises(InputError):
        collect(store)


# The same bytes


def test_same_bytes_in_another_process(full: RunStore) -> None:
    before = {name: full.path(name).read_bytes() for name in OUTPUTS}
    code = (
        "import sys; from nas.reporting import write_report; from nas.store import RunStore\n"
        "assert not {'matplotlib', 'pandas', 'torch'} & set(sys.modules), 'heavy imports belong into functions'\n"
        "write_report(RunStore(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, full.folder], check=True, env=environment, cwd=root, timeout=60)
    assert {name: full.path(name).read_bytes() for name in OUTPUTS} == before


def test_picture_has_no_clock_or_version(full: RunStore) -> None:
    data, kinds, place = full.path("front.png").read_bytes(), set(), 8
    while place < len(data):
        (size,) = struct.unpack(">I", data[place : place + 4])
        kinds.add(data[place + 4 : place + 8])
        place += 12 + size
    assert kinds <= {b"IHDR", b"IDAT", b"IEND", b"pHYs"}


# Text is text


EVIL = "</title><script>alert('x')</script><img src=x onerror=\"y\"> & $\\frac{$ \u4e2d \ud800"


def test_text_is_never_markup(tmp_path: Path) -> None:
    config = config_from({"search": {"budget": "none"}}).to_dict()
    config["data"]["name"] = config["data"]["root"] = EVIL
    identity = {
        "config": config,
        "space_name": EVIL,
        "space_digest": EVIL,
        "split_digest": EVIL,
        "classes": [EVIL, "b"],
        "versions": {EVIL: EVIL},
        "machine": {"cpu": EVIL, "cores": 1, "memory_gib": 0.0, "threads": 1},
        "commit": "",
        "command": ["nas", EVIL],
    }
    store = build_run(tmp_path / "<b>run", evaluations=3, seeds=1, **identity)
    part = Part.of(EVIL, **{EVIL: EVIL})
    block = Block(position=part, norm=part, mixer=part, ffn=part, scale=part)
    stage = Stage(width=4, embedding=part, blocks=(block,))
    arch = Architecture(in_channels=1, num_classes=2, resolution=8, stages=(stage,), head=part)
    record = evaluation(99, EVIL, 1, architecture(random.Random(1)), random.Random(1))
    store.append("evaluations.jsonl", record | {"architecture": arch.to_dict(), "digest": "<i>evil</i>", "top1": 0.999})
    store.append("evaluations.jsonl", record | {"n": 100, "sampler": "nsga2", "digest": "x" * 40})
    write_report(store)
    found = check_page(store)
    assert EVIL.replace("\ud800", "?") in found.words
    assert len(rows(store, "front.csv")) == len(collect(store).networks)
    assert max(map(len, table(store).splitlines())) <= 100


# The text for the terminal


def test_table(full: RunStore) -> None:
    lines = table(full).splitlines()
    networks = collect(full).networks
    assert max(map(len, lines)) <= 100
    assert len(lines) == len(networks) + 5
    header = lines[0]
    for network, line in zip(networks, lines[2:], strict=False):
        assert line.startswith(network.digest)
        assert "+".join(network.roles) in line
        assert line[: header.index("MACs") + 4].rstrip().endswith(("K", "M"))
        assert line[header.index("blocks x width") :].split()[0].count("x") == 1
        assert line == line.rstrip()


def test_table_of_a_wide_network(tmp_path: Path) -> None:
    store = build_run(tmp_path, evaluations=2, budget="none")
    arch = architecture(random.Random(1), ((12, 1024),) * 9)
    store.append("evaluations.jsonl", evaluation(9, "random", 3, arch, random.Random(1)) | {"top1": 1.0})
    write_report(store)
    check_page(store)
    lines = table(store).splitlines()
    assert max(map(len, lines)) <= 100
    assert any(line.endswith("..") for line in lines)


# Small parts


@settings(max_examples=120, deadline=None)
@given(st.lists(st.one_of(st.integers(1, 10**12), st.floats(1e-3, 1.0)), min_size=1, max_size=6), st.integers(5, 8))
def test_scale_holds_its_values(values: list[float], most: int) -> None:
    for positive in (False, True):
        scale = Scale.over(values, positive=positive)
        assert all(0 <= scale.at(value) <= 1 for value in values)
        ticks = scale.ticks(most)
        assert ticks == sorted(set(ticks))
        assert all(-1e-9 <= scale.at(tick) <= 1 + 1e-9 for tick in ticks)
        assert scale.log or 2 <= len(ticks) <= most + 1
        assert len(ticks) >= 1


def test_scale_prints_round_numbers() -> None:
    assert Scale(0.0, 0.8, False).ticks() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    assert Scale(3e5, 6e6, True).ticks() == [5e5, 1e6, 2e6, 5e6]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=20, unique=True))
def test_mixer_codes_differ(names: list[str]) -> None:
    parts = [Part.of(name) for name in names]
    blocks = tuple(Block(position=part, norm=part, mixer=part, ffn=part, scale=part) for part in parts)
    stage = Stage(width=1, embedding=parts[0], blocks=blocks)
    mixers = Mixers.of([Architecture(in_channels=1, num_classes=1, resolution=1, stages=(stage,), head=parts[0])])
    assert set(mixers.codes) == set(names)
    assert len(set(mixers.codes.values())) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9]{1,3}", code) for code in mixers.codes.values())


def test_inputs_are_only_read(full: RunStore) -> None:
    before = {name: full.path(name).read_bytes() for name in ("run.json", "evaluations.jsonl", "retrained.jsonl")}
    write_report(full)
    assert before == {name: full.path(name).read_bytes() for name in before}
