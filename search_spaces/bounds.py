"""The least total of an additive cost over all members of a space that have a certain choice: no such member costs less.

A network is a chain: the state between two stages is the width and the size of the map. The least way to each state and the least way
onwards from it are found by dynamic programming over the stages, and a choice is bounded by the least way through it.

The bound is exact where nothing is tied. A block that has the choice is combined with the cheapest other blocks of the stage, which
may have other values of options that are chosen once per stage: the true least total may then be higher, never lower.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from search_spaces.architecture import SLOTS, Block, Part, Value
from search_spaces.space import NO_BIAS, SearchSpace, Slot, StageSpace, members
from search_spaces.units import NOTHING, Unit, block_units, canonical_unit, output_size, takes_bias

State = tuple[int, int, int]
"""Channels, height and width of the map between two stages."""

Price = Callable[[Unit], float]
"""What a unit adds to the total; infinite where that is not known."""


class Choice(NamedTuple):
    """One thing that can be chosen in a stage.

    Args:
        stage: its number; the number of stages for the head.
        place: "width", "depth", a slot of a block, "embedding", "position_bias" or "head".
        part: the part that is chosen there, or whose option is; empty for a width or depth.
        option: of the part; empty where the part itself is chosen.
        value: of the width, depth or option; 0 where a part is chosen.
    """

    stage: int
    place: str
    part: str = ""
    option: str = ""
    value: Value = 0


def least_totals(space: SearchSpace, price: Price, base: float = 0.0) -> dict[Choice, float]:
    """For each choice of a space, a total that no member which has it is below.

    Args:
        space: checked and bound to its data.
        price: of a unit; may be negative, so that the negative cost gives the greatest totals.
        base: what every member costs beside its units.

    Returns:
        Infinity for a choice whose members all have a unit of unknown price. Choices of blocks in a stage that has none are left out.

    Raises:
        NotImplementedError: a part has an operator whose cost is not known.
    """
    stages = [_Stage(stage, price) for stage in space.stages]
    before: list[dict[State, float]] = [{(space.in_channels, space.resolution, space.resolution): base}]
    for stage in stages:
        before.append(stage.reach(before[-1]))
    heads = {
        state: {part: price(canonical_unit("head", (part,), (state[0], space.num_classes), *state[1:])) for part in members(space.head)}
        for state in before[-1]
    }  # fmt: skip
    after: list[dict[State, float]] = [{state: min(found.values()) for state, found in heads.items()}]
    for stage in reversed(stages):
        after.append(stage.leave(after[-1]))
    after.reverse()
    found = _Least()
    for number, stage in enumerate(stages):
        stage.bound(number, before[number], after[number + 1], found)
    for state, parts in heads.items():
        for part, cost in parts.items():
            found.of_part(len(stages), "head", part, before[-1][state] + cost)
    offered = set(every_choice(space))  # without the options that parts leave out at their default
    return {choice: total for choice, total in found.totals.items() if choice in offered}


class _Least:
    """The least total that was met for each choice."""

    def __init__(self) -> None:
        self.totals: dict[Choice, float] = {}

    def of(self, choice: Choice, total: float) -> None:
        if total < self.totals.get(choice, math.inf) or choice not in self.totals:
            self.totals[choice] = total

    def of_part(self, stage: int, place: str, part: Part, total: float) -> None:
        self.of(Choice(stage, place, part.name), total)
        for key, value in part.values().items():
            self.of(Choice(stage, place, part.name, key, value), total)


class _Stage:
    """One stage: its steps from state to state, and the least that its blocks add."""

    def __init__(self, space: StageSpace, price: Price) -> None:
        self.space, self.price = space, price
        self.steps: list[tuple[State, Part, State, float]] = []  # from, embedding, to, price of the embedding
        self.inner: dict[
            State, dict[Part | None, tuple[float, _Blocks]]
        ] = {}  # by position bias: its price, and the blocks
        self.embeddings = members(space.embedding)
        biases = [None if part.name == NO_BIAS else part for part in members(space.position_bias)]
        self.biases: list[Part | None] = biases or [None]
        self.takes_bias = any(takes_bias(Part(choice.name)) for choice in space.blocks[SLOTS.index("mixer")])

    def reach(self, states: dict[State, float]) -> dict[State, float]:
        """The least totals behind the stage, from those before it."""
        found: dict[State, float] = {}
        for state in states:
            for part in self.embeddings:
                for width in self.space.width:
                    unit = canonical_unit("embedding", (part,), (state[0], width), *state[1:])
                    to = (width, *output_size(unit))
                    self.steps.append((state, part, to, self.price(unit)))
                    if to not in self.inner:
                        self.inner[to] = self._inside(to)
        for state, _, to, cost in self.steps:
            total = states[state] + cost + self._least_inside(to)
            found[to] = min(total, found.get(to, math.inf))
        return found

    def leave(self, states: dict[State, float]) -> dict[State, float]:
        """The least totals from before the stage to the end, from those behind it."""
        found: dict[State, float] = {}
        for state, _, to, cost in self.steps:
            total = cost + self._least_inside(to) + states[to]
            found[state] = min(total, found.get(state, math.inf))
        return found

    def _inside(self, state: State) -> dict[Part | None, tuple[float, "_Blocks"]]:
        found: dict[Part | None, tuple[float, _Blocks]] = {}
        blocks: dict[Part | None, _Blocks] = {}
        for bias in self.biases:
            taken = bias if self.takes_bias else None
            if taken not in blocks:
                blocks[taken] = _Blocks(self.space, self.price, state, taken)
            cost = (
                0.0 if bias is None else self.price(canonical_unit("position_bias", (bias,), (state[0],), *state[1:]))
            )
            found[bias] = cost, blocks[taken]
        return found

    def _least_inside(self, state: State) -> float:
        return min(
            cost + _times(depth, blocks.least)
            for cost, blocks in self.inner[state].values()
            for depth in self.space.depth
        )

    def bound(self, number: int, before: dict[State, float], after: dict[State, float], found: _Least) -> None:
        """Notes the least total of each choice of the stage."""
        arrived: dict[State, float] = defaultdict(lambda: math.inf)
        for state, part, to, cost in self.steps:
            arrived[to] = min(arrived[to], before[state] + cost)
            total = before[state] + cost + self._least_inside(to) + after[to]
            found.of_part(number, "embedding", part, total)
            found.of(Choice(number, "width", value=to[0]), total)
        for to, biases in self.inner.items():
            for bias, (cost, blocks) in biases.items():
                outside = arrived[to] + cost + after[to]
                for depth in self.space.depth:
                    total = outside + _times(depth, blocks.least)
                    found.of(Choice(number, "depth", value=depth), total)
                    if self.space.position_bias:
                        found.of_part(number, "position_bias", bias or Part(NO_BIAS), total)
                    if depth:
                        self._bound_blocks(number, outside, depth, blocks, found)

    def _bound_blocks(self, number: int, outside: float, depth: int, blocks: "_Blocks", found: _Least) -> None:
        """With one block that has the choice; with all of them where the choice is made once per stage."""
        for choice, one in blocks.least_of.items():
            if choice.place in self.space.per_stage:
                total = outside + depth * one
            elif choice.option and f"{choice.place}.{choice.part}.{choice.option}" in self.space.per_stage:
                total = outside + one + _times(depth - 1, blocks.least_beside(choice))
            else:
                total = outside + one + _times(depth - 1, blocks.least)
            found.of(choice._replace(stage=number), total)


ANY = -1
"""The stage of a choice that is any stage's."""


class _Blocks:
    """The least that one block adds on a map, in all and with each part in each slot."""

    def __init__(self, stage: StageSpace, price: Price, state: State, bias: Part | None) -> None:
        parts = {slot: members(choices) for slot, choices in zip(SLOTS, stage.blocks, strict=True)}
        plain = {slot: members[0] for slot, members in parts.items()} | {"position": NOTHING}

        def cost(kind: str, **chosen: Part) -> float:
            """Of one step of a block, which other parts than those given do not change; 0 where the block has no such step."""
            unit = dict(block_units(Block(**(plain | chosen)), *state, bias)).get(kind)
            return 0.0 if unit is None else price(unit)

        position = {part: cost("position", position=part) for part in parts["position"]}
        pairs = [(norm, scale) for norm in parts["norm"] for scale in parts["scale"]]
        mixer = {(n, s): {m: cost("mixer", norm=n, mixer=m, scale=s) for m in parts["mixer"]} for n, s in pairs}
        ffn = {(n, s): {f: cost("ffn", norm=n, ffn=f, scale=s) for f in parts["ffn"]} for n, s in pairs}
        both = {pair: min(mixer[pair].values()) + min(ffn[pair].values()) for pair in pairs}
        first, rest = min(position.values()), min(both.values())
        self.least = first + rest
        self.least_with: dict[str, dict[Part, float]] = {
            "position": {part: found + rest for part, found in position.items()},
            "norm": {norm: first + min(both[norm, scale] for scale in parts["scale"]) for norm in parts["norm"]},
            "scale": {scale: first + min(both[norm, scale] for norm in parts["norm"]) for scale in parts["scale"]},
            "mixer": {m: first + min(mixer[pair][m] + min(ffn[pair].values()) for pair in pairs) for m in parts["mixer"]},
            "ffn": {f: first + min(ffn[pair][f] + min(mixer[pair].values()) for pair in pairs) for f in parts["ffn"]},
        }  # fmt: skip
        self._beside: dict[Choice, float] = {}
        least = _Least()
        for slot, found in self.least_with.items():
            for part, one in found.items():
                least.of_part(ANY, slot, part, one)
        self.least_of = least.totals
        """The least of a block with each choice, as of a stage `ANY`."""

    def least_beside(self, choice: Choice) -> float:
        """The least of a block beside one that has the value of an option that all blocks with its part share."""
        if choice not in self._beside:
            self._beside[choice] = min(
                found
                for part, found in self.least_with[choice.place].items()
                if part.name != choice.part or part.values()[choice.option] == choice.value
            )
        return self._beside[choice]


def _times(number: int, one: float) -> float:
    """So many times, which is 0 for none even of what is infinite."""
    return number * one if number else 0.0


def remembered(of_unit: Callable[[Unit], float | None], sign: int = 1) -> Price:
    """A price from what a unit adds to a cost, looked up the second time.

    Args:
        sign: -1 for the negative cost, whose least totals are the greatest ones of the cost.
    """
    known: dict[Unit, float] = {}

    def price(unit: Unit) -> float:
        if unit not in known:
            found = of_unit(unit)
            known[unit] = math.inf if found is None else sign * found
        return known[unit]

    return price


def every_choice(space: SearchSpace) -> Iterable[Choice]:
    """Everything that can be chosen in a space, including choices with one value only."""
    for number, stage in enumerate(space.stages):
        yield from (Choice(number, "width", value=width) for width in stage.width)
        yield from (Choice(number, "depth", value=depth) for depth in stage.depth)
        slots = {"embedding": stage.embedding, "position_bias": stage.position_bias}
        for place, slot in (slots | dict(zip(SLOTS, stage.blocks, strict=True))).items():
            yield from _of_slot(number, place, slot)
    yield from _of_slot(len(space.stages), "head", space.head)


def _of_slot(number: int, place: str, slot: Slot) -> Iterator[Choice]:
    for choice in slot:
        yield Choice(number, place, choice.name)
        for key, values in choice.options:
            yield from (Choice(number, place, choice.name, key, value) for value in values)
