"""Many architectures at once, as a matrix of genes: which columns choose a part, and the number of every choice.

A slot offers members: each part that may stand there, with each combination of its options. Numbering the members makes a choice one
integer, which indexes tables of costs and of probabilities. The genes of a slot stand in other columns for each block, unless the space
ties them over the stage.
"""

import itertools
import math

import numpy as np

from search_spaces.architecture import SLOTS
from search_spaces.space import NO_BIAS, PartChoice, Place, SearchSpace, Slot, members

NOT_OFFERED: Slot = (PartChoice(NO_BIAS),)
"""The slot of a position bias where a stage offers none."""

NO_PLACE = Place("", NOT_OFFERED, (NO_BIAS,), {NO_BIAS: {}})
"""Where that slot stands: no gene chooses anything there."""


class SizeGene:
    """A choice that is no part: the width or the depth of a stage.

    Args:
        values: to choose from, ascending.
        column: of the gene; None where there is only one value.
    """

    def __init__(self, values: tuple[int, ...], column: int | None) -> None:
        self.values, self.column = np.array(values), column
        self.log_prior = np.full(len(values), -math.log(len(values)))

    def read(self, genes: np.ndarray) -> np.ndarray:
        """Number of the chosen value in every row of a matrix of genes."""
        return np.zeros(len(genes), np.intp) if self.column is None else genes[:, self.column].astype(np.intp)

    def write(self, genes: np.ndarray, chosen: np.ndarray) -> None:
        """Sets the gene in every row."""
        if self.column is not None:
            genes[:, self.column] = chosen


class SlotGenes:
    """The members of a slot, and where its genes stand for each block.

    Args:
        slot: the parts that the space offers.
        columns: the column of every gene, by name.
        places: where it stands, one for each block; one where it does not belong to blocks.
        ties: "PART.OPTION" of each option that is tied over the blocks of a stage.
        whole: whether the part is tied over the blocks, too.

    Attributes:
        members: every part that may stand here, by number. The last option varies fastest.
        part_of: number of the part, by member.
        starts: number of the first member, by part.
        sizes, strides: for each part and option, the number of its values and the distance of members that differ in it by one.
        part_column: of the part's gene for each block; None where there is one part.
        option_columns: the same for each part and option.
        tied_options: (part, option) of each choice that the blocks of a stage share although they may have different parts.
        log_prior: of each member, where every gene is drawn uniformly: the natural logarithm of its probability.
    """

    def __init__(
        self, slot: Slot, columns: dict[str, int], places: list[Place], ties: frozenset[str] = frozenset(), whole: bool = False
    ) -> None:  # fmt: skip
        self.members = tuple(members(slot))
        self.sizes = [tuple(len(values) for _, values in choice.options) for choice in slot]
        self.strides = [tuple(math.prod(sizes[n + 1 :]) for n in range(len(sizes))) for sizes in self.sizes]
        counts = [math.prod(sizes) for sizes in self.sizes]
        self.starts = np.array([0, *itertools.accumulate(counts)][:-1], np.intp)
        self.part_of = np.repeat(np.arange(len(slot)), counts)
        self.log_prior = np.repeat([-math.log(len(slot)) - math.log(count) for count in counts], counts)
        self.whole = whole

        def column(names: list[str], size: int) -> np.ndarray | None:
            return np.array([columns[name] for name in names], np.intp) if size > 1 else None

        def option(part: str, key: str, size: int) -> np.ndarray | None:
            return column([place.options[part][key] for place in places], size)

        self.part_column = column([place.name for place in places], len(slot))
        self.option_columns = [[option(c.name, key, len(values)) for key, values in c.options] for c in slot]
        self.tied_options = [
            (part, number)
            for part, choice in enumerate(slot)
            for number, (key, values) in enumerate(choice.options)
            if len(values) > 1 and f"{choice.name}.{key}" in ties and not whole
        ]

    def value(self, part: int, option: int, members: np.ndarray) -> np.ndarray:
        """Number of the value that an option of a part has in these members of that part."""
        return (members - self.starts[part]) // self.strides[part][option] % self.sizes[part][option]

    def read(self, genes: np.ndarray, rows: np.ndarray, blocks: np.ndarray) -> np.ndarray:
        """Number of the member that stands in each of these blocks.

        Args:
            genes: (architectures, genes).
            rows, blocks: of the same length: number of the architecture, and of the block in its stage.
        """
        part = np.zeros(len(rows), np.intp)
        if self.part_column is not None:
            part = genes[rows, self.part_column[blocks]].astype(np.intp)
        found = self.starts[part]
        for number, columns in enumerate(self.option_columns):
            if any(column is not None for column in columns):
                here = slice(None) if self.part_column is None else np.flatnonzero(part == number)
                r, b, total = rows[here], blocks[here], found[here]
                for column, stride in zip(columns, self.strides[number], strict=True):
                    if column is not None:
                        total = total + genes[r, column[b]].astype(np.intp) * stride
                found[here] = total
        return found

    def write(self, genes: np.ndarray, rows: np.ndarray, blocks: np.ndarray, members: np.ndarray) -> None:
        """The inverse of `read`: sets the genes that matter for these members, and no others."""
        parts = self.part_of[members]
        if self.part_column is not None:
            genes[rows, self.part_column[blocks]] = parts
        for part, columns in enumerate(self.option_columns):
            if any(column is not None for column in columns):
                here = np.flatnonzero(parts == part)
                for option, column in enumerate(columns):
                    if column is not None:
                        genes[rows[here], column[blocks[here]]] = self.value(part, option, members[here])


class StageGenes:
    """The choices of one stage.

    Attributes:
        width, depth, embedding, bias: of the stage. `bias` has one member, "none", where the stage offers no position bias.
        slots: of the blocks, by the names in `SLOTS`.
        blocks: of the deepest member.
    """

    def __init__(self, space: SearchSpace, number: int, columns: dict[str, int]) -> None:
        stage, here = space.stages[number], f"s{number}"
        self.width = SizeGene(stage.width, columns.get(f"{here}.width"))
        self.depth = SizeGene(stage.depth, columns.get(f"{here}.depth"))
        self.blocks = stage.depth[-1]
        self.embedding = SlotGenes(stage.embedding, columns, [space.place(number, "embedding")])
        bias = space.place(number, "position_bias") if stage.position_bias else NO_PLACE
        self.bias = SlotGenes(stage.position_bias or NOT_OFFERED, columns, [bias])
        self.slots = {}
        shared = {*stage.per_stage, *space.per_network}
        for slot, offered in zip(SLOTS, stage.blocks, strict=True):
            places = [space.place(number, slot, block) for block in range(self.blocks)]
            ties = frozenset(tie.removeprefix(f"{slot}.") for tie in shared if tie.startswith(f"{slot}."))
            self.slots[slot] = SlotGenes(offered, columns, places, ties, slot in shared)


class GeneMatrix:
    """How the genes of a space lie in the columns of a matrix (architectures, genes).

    Attributes:
        stages, head: their choices.
        sizes: number of choices of each gene.
        dtype: small integers that hold every choice.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        columns = {gene.name: number for number, gene in enumerate(space.genes)}
        self.stages = [StageGenes(space, number, columns) for number in range(len(space.stages))]
        self.head = SlotGenes(space.head, columns, [space.place(len(space.stages), "head")])
        self.sizes = np.array([len(gene.choices) for gene in space.genes], np.int64)
        self.dtype = np.dtype(np.int16 if self.sizes.max(initial=0) <= 2**15 else np.int32)

    def check(self, genes: np.ndarray) -> None:
        """
        Raises:
            ValueError: not whole numbers of the shape (architectures, genes), or a choice that a gene does not have.
        """
        if genes.ndim != 2 or genes.shape[1] != len(self.sizes) or genes.dtype.kind not in "iu":
            raise ValueError(f"{genes.dtype} of shape {genes.shape} for indices of {len(self.sizes)} genes")
        if genes.size:
            least, most = genes.min(axis=0), genes.max(axis=0)
            wrong = np.flatnonzero((least < 0) | (most >= self.sizes))
            if len(wrong):
                gene, found = self.space.genes[wrong[0]], (least[wrong[0]], most[wrong[0]])
                raise ValueError(f"{gene.name} has {len(gene.choices)} choices, not indices from {found[0]} to {found[1]}")  # fmt: skip


__all__ = ["NOT_OFFERED", "GeneMatrix", "SizeGene", "SlotGenes", "StageGenes"]
