"""Blocks as coloured cells, one colour and two letters for each token mixer."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from nas.reporting.markup import Html, h
from search_spaces.architecture import Architecture, Block, Part

CELLS = ("#77AADD", "#EE8866", "#EEDD88", "#FFAABB", "#99DDFF", "#44BB99", "#BBCC33", "#AAAA00", "#DDDDDD")
"""Colours of the cells: Paul Tol's "light" scheme, told apart by colour-blind readers and fit for dark letters."""


@dataclass(frozen=True, slots=True)
class Mixers:
    """The token mixers of a run, and the two characters of each on its coloured cell."""

    codes: dict[str, str]

    @classmethod
    def of(cls, architectures: Iterable[Architecture]) -> "Mixers":
        """Codes for all mixers in the architectures, no two alike: initials where a name has several words."""
        codes: dict[str, str] = {}
        for name in sorted({block.mixer.name for a in architectures for stage in a.stages for block in stage.blocks}):
            words = re.findall(r"[A-Za-z0-9]+", name) or ["x"]
            letters = "".join(words)
            wishes = [words[0][0] + words[1][0]] if len(words) > 1 else []
            wishes += [letters[0] + other for other in letters[1:]]
            wishes += [f"{letters[0]}{number}" for number in range(2, len(codes) + 4)]
            codes[name] = next(w for wish in wishes if (w := wish.capitalize()) not in codes.values())
        return cls(codes)

    def colour(self, name: str) -> str:
        number = list(self.codes).index(name)
        return f"k{number % len(CELLS)}{' again' * (number >= len(CELLS))}"

    def cell(self, block: Block, where: str) -> Html:
        """A block as a coloured cell, which says on hover everything about the block."""

        def said(part: Part) -> str:
            options = ", ".join(f"{key}={json.dumps(value)}" for key, value in part.options)
            return f"{part.name}({options})" if options else part.name

        slots = (f"{slot}: {said(getattr(block, slot))}" for slot in ("mixer", "ffn", "position", "norm", "scale"))
        name = block.mixer.name
        return h("span", self.codes[name], class_=f"cell {self.colour(name)}", title="\n".join((where, *slots)))

    def legend(self) -> Html:
        cells = {name: h("span", code, class_=f"cell {self.colour(name)}") for name, code in self.codes.items()}
        return h("ul", *(h("li", cell, name) for name, cell in cells.items()), class_="legend")

    def columns(self, arch: Architecture, stages: int) -> list[Html]:
        """A table cell for each of so many stages: blocks x width, and a coloured cell a block."""
        columns = []
        for number, stage in enumerate(arch.stages, 1):
            cells = [self.cell(block, f"stage {number}, block {k}") for k, block in enumerate(stage.blocks, 1)]
            names = ", ".join(block.mixer.name for block in stage.blocks) or "no blocks"
            size = h("span", f"{len(stage.blocks)} × {stage.width}", class_="size")
            squares = h("span", *cells, class_="cells", role="img", aria_label=f"stage {number}: {names}")
            columns.append(h("td", size, squares))
        return columns + [h("td")] * (stages - len(columns))
