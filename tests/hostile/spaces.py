"""Spaces, architectures and configurations that ask for too much."""

import json
from collections.abc import Iterable

from tests.command_line import SPACE
from tests.hostile.case import add, case
from tests.hostile.world import World, put

BIG = 10**9


def space(name: str, text: str, *, verb: str = "spaces") -> None:
    """A case with the text of a space."""

    def prepare(world: World) -> Iterable[str]:
        world.with_space(text)
        if verb == "spaces":
            return ("spaces", "space.toml")
        return ("train", "run=new", "space=space.toml", "data=digits", "data.resolution=8")

    said = {"a width of 15,000": "supernet of space tiny", "a kernel of 10,001": "'depthwise_conv'"}.get(name, "")
    # Showing a space takes no memory for its weights; what is large, and not absurd, is refused where a supernet would be made.
    add(
        f"a space with {name} ({verb})",
        prepare,
        codes=(0,) if verb == "spaces" and "15,000" in name else (2,),
        said=said,
    )


def changed(old: str, new: str) -> str:
    assert old in SPACE
    return SPACE.replace(old, new)


def ems(options: str) -> str:
    """The space with one more mixer that has branches."""
    return changed("mixer = [\n", f'mixer = [\n    {{ part = "ems", {options} }},\n')


TOO_MUCH = {
    "a depth of a billion": changed("depth = [1, 2]", f"depth = [1, {BIG}]"),
    "a depth of 100,000": changed("depth = [1, 2]", "depth = [100000]"),
    "a width of 15,000": changed("width = [16, 32]", "width = [15000]"),
    "a width of a billion": changed("width = [16, 32]", f"width = [16, {BIG}]"),
    "a million widths": changed("width = [16, 32]", f"width = [{', '.join(str(8 * k) for k in range(1, 100_000))}]"),
    "a billion branches": ems(f"num_branches = {BIG}"),
    "a kernel of a billion": changed("kernel_size = [3, 5]", f"kernel_size = [{BIG + 1}]"),
    "a kernel of 10,001": changed("kernel_size = [3, 5]", "kernel_size = [10001]"),
    "a ratio of a billion": changed("ratio = [1, 2]", f"ratio = [{BIG}]"),
    "a ratio of 1e308": changed("ratio = [1, 2]", "ratio = [1e308]"),
    "a ratio that is no number": changed("ratio = [1, 2]", "ratio = [nan]"),
    "a head of a billion": changed('"global_attention", head_dim = 8', f'"global_attention", head_dim = {BIG}'),
    "a stride of a billion": changed("stride = 2", f"stride = {BIG}"),
    "negative widths": changed("width = [16, 32]", "width = [-16]"),
    "a width of zero": changed("width = [16, 32]", "width = [0]"),
    "a fraction as depth": changed("depth = [1, 2]", "depth = [1.5]"),
    "a width of 5,000 digits": changed("width = [16, 32]", f"width = [{'9' * 5000}]"),
    "a thousand stages": SPACE + SPACE[SPACE.index("[[stages]]") :] * 1000,
    "ten thousand stages": SPACE
    + '[[stages]]\nwidth = [8]\ndepth = [1]\nembedding = [{ part = "conv_stem", stride = 1 }]\n' * 10_000,
    "a million choices of one part": changed(
        "kernel_size = [3, 5]", f"kernel_size = [{', '.join(str(2 * k + 1) for k in range(50_000))}]"
    ),
    "ten thousand mixers": changed("mixer = [\n", "mixer = [\n" + '    { part = "pooling" },\n' * 10_000),
    "products of options": ems(", ".join(f"o{k} = [{', '.join(map(str, range(100)))}]" for k in range(20))),
    "lists inside each other": changed("width = [16, 32]", f"width = {'[' * 100_000}{']' * 100_000}"),
    "tables inside each other": changed("ffn = [", f"ffn = [{'{a=[' * 50_000}"),
    "a key of 100,000 parts": SPACE.replace("name = ", f"{'a.' * 100_000}b = 1\nname = "),
    "one key twice": 'name = "a"\n' + SPACE,
    "a name of a million letters": changed('"tiny"', f'"{"a" * 10**6}"'),
    "a name with escapes": changed('"tiny"', '"\\u001B[2J\\u202e"').replace("ffn", "fnn"),
    "a text in place of a table": changed("[block]", "block = 1\n[other]"),
    "fifty megabytes": SPACE + "# " + "a" * (50 * 2**20),
    "an empty text": "",
    "a zero byte": SPACE + "\0",
    "text saved as UTF-16": SPACE.encode("utf-16").decode("latin-1"),
}

for what, text in TOO_MUCH.items():
    space(what, text)
for what in (
    "a depth of a billion",
    "a width of 15,000",
    "a depth of 100,000",
    "a billion branches",
    "a head of a billion",
):
    space(what, TOO_MUCH[what], verb="train")


def arch(name: str, change: object) -> None:
    """A case with a changed architecture."""

    def prepare(world: World) -> Iterable[str]:
        world.with_network()
        description = json.loads((world.desk / "net" / "arch.json").read_text())
        change(description)  # type: ignore[operator]
        put(world.desk / "arch.json", json.dumps(description).encode())
        return ("cost", "arch.json")

    add(f"an architecture with {name}", prepare)


def many_blocks(description: dict) -> None:  # type: ignore[type-arg]
    stage = description["stages"][0]
    stage["blocks"] = stage["blocks"] * 100_000


arch("a width of 15,000", lambda d: d["stages"][0].update(width=15_000, blocks=d["stages"][0]["blocks"] * 20))
arch("a width of a billion", lambda d: d["stages"][0].update(width=BIG))
arch("a hundred thousand blocks", many_blocks)
arch("a billion classes", lambda d: d.update(num_classes=BIG))
arch("an image of a billion pixels a side", lambda d: d.update(resolution=BIG))
arch("a kernel of a billion", lambda d: d["stages"][0]["blocks"][0]["mixer"].update(kernel_size=BIG + 1))
arch("a ratio of 1e300", lambda d: d["stages"][0]["blocks"][0]["ffn"].update(ratio=1e300))
arch("a negative width", lambda d: d["stages"][0].update(width=-8))
arch("no stages", lambda d: d.update(stages=[]))
arch("a text as width", lambda d: d["stages"][0].update(width="16"))
arch("true as depth", lambda d: d.update(in_channels=True))

HUGE = ("100000000000000000000", "9" * 5000, "-1", "nan", "[" * 5000, "１２")

KEYS = (
    "threads", "seed", "data.resolution", "data.workers", "train.epochs", "train.batch_size", "train.random_paths", "train.checkpoint_steps",
    "train.processes",
)  # fmt: skip


def word(key: str, value: str) -> None:
    def prepare(world: World) -> Iterable[str]:
        world.with_space()
        rest = [other for other in ("data.resolution=8", "data=digits") if not other.startswith(key + "=")]
        return ("train", "run=new", "space=space.toml", *rest, f"{key}={value}")

    add(f"{key}={value[:20]}", prepare)


for key in KEYS:
    for value in HUGE:
        word(key, value)

SEARCH_KEYS = (
    "search.evaluations",
    "search.population",
    "search.batch",
    "search.calibration_images",
    "search.batch_size",
    "search.seed",
)

for key in (*SEARCH_KEYS, "retrain.epochs", "retrain.jobs", "retrain.processes", "retrain.seeds", "retrain.points"):

    def asked(world: World, key: str = key) -> Iterable[str]:
        world.with_run()
        verb = key.partition(".")[0]
        return (verb, "run=R", *(["search=new"] if verb == "search" else []), f"{key}=100000000000000000000")

    add(f"{key}=100000000000000000000", asked)


@case("a budget of a billion limits")
def budgets(world: World) -> Iterable[str]:
    world.with_run()
    return ("search", "run=R", "search=new", "budget=" + ",".join(f"macs{k}=1M" for k in range(10_000)))


@case("an expression of parentheses as a choice")
def picks(world: World) -> Iterable[str]:
    world.with_run()
    return ("extract", "run=R", "pick=" + "(" * 10_000)


@case("a profile whose tables are inside each other")
def profile(world: World) -> Iterable[str]:
    put(world.desk / "profile.json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    return ("spaces", "digits", "search.profiles=profile.json")
