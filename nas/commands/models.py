"""`nas models`: the papers' networks, with the printed figures and our counts."""

from collections.abc import Iterable
from typing import NamedTuple

from nas.log import say
from search_spaces.costs.pieces import cost
from search_spaces.costs.published import macs_by_rule
from search_spaces.papers import PaperNetwork, paper_network, paper_networks
from search_spaces.reparameterisation import reparameterised


class Counted(NamedTuple):
    """Parameters, MACs by our own rule, and MACs by the rule behind the printed ones."""

    params: int
    macs: int
    macs_as_published: int


def count(network: PaperNetwork) -> Counted:
    """Counts at 224 x 224, for 1,000 classes, in the form that runs (parallel branches merged)."""
    found = cost(reparameterised(network.arch))
    by_rule = found.macs if network.rule == "ours" else macs_by_rule(network.arch, network.rule)
    return Counted(found.params, found.macs, by_rule + network.uncomputed)


def _error(found: float, printed: float | None) -> str:
    return "" if printed is None else f"{(found / printed - 1) * 100:+.2f}"


HEADINGS = (
    "network", "params M", "printed", "err %", "MACs G", "as publ.", "printed", "err %", "top-1", "source",
)  # fmt: skip
ABOUT = """
params and MACs at 224 x 224, one image, 1,000 classes; MACs are the papers' FLOPs. printed: what the paper prints, err % of it.
MACs: our count, with attention products and dynamic convolutions. as publ.: by the rule of the counter behind the printed figure:
HAT-Net and TransXNet by module hooks (biases and norms counted; attention products, dynamic convolutions and LayerScale not),
the dissertation's by products as ours. nas dense prints their figures as backbones of detectors and segmenters. top-1: ImageNet-1K in per cent as printed; none was measured here."""


def rows(networks: Iterable[PaperNetwork]) -> list[tuple[str, ...]]:
    """The table's cells."""
    found = []
    for network in networks:
        params, macs, published = count(network)
        found.append(
            (
                network.name + ("" if not network.note else " *"),
                f"{params / 1e6:.3f}",
                "" if network.params is None else str(network.params),
                _error(params / 1e6, network.params),
                f"{macs / 1e9:.3f}",
                "" if network.macs is None else f"{published / 1e9:.3f}",
                "" if network.macs is None else str(network.macs),
                _error(published / 1e9, network.macs),
                "" if network.top1 is None else str(network.top1),
                network.source,
            )
        )
    return found


def models(name: str = "") -> None:
    """Prints the table, rows of ablations below, and notes; or one network, with its architecture as JSON.

    Raises:
        InputError: no such network; the nearest name is offered.
    """
    networks = [paper_network(name)] if name else paper_networks(ablations=True)
    cells = rows(networks)
    widths = [max(map(len, column)) for column in zip(HEADINGS, *cells, strict=True)]

    def line(row: Iterable[str]) -> str:
        aligned = [
            cell.ljust(width) if i in (0, len(widths) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()

    say(line(HEADINGS))
    say("-" * (sum(widths) + 2 * (len(widths) - 1)))
    for row in cells:
        say(line(row))
    say(ABOUT)
    notes: dict[str, list[str]] = {}
    for network in networks:
        if network.note:
            notes.setdefault(network.note, []).append(network.name)
    if notes:
        say("")
    for note, names in notes.items():
        say(f"* {', '.join(names)}: {note}")
    if name:
        say("\n" + networks[0].arch.to_json(indent=1))
