"""What the papers print of their networks as backbones of detectors, segmenters and keypoint estimators: parameters and GFLOPs.

Figures are text, because their digits say to how many they were rounded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

E2 = "_e2"
"""Ends the names of PartialFormers in the other reading (`search_spaces.papers.partialformer`)."""


@dataclass(frozen=True)
class Printed:
    """A row of a table.

    Args:
        table: where it is.
        task: a name in `nas.downstream.counting.TASKS`.
        network: the backbone, a network of the papers.
        params: in millions, as printed.
        macs: GFLOPs, as printed; empty for none.
        size: height and width of the image that GFLOPs are of, where it is not the task's.
        why: why a figure is not met, where it is known or can be guessed; a guess says so.
    """

    table: str
    task: str
    network: str
    params: str
    macs: str = ""
    size: tuple[int, int] | None = None
    why: str = ""

    @property
    def readings(self) -> tuple[str, ...]:
        """The networks that the text may mean: of a PartialFormer two, which differ in what it leaves open."""
        return (self.network, self.network + E2) if self.network.startswith("partialformer") else (self.network,)


def rounds_to(found: float, printed: str) -> bool:
    """Whether a number, rounded to as many decimals as were printed, is what was printed."""
    return f"{found:.{len(printed.partition('.')[2])}f}" == printed


def cut_to(found: float, printed: str) -> bool:
    """Whether a number is what was printed when its other digits are cut off instead of rounded."""
    scale = 10 ** len(printed.partition(".")[2])
    return math.floor(found * scale) == round(float(printed) * scale)


XT = "XT and T: XT's last width is our reading, because the text's contradicts its own parameters"
NO_SIZE = "the text does not say for which image its GFLOPs are"
HAT_T = "the tiny network has 0.57 M more in each of the paper's three tables, while the other three are met: presumably another network"
HAT_MACS = (
    "GFLOPs are reached neither with the windows and cells of classification nor with those that the text has for dense prediction, "
    "with attention's products or without"
)
LINGLO = "between the two forms of RP-CPE: fused, as shown, is below the printed figure; with parallel branches and their norms above it"
SMALLER = "torchvision's widths of the smaller maps; the text does not give its own"
OPEN = "the text leaves the ratios of foreground tokens and HeadMLP's expansion open"
UNKNOWN = "the tiny network is met, the larger ones are 0.4 to 0.7 % above the printed GFLOPs; the reason was not found"


def _rows(
    table: str,
    task: str,
    names: Sequence[str],
    params: str,
    macs: str = "",
    why: str = "",
    size: tuple[int, int] | None = None,
) -> list[Printed]:
    """Rows of one table from its columns, each one text; `macs` and `why` may be shorter."""
    gflops = macs.split() or [""] * len(names)
    return [
        Printed(table, task, name, one, other, size, why)
        for name, one, other in zip(names, params.split(), gflops, strict=True)
    ]


_EMS = ("emsnet_xxtiny", "emsnet_xtiny", "emsnet_tiny")
_MAT = tuple(f"mat_{number}" for number in range(1, 6))
_PF = tuple(f"partialformer_b{number}" for number in range(4))
_HAT = tuple(f"hat_net_{size}" for size in ("tiny", "small", "medium", "large"))
_LINGLO = tuple(f"linglo_b{number}" for number in range(3))
_TRANSX = tuple(f"transxnet_{size}" for size in ("tiny", "small", "base"))

PRINTED = (
    *_rows("dissertation, 3.3", "retinanet", _EMS, "11.7 12.4 14.7", "162.1 167.9 190.3", f"{XT}; {NO_SIZE}"),
    *_rows("dissertation, 3.4", "mask_rcnn", _EMS[1:], "23 25", "186 209", NO_SIZE),
    *_rows("dissertation, 4.5", "ssdlite", _MAT[:3], "6.4 10.5 16.7", "0.8 1.5 2.3", SMALLER),
    *_rows("dissertation, 4.6", "retinanet", _MAT[1:], "18 25 37 58", "164 172 191 217"),
    *_rows("dissertation, 4.7", "mask_rcnn", _MAT[1:], "29 35 47 68", "182 190 209 235"),
    *_rows("dissertation, 4.8", "semantic_fpn", _MAT[1:], "13 19 31 52", "98 107 127 154"),
    *_rows("dissertation, 5.4", "retinanet", _PF[1:], "16 29 44", "167 196 230", OPEN),
    *_rows("dissertation, 5.4", "mask_rcnn", _PF[1:], "26 39 54", "185 214 248", OPEN),
    *_rows("dissertation, 5.5", "ssdlite", _PF[:2], "5.0 8.0", "0.9 1.5", SMALLER),
    *_rows("dissertation, 5.6", "simple_baseline", _PF[1:], "9.8 23.0 38.4", "1.7 2.9 4.4"),
    *_rows("dissertation, 5.7", "semantic_fpn", _PF[1:], "10.8 23.5 38.4", "101.8 131.3 166.6", OPEN),
    *_rows("dissertation, 5.7", "upernet", _PF[1:], "34.8 48.6 64.5", "856.3 886.9 923.2", OPEN),
    *_rows("HAT-Net, 3", "semantic_fpn", _HAT, "15.9 29.5 46.7 66.8", "33.2 49.6 74.7 96.4", f"{HAT_T}; {HAT_MACS}", (512, 512)),
    *_rows("HAT-Net, 4", "retinanet", _HAT, "21.6 35.5 52.7 73.1", "212 286 405 519", f"{HAT_T}; {HAT_MACS}"),
    *_rows("HAT-Net, 4", "mask_rcnn", _HAT, "31.8 45.4 62.6 82.7", "231 305 424 537", f"{HAT_T}; {HAT_MACS}"),
    *_rows("LinGlo, 3", "retinanet", _LINGLO, "13.0 23.8 35.1", why=LINGLO),
    *_rows("LinGlo, 4", "semantic_fpn", _LINGLO, "7.6 17.8 29.1", why=LINGLO),
    *_rows("TransXNet, IV", "retinanet", _TRANSX, "22.4 36.6 58.0", "187 242 317", UNKNOWN),
    *_rows("TransXNet, IV", "mask_rcnn", _TRANSX, "32.5 46.5 67.6", "205 261 336", UNKNOWN),
)  # fmt: skip
"""All rows with figures that are legible. LinGlo prints no GFLOPs; TransXNet's table V has no body in the text at hand."""
