"""Options of `nas export`. Standard library only."""

from dataclasses import dataclass

from nas.config.keys import key, one_of
from nas.export import OPSET, Plan, check_format
from nas.networks.asked import Networks
from search_spaces.errors import InputError

DYNAMIC = "dynamic"
"""The value of a size that is left open."""

FORMS = ("inference", "merged", "trained")


@dataclass(frozen=True, kw_only=True)
class Exported(Networks):
    """Options of `nas export`.

    Raises:
        InputError: an option has a value that cannot be used.
    """

    format: tuple[str, ...] = key(("onnx",), "formats: onnx, pt2, openvino, or the dotted path of a format")
    out: str = key("", "folder to write to; by default that of each network, or exported for those without one")
    batch: str = key(DYNAMIC, "images at once: dynamic, which leaves their number open, or a number")
    resolution: str = key(  # type: ignore[assignment]
        "",
        "side of the image in pixels, by default that which each network is made for (files for another side are named after it); or dynamic, "
        "which leaves both sides open",
    )
    opset: int = key(OPSET, "version of the ONNX operators")
    form: str = key(
        "inference",
        "what is written: inference (norms folded, branches merged), merged (branches merged, norms as they are) or trained (as it is)",
    )
    weights: str = key(
        "", "file in the network's folder, such as retrained-scratch-0.safetensors; by default model.safetensors"
    )

    def __post_init__(self) -> None:
        if not self.format or len(set(self.format)) != len(self.format):
            raise InputError(f"format={','.join(self.format)}", "one or more, each once", "format=onnx,pt2")
        for name in self.format:
            check_format(name)
        _number("batch", self.batch, DYNAMIC)
        _number("resolution", self.resolution, DYNAMIC, "")
        one_of(self, form=FORMS)
        if self.weights != self.weights.rpartition("/")[2] or self.weights in (".", ".."):
            raise InputError(
                f"weights={self.weights}", "the name of a file in the network's folder", "weights=model.safetensors"
            )
        self.plan()
        self.networks()

    def plan(self) -> Plan:
        """What the files have to take."""
        return Plan(0 if self.batch == DYNAMIC else int(self.batch), self.resolution == DYNAMIC, self.opset)

    def networks(self) -> Networks:
        """Which networks are asked about, as other commands take them."""
        side = int(self.resolution) if self.resolution.isdecimal() else 0
        return Networks(
            space=self.space, sample=self.sample, seed=self.seed, genes=self.genes, member=self.member,
            resolution=side, plugins=self.plugins,
        )  # fmt: skip


def _number(name: str, text: str, *words: str) -> None:
    """
    Raises:
        InputError: the text is neither one of the words nor a whole number from 1 up.
    """
    if text not in words and (not text.isdecimal() or len(text) > 9 or int(text) == 0):
        raise InputError(f"{name} is {text!r}", f"{DYNAMIC}, or a whole number from 1 up", f"{name}={DYNAMIC}")
