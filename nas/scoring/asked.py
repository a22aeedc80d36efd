"""The options of `nas evaluate`. Standard library only, so that wrong arguments are refused before torch is imported."""

from dataclasses import dataclass

from nas.config.keys import at_least, key
from nas.config.options import options_of
from search_spaces.errors import InputError, unknown
from search_spaces.textfiles import expanded

ALLOWED = (
    "the folder of a network (as extract, retrain or convert wrote it, or as timm saves one), a .safetensors file in such a folder, "
    "or timm/NAME"
)
"""What can be evaluated, for messages."""

PART_WORDS = {"val": "validation", "validation": "validation", "test": "test", "train": "train"}
"""Parts of a data source as they are typed."""

AUTO, DATA, IMAGENET = "auto", "data", "imagenet"


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Options of `nas evaluate`.

    Raises:
        InputError: an option has a value that cannot be used.
    """

    run: str = key(
        "", "folder of a run, whose images and split are taken; or data=NAME and data.KEY=VALUE for a data source"
    )
    part: str = key("val", "part of the images: val, train, or test, which is read only when it is named here")
    preprocess: str = key(
        AUTO,
        "how images are resized and normalised. auto: as the network was trained, which its folder says; data: by the mean and the standard "
        "deviation of the data source's training images; imagenet: ImageNet's constants, 87.5 % of the short side, bicubic",
    )
    resolution: int = key(0, "side of the images in pixels; 0 is what each network is made for")
    limit: int = key(0, "only the first so many images of the part, which are a stratified sample; 0 for all")
    batch_size: int = key(64, "images at once")
    seed: int = key(0, "seed of the split of a data source that has no parts of its own")
    pretrained: bool = key(
        True, "timm/NAME comes with timm's pretrained weights; false takes fresh weights, which can only guess"
    )
    device: str = key("auto", "auto, cpu, or a torch device such as cuda:0")
    threads: int = key(1, "threads of torch; 0 takes the number of cores")
    plugins: tuple[str, ...] = key((), "modules to import first, whose parts register themselves")
    out: str = key("", "a .json or .csv file to write the scores to")

    def __post_init__(self) -> None:
        at_least(self, limit=0, batch_size=1, seed=0, threads=0, resolution=0)
        if self.part not in PART_WORDS:
            raise unknown("part", self.part, PART_WORDS, "part={}")
        if self.preprocess not in (AUTO, DATA, IMAGENET):
            raise unknown("value for preprocess:", self.preprocess, (AUTO, DATA, IMAGENET), "preprocess={}")
        if self.out and expanded(self.out).suffix not in (".json", ".csv"):
            raise InputError(f"out={self.out}", "a path that ends in .json or .csv", f"out={self.out}.csv")


def parse(arguments: list[str]) -> tuple[Scored, list[str], list[str]]:
    """The options, the words about data, and the networks of `nas evaluate`.

    Raises:
        InputError: no network, no images or two sources of them, or an option that is unknown or has a wrong value.
    """
    asked, data, names = options_of(Scored, arguments, "evaluate", ("data",))
    if not names:
        raise InputError("nas evaluate is given no network", ALLOWED, "nas evaluate models/DIGEST run=RUN")
    allowed = "run=RUN, or a data source: data=folder data.root=IMAGES"
    if not asked.run and not data:
        raise InputError("nas evaluate is given no images", allowed, f"nas evaluate {names[0]} run=RUN")
    free = ("data.root=", "data.workers=")
    if asked.run and (bound := [word for word in data if not word.startswith(free)]):
        raise InputError(
            f"{bound[0]} beside run={asked.run}, whose images are those of its split",
            "one source of images; beside a run only data.root, where its images have moved to, and data.workers",
            f"leave out run={asked.run} or {bound[0]}",
        )
    return asked, data, names
