"""An example: a segmenter learns textured shapes that a formula draws, in a minute or two on one core.

    python -m nas.downstream.example [BACKBONE [STEPS]]

Disks have horizontal stripes, squares vertical ones and crosses a checkerboard, on a noisy ground of the same colours: no pixel tells its
class alone. With the defaults mIoU on fresh images is above `REACHED`.
"""

import sys
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nas.downstream.segmentation import Segmenter, intersection_over_union, mean_of_known
from nas.log import Progress, say

CLASSES = ("ground", "disk", "square", "cross")

BACKBONE, STEPS, BATCH, SIDE = "emsnet_xxtiny", 150, 8, 64

REACHED = 0.60
"""What mIoU of the defaults is above, whatever the seed of three that were tried."""


def drawn(
    count: int, source: torch.Generator, side: int = SIDE
) -> tuple[Float[Tensor, "n 3 s s"], Int64[Tensor, "n s s"]]:
    """Images with three shapes each, one of each class at random places and sizes, and their labels.

    Args:
        source: of everything random.
    """
    line = torch.arange(side)
    rows, columns = line[:, None].expand(side, side), line.expand(side, side)
    ground = torch.randint(0, 2, (count, side, side), generator=source)
    labels = torch.zeros(count, side, side, dtype=torch.int64)
    for image in range(count):
        for label in (1 + torch.randperm(3, generator=source)).tolist():
            radius = int(torch.randint(side // 8, side // 4, (), generator=source))
            top, left = torch.randint(radius, side - radius, (2,), generator=source).tolist()
            down, right = (rows - top).abs(), (columns - left).abs()
            inside = {
                1: down**2 + right**2 <= radius**2,
                2: torch.maximum(down, right) <= radius * 4 // 5,
                3: (torch.minimum(down, right) <= radius // 2) & (torch.maximum(down, right) <= radius),
            }[label]
            stripes = {1: rows // 2, 2: columns // 2, 3: (rows + columns) // 2}[label] % 2
            ground[image][inside] = stripes[inside]
            labels[image][inside] = label
    colours = torch.rand(count, 2, 3, generator=source)
    pixels = torch.where(ground[:, None] == 0, colours[:, 0, :, None, None], colours[:, 1, :, None, None])
    noise = 0.05 * torch.randn(count, 3, side, side, generator=source)
    return (pixels - 0.5) / 0.3 + noise, labels


def learned(backbone: str = BACKBONE, steps: int = STEPS, seed: int = 0) -> tuple[Segmenter, list[float]]:
    """Trains a segmenter from fresh weights.

    Returns:
        The segmenter, and its intersection over union of each class on 64 images that it has not seen.
    """
    source = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Segmenter.of(backbone, len(CLASSES))
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    progress = Progress(f"segmenter on {backbone}", steps)
    for step in range(1, steps + 1):
        optimiser.zero_grad()
        loss = model.loss(*drawn(BATCH, source))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        progress.update(step, step * BATCH, loss=loss.item())
    return model, intersection_over_union(
        _predictions(model.eval(), torch.Generator().manual_seed(seed + 10**6)), len(CLASSES)
    )


@torch.no_grad()
def _predictions(model: Segmenter, source: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(8):
        images, labels = drawn(8, source)
        yield model(images).argmax(dim=1), labels


def main() -> None:
    """Trains and prints what came out."""
    backbone = sys.argv[1] if len(sys.argv) > 1 else BACKBONE
    _, shares = learned(backbone, int(sys.argv[2]) if len(sys.argv) > 2 else STEPS)
    say(
        ", ".join(f"{name} {share:.3f}" for name, share in zip(CLASSES, shares, strict=True))
        + f"; mIoU {mean_of_known(shares):.3f}"
    )


if __name__ == "__main__":
    main()
