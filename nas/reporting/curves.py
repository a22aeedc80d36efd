"""The charts of results against evaluations, and the hypervolume that one of them shows."""

from collections.abc import Iterable, Mapping, Sequence

from nas.goals.pareto import hypervolume, hypervolume_curve
from nas.records import Evaluation
from nas.reporting.chart import Chart, Layer, Mark, Scale, extent
from nas.reporting.charts import looks
from nas.reporting.findings import SearchFindings
from nas.reporting.words import SCORE_NAMES, plural, sampler_name

Box = dict[str, float]
"""The end of a box on each objective but top-1, where it is 1 - 0; the other end is 0."""


def box(searches: Iterable[SearchFindings]) -> Box:
    """The box that hypervolume is a share of: the same for all given searches, which have the same objectives.

    It ends a tenth beyond the limit of a cost, or else beyond the largest candidate, and at the largest candidate's loss.
    """
    ends: Box = {}
    for search in searches:
        for objective in search.objectives:
            if objective.up:
                continue
            known = [objective.of(trial) for trials in search.candidates.values() for trial in trials]
            end = max((value for value in known if value is not None), default=0.0)
            if objective.is_cost:
                end = 1.1 * (search.budget.limit(objective.name) or end)
            ends[objective.name] = max(end, ends.get(objective.name, 0.0))
    return {name: end if end > 0 else 1.0 for name, end in ends.items()}


def _place(trial: Evaluation, search: SearchFindings, ends: Box) -> tuple[float, ...]:
    """In the unit box, where 0 is best; in its worst corner when it may not win."""
    if not search.may_win(trial):
        return (1.0,) * len(search.objectives)
    values = ((objective, objective.of(trial)) for objective in search.objectives)
    return tuple(1 - (v or 0.0) if o.up else max(0.0, v or 0.0) / ends[o.name] for o, v in values)


def share(search: SearchFindings, ends: Box) -> float:
    """Hypervolume of the whole Pareto front, as a share of the box."""
    return hypervolume([_place(t, search, ends) for t in search.front], (1.0,) * len(search.objectives))


def hypervolume_curves(search: SearchFindings, ends: Box) -> dict[str, list[float]]:
    """Per sampler, its hypervolume after each evaluation, as a share of the box. What may not win adds nothing."""
    corner = (1.0,) * len(search.objectives)
    return {
        name: hypervolume_curve([_place(trial, search, ends) for trial in trials], corner)
        for name, trials in search.candidates.items()
    }


def _layer(name: str, values: Sequence[float | None], look: tuple[str, str], digits: int) -> Layer:
    """A staircase of values after each evaluation; it begins with the first that is there."""
    known = [(n, value) for n, value in enumerate(values) if value is not None]
    # The last evaluation and those that changed the value draw the whole staircase.
    turns = [(n, v) for k, (n, v) in enumerate(known) if k in (0, len(known) - 1) or v != known[k - 1][1]]
    titles = {n: f"{sampler_name(name)}\n{plural(n + 1, 'evaluation')}: {v:.{digits}f}" for n, v in turns}
    marks = tuple(Mark(x=n + 1, y=value, title=titles[n]) for n, value in turns)
    return Layer(name=sampler_name(name), colour=look[0], shape=look[1], marks=marks, size=0.5, step=True)


def hypervolume_chart(curves: Mapping[str, Sequence[float]]) -> Chart:
    layers = [_layer(name, curve, looks(curves)[name], 4) for name, curve in curves.items()]
    ends = ", ".join(f"{sampler_name(name)} {curve[-1]:.4f} after {len(curve)}" for name, curve in curves.items())
    return Chart(
        x_name="evaluations of the sampler",
        y_name="hypervolume",
        x=Scale.over([0, *map(len, curves.values())]),
        y=Scale.over(extent(layers)),
        layers=tuple(layers),
        description=f"Hypervolume of the Pareto front against the number of evaluations. It ends at: {ends}.",
        counts=True,
    )


def best_chart(search: SearchFindings) -> Chart | None:
    """The best score so far of each sampler, for a search with one objective. None before anything may win."""
    layers, score = [], search.score
    for name, trials in search.candidates.items():
        best: float | None = None
        values = []
        for trial in trials:
            value = getattr(trial, score.name)
            if search.may_win(trial) and (best is None or (value > best if score.up else value < best)):
                best = value
            values.append(best)
        layer = _layer(name, values, looks(search.candidates)[name], 3)
        if layer.marks:
            layers.append(layer)
    if not layers:
        return None
    scale, word = Scale.over(extent(layers)), SCORE_NAMES[score.name]
    ends = ", ".join(f"{layer.name} {layer.marks[-1].y:.3f}" for layer in layers)
    return Chart(
        x_name="evaluations of the sampler",
        y_name=f"best search-validation {word} so far{'' if score.up else ', less is better'}",
        x=Scale.over([0, *(len(trials) for trials in search.candidates.values())]),
        y=scale if score.up else scale.downwards(),
        layers=tuple(layers),
        description=f"Best {word} within the budget against the number of evaluations. It ends at: {ends}.",
        counts=True,
    )
