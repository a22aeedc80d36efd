"""Words of the command line, and texts that end on a terminal, in a table or on a page."""

import csv
from collections.abc import Iterable

from tests.hostile.case import add, case
from tests.hostile.world import ON_IMAGES, World, put

FORMATS = ("{x}", "{", "%n{0.__class__}")

ESCAPES = "\x1b]0;title\x07\x1b[2J\x1b[31mred"

NAMES = (
    ("escapes", ESCAPES), ("a change of direction", "\u202egnp.exe\u2066"), ("line ends", "a\r\nnas: fine\n  allowed: x"), ("a control character", "\x9b31m"),
    ("a formula", "=cmd|'/c calc'!A1"), ("another formula", "@SUM(1+1)"), ("a tab and a formula", "\t=1"), ("markup", "</title><script>alert(1)</script>"),
    ("a long text", "a" * 100_000), ("no text", ""), ("a replacement field", "{x}"),
)  # fmt: skip

for form in FORMATS:
    for line in [
        (form,), ("train", f"sede={form}"), ("train", f"{form}=1"), ("train", f"data={form}"), ("spaces", form), ("models", form), ("recipes", form),
        ("cost", form), ("cost", f"timm/{form}"), ("search", f"run={form}"), ("retrain", f"retrain.recipe={form}"), ("convert", "x", "--model", form),
        ("train", f"space={form}"), ("evaluate", "data=digits", form), ("export", form, f"format={form}"), ("dense", form), ("study", f"{form}.toml"), ("ablate", f"{form}.toml"), ("profile", "profile.out=x", f"space={form}"),
        ("bench", form, f"runtime={form}"), ("train", f"train.strategy={form}"), ("train", f"budget={form}=1"), ("report", f"report.sections={form}"),
    ]:  # fmt: skip
        add(f"nas {' '.join(line)[:60]}", lambda world, line=line: line, said=form)

LONG = "a" * 5000
for line in (
    ("report", f"run={LONG}"), ("train", f"{LONG}.toml"), ("spaces", f"{LONG}.toml"), ("cost", LONG), ("cost", f"{LONG}/arch.json"), ("convert", LONG, "--model", "transxnet_tiny"),
    ("evaluate", "data=digits", LONG), ("train", f"data.root={LONG}", "data=folder"), ("study", f"{LONG}.toml"), (LONG,), ("extract", f"run=R/{LONG}"),
):  # fmt: skip
    add(
        f"a name of 5,000 letters: {' '.join(f'{word[:9]}...{word[-9:]}' if word.endswith(LONG[:9]) or len(word) > 99 else word for word in line)}",
        lambda world, line=line: line,
        said=LONG[:40],
    )

for what, name in NAMES:
    if "\0" not in name:
        add(f"a key with {what}", lambda world, name=name: ("train", f"{name[:5000]}=1"))
        add(f"a run folder with {what}", lambda world, name=name: ("report", f"run=x{name[:5000]}"))
        add(f"a value with {what}", lambda world, name=name: ("train", f"seed=x{name[:5000]}"))


def raw(world: World) -> None:
    """No cell of a table begins with a formula."""
    for name in ("front.csv", "trials.csv"):
        path = world.run / name
        if path.is_file():
            for row in csv.reader(path.read_text(encoding="utf-8", errors="replace").splitlines()):
                wrong = [
                    cell
                    for cell in row
                    if cell[:1] in ("=", "+", "@", "\t", "\r") or (cell[:1] == "-" and not _is_number(cell))
                ]
                assert not wrong, f"{name} has the cells {wrong}"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


for what, name in NAMES:

    def sampler(world: World, name: str = name) -> Iterable[str]:
        world.with_run().record(lambda record: record.update(origin={"kind": "sampler", "name": name}))
        return ("report", "run=R")

    def network(world: World, name: str = name) -> Iterable[str]:
        world.with_run().record(lambda record: record.update(origin={"kind": "given", "name": name}))
        return ("report", "run=R")

    def label(world: World, name: str = name) -> Iterable[str]:
        world.with_run().change(
            "R/run.json", lambda identity: identity.update(space_name=name, classes=[name] * 10, command=["nas", name])
        )
        return ("report", "run=R")

    def cost(world: World, name: str = name) -> Iterable[str]:
        world.with_run().change(
            "R/searches/small/search.json", lambda about: about["costs"][0].update(name=name, unit=name, about=name)
        )
        return ("report", "run=R")

    def model(world: World, name: str = name) -> Iterable[str]:
        world.with_run().record(lambda record: record.update(model=name), "references.jsonl")
        return ("report", "run=R")

    def role(world: World, name: str = name) -> Iterable[str]:
        world.with_run().record(lambda record: record.update(roles=[name]), "retrained.jsonl")
        return ("report", "run=R")

    def device(world: World, name: str = name) -> Iterable[str]:
        world.with_run().record(
            lambda record: record.update(cost=f"latency_ms@{name}", device=name, time=name), "measured.jsonl"
        )
        return ("report", "run=R")

    for place, prepare in (
        ("sampler", sampler),
        ("given network", network),
        ("space", label),
        ("cost", cost),
        ("model", model),
        ("role", role),
        ("device", device),
    ):
        add(
            f"the name of a {place} in a report is {what}",
            prepare,
            codes=(2,) if place in ("cost", "device") or what == "a long text" else (0,),
            after=raw,
        )


@case("the name of a class has escapes", codes=(0,), made=("new/",))
def class_name(world: World) -> Iterable[str]:
    world.with_space().with_images()
    (world.desk / "images" / "class0").rename(world.desk / "images" / ESCAPES.replace("/", ""))
    return (*ON_IMAGES, "data.resolution=8")


@case("a front.csv that is a folder leaves the other files of a report as they were")
def half_a_report(world: World) -> Iterable[str]:
    world.with_run()
    (world.run / "trials.csv").mkdir()
    return ("report", "run=R")


def no_half(world: World) -> None:
    assert not (world.run / "front.csv").exists()
    assert not (world.run / "report.html").exists()


add("a trials.csv that is a folder: no file of the report is written", half_a_report, after=no_half)

for words in (
    ("train", "run=a/b/c", "data=folder", "data.root=missing"), ("train", "run=a/b/c", "space=missing.toml"), ("train", "run=a/b/c", "seed=x"),
    ("train", "run=a/b/c", "data=digits", "data.resolution=8", "plugins=missing_module"), ("train", "run=a/b/c", "data=digits", "data.resolution=8", "budget=1"),
    ("search", "run=a/b/c"), ("extract", "run=a/b/c"), ("report", "run=a/b/c"), ("demo", "run=a/b/c", "search.samplers=x"), ("ablate", "run=a/b/c", "x"),
    ("train", "run=a/b/c", "data=digits", "data.resolution=8", "device=cuda:99"),
):  # fmt: skip
    add(f"no folder is left by nas {' '.join(words)[:70]}", lambda world, words=words: words)


@case("a configuration with every text from a stranger", said="'=1+1'")
def configured(world: World) -> Iterable[str]:
    put(world.desk / "config.toml", b'run = "new"\nspace = "\\u001B[2J{x}"\nplugins = []\n[data]\nname = "=1+1"\n')
    return ("train", "config.toml")
