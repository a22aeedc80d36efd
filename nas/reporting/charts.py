"""The charts of scores against costs: of one search, of its retrained networks, and of several searches."""

from collections.abc import Iterable, Sequence

from nas.goals.objectives import Objective
from nas.goals.roles import RANDOM
from nas.records import BASELINE, GIVEN, INITS, Evaluation
from nas.reporting.chart import Band, Chart, Layer, Mark, Scale, across, extent
from nas.reporting.findings import CostInfo, Network, SearchFindings
from nas.reporting.words import SCORE_NAMES, amount, axis_name, compact, plain, plural, sampler_name, spoken

_BASELINE_SHAPES = {"smallest": "down", "hand_designed": "star", "largest": "up"}

_RANDOM_LOOK = ("series1", "square")
"""Colour and shape of random search, wherever it is drawn."""

_COLOURS, _SHAPES = ("series0", "series2", "series3"), ("circle", "cross", "pentagon", "down")
"""Of the other samplers in turn: twelve differ."""

_SEARCH_LOOKS = (
    ("series0", "circle"),
    ("series1", "square"),
    ("scratch", "up"),
    ("inherited", "diamond"),
    ("series2", "cross"),
    ("series3", "pentagon"),
)


def looks(samplers: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and shape of each sampler."""
    others = [name for name in samplers if name != RANDOM]
    own = ((_COLOURS[k % len(_COLOURS)], _SHAPES[k % len(_SHAPES)]) for k in range(len(others)))
    return dict(zip(others, own, strict=True)) | {RANDOM: _RANDOM_LOOK}


def pairs(search: SearchFindings) -> list[tuple[Objective, str]]:
    """What charts show upwards and to the right: each score against each cost among the objectives.

    Without a cost among them: top-1 against loss, and a single score against the search's principal cost.
    """
    scores = [objective for objective in search.objectives if not objective.is_cost]
    costs = [objective.name for objective in search.objectives if objective.is_cost]
    if not costs and len(scores) > 1:
        return [(Objective("top1"), "loss")]
    return [(score, cost) for score in scores for cost in costs or [search.cost]]


def cost_info(search: SearchFindings, name: str) -> CostInfo:
    return search.costs.get(name, CostInfo(name))


def _trial_x(trial: Evaluation, name: str) -> float | None:
    return trial.loss if name == "loss" else trial.costs.get(name)


def said_of(trial: Evaluation, search: SearchFindings) -> str:
    """An evaluation in words, for hovering."""
    source = f"{sampler_name(trial.origin.name)}, evaluation {trial.trial}"
    if trial.origin.kind == BASELINE:
        source = spoken(trial.origin.name)
    elif trial.origin.kind == GIVEN:
        source = f"given ({trial.origin.name})"
    costs = ", ".join(amount(cost.name, trial.costs.get(cost.name), search.costs) for cost in search.matters)
    loss = f", loss {trial.loss:.3f}" if Objective("loss") in search.objectives else ""
    estimated = f", estimated from {plural(trial.images, 'image')}" if trial.is_estimate else ""
    return f"{trial.digest}\n{source}\n{costs}\nsearch-validation top-1 {trial.top1:.3f}{loss}{estimated}, inherited weights"


def _trial_marks(
    trials: Iterable[Evaluation], search: SearchFindings, score: Objective, x: str, label: str = ""
) -> tuple[Mark, ...]:
    """Those that have a place on the chart."""
    return tuple(
        Mark(x=place, y=getattr(trial, score.name), label=label, title=said_of(trial, search))
        for trial in trials
        if (place := _trial_x(trial, x)) is not None
    )


def _limits(search: SearchFindings, x: str) -> tuple[tuple[float, str], ...]:
    low, high = search.budget.floor(x), search.budget.limit(x)
    ends = ((low, "at least" if high is None else "budget from"), (high, "budget" if low is None else "to"))
    return tuple((value, f"{words} {compact(value)}") for value, words in ends if value is not None)


def _bands(search: SearchFindings, x: str) -> tuple[Band, ...]:
    """Around each limit of a predicted cost, as far as predictions are off on average."""
    error = search.tolerance(x)
    if not error:
        return ()
    name = f"± {error:.1%}: mean error of the predictions on held-out networks".replace("%", " %")
    return tuple(
        Band(name=name, low=limit * (1 - error), high=limit * (1 + error)) for limit, _ in _limits(search, x)[-1:]
    )


def _x_name(search: SearchFindings, x: str) -> str:
    return "search-validation loss (nats), less is better" if x == "loss" else axis_name(cost_info(search, x))


def _y_name(score: Objective, retrained: bool) -> str:
    if score.name == "top1":
        return "top-1 (sub-networks: search-validation; retrained: test)" if retrained else "search-validation top-1"
    return f"loss, less is better ({'sub-networks: validation; retrained: test' if retrained else 'search-validation'})"


def _y_scale(values: Iterable[float], score: Objective) -> Scale:
    scale = Scale.over(values)
    return scale if score.up else scale.downwards()


def front_charts(search: SearchFindings) -> list[Chart]:
    """A chart for each of `pairs` that any evaluation has a place on."""
    return [chart for score, x in pairs(search) if (chart := _front_chart(search, score, x))]


def _front_chart(search: SearchFindings, score: Objective, x: str) -> Chart | None:
    """Every evaluation, the Pareto front of each sampler, the baselines and the retrained networks.

    Stairs join a front only where both axes are all objectives: elsewhere a point may be on the front for another reason.
    """
    both = {objective.name for objective in search.objectives} == {score.name, x}
    alone = len(search.objectives) == 1
    every, fronts = [], []
    for name, (colour, shape) in looks(search.candidates).items():
        if marks := _trial_marks(search.candidates.get(name, ()), search, score, x):
            title = f"{sampler_name(name)}: all"
            every.append(Layer(name=title, colour=colour, shape=shape, marks=marks, faint=True, size=0.65))
        if marks := _trial_marks(search.fronts.get(name, ()), search, score, x):
            title = f"{sampler_name(name)}: {'best' if alone else 'Pareto front'}"
            fronts.append(Layer(name=title, colour=colour, shape=shape, marks=marks, step=both))
    layers = every + fronts
    for role, shape in _BASELINE_SHAPES.items():
        own = (trial for trial in search.trials if trial.origin.kind == BASELINE and trial.origin.name == role)
        if marks := _trial_marks(own, search, score, x, spoken(role)):
            layers.append(Layer(name=spoken(role), colour="baseline", shape=shape, marks=marks, size=1.2))
    given = [trial for trial in search.trials if trial.origin.kind == GIVEN]
    if marks := _trial_marks(given, search, score, x, "given" if len(given) <= 3 else ""):
        layers.append(Layer(name="given", colour="baseline", shape="diamond", marks=marks, hollow=True))
    if not layers:
        return None
    layers += _retrained_layers(search, score.name, x, detailed=False)
    layers += _reference_layers(search, score.name, x)
    unknown = {trial.digest for trial in search.trials if _trial_x(trial, x) is None}
    left_out = f"Not drawn: {plural(len(unknown), 'network')} whose {x} is not known." if unknown else ""
    return Chart(
        x_name=_x_name(search, x),
        y_name=_y_name(score, bool(search.inits)),
        x=Scale.over([*across(layers), *(limit for limit, _ in _limits(search, x))], logarithmic=True),
        y=_y_scale(extent(layers), score),
        layers=tuple(layers),
        limits=_limits(search, x),
        bands=_bands(search, x),
        description=_described(search, score, x, layers),
        left_out=left_out,
    )


def _described(search: SearchFindings, score: Objective, x: str, layers: Sequence[Layer]) -> str:
    name = SCORE_NAMES[score.name]
    against = "loss" if x == "loss" else cost_info(search, x).name.replace("macs", "MACs")
    text = f"{name.capitalize()} against {against}. "
    text += " ".join(f"{layer.name}: {plural(len(layer.marks), 'point')}." for layer in layers)
    known = [(place, trial) for trial in search.front if x != "loss" and (place := _trial_x(trial, x)) is not None]
    if len(known) > 1 and len(search.objectives) == 2:
        low, high = (f"{amount(x, place, search.costs)} at {name} {getattr(t, score.name):.3f}" for place, t in (
            known[0], known[-1],
        ))  # fmt: skip
        text += f" The Pareto front runs from {low} to {high}."
    return text


def retrained_chart(search: SearchFindings) -> Chart | None:
    """Test top-1 of the retrained networks alone, with error bars, against the principal cost."""
    layers = [layer for layer in _retrained_layers(search, "top1", search.cost, detailed=True) if layer.marks]
    layers += _reference_layers(search, "top1", search.cost)
    if not layers:
        return None
    heights, limits = extent(layers), _limits(search, search.cost)
    room = max(heights) + 0.06 * (max(heights) - min(heights))  # for a name above the highest bar
    return Chart(
        x_name=_x_name(search, search.cost),
        y_name="test top-1",
        x=Scale.over([*across(layers), *(limit for limit, _ in limits)], logarithmic=True),
        y=Scale.over([*heights, room]),
        layers=tuple(layers),
        limits=limits,
        description=f"Test top-1 of the retrained networks against {amount_name(search)}; the table of networks lists each value.",
    )


def amount_name(search: SearchFindings) -> str:
    return "MACs" if search.cost == "macs" else search.cost


def _retrained_layers(search: SearchFindings, score: str, x: str, *, detailed: bool) -> list[Layer]:
    """One layer per initialisation. detailed: with the standard errors, and with names beside all networks off the Pareto front."""
    layers = []
    for init in search.inits:
        marks = (_retrained_mark(network, search, init, score, x, detailed) for network in search.networks)
        layers.append(
            Layer(
                name=f"retrained from {'scratch' if init == 'scratch' else 'inherited weights'}, test",
                colour=init,
                shape="diamond",
                marks=tuple(mark for mark in marks if mark),
                size=1.15,
                hollow=init == "inherited",
                aside=0 if len(search.inits) == 1 else -3.5 if init == "scratch" else 3.5,
            )
        )
    return layers


def _reference_layers(search: SearchFindings, score: str, x: str) -> list[Layer]:
    """One layer of timm's models with their names, where any has a place."""
    marks = []
    for model, result in search.references.items():
        place = result.mean_loss if x == "loss" else result.costs.get(x)
        if place is None:
            continue
        values = result.tests if score == "top1" else result.losses
        costs = ", ".join(amount(cost.name, result.costs.get(cost.name), search.costs) for cost in search.matters)
        marks.append(
            Mark(
                x=place,
                y=result.mean if score == "top1" else result.mean_loss,
                title=f"timm/{model}\ntrained from {INITS['scratch']}\n{costs}\ntest top-1 {result}",
                label=model,
                low=min(values),
                high=max(values),
                noise=result.error if score == "top1" else 0.0,
            )
        )
    name = "timm's models by the same recipe, test"
    return [Layer(name=name, colour="baseline", shape="pentagon", marks=tuple(marks), hollow=True)] if marks else []


def _retrained_mark(
    network: Network, search: SearchFindings, init: str, score: str, x: str, detailed: bool
) -> Mark | None:
    result = network.results.get(init)
    if result is None:
        return None
    place = result.mean_loss if x == "loss" else network.costs.get(x)
    if place is None:
        return None
    names = [spoken(role) for role in network.roles if role not in ("front", "retrained")]
    highest = max(network.results, key=lambda other: network.results[other].mean)
    costs = ", ".join(amount(cost.name, network.costs.get(cost.name), search.costs) for cost in search.matters)
    loss = f", loss {result.mean_loss:.3f}" if score == "loss" or x == "loss" else ""
    values = result.tests if score == "top1" else result.losses
    return Mark(
        x=place,
        y=result.mean if score == "top1" else result.mean_loss,
        title=f"{network.digest} ({', '.join(map(spoken, network.roles))})\nretrained from {INITS[init]}\n{costs}\n"
        f"test top-1 {result}{loss}",
        label=", ".join(names) if detailed and init == highest else "",
        low=min(values),
        high=max(values),
        noise=result.error if detailed else 0.0,
    )


def overview_chart(searches: Sequence[SearchFindings], cost: str) -> Chart | None:
    """The Pareto front of each of some searches that share their first score, against a cost."""
    layers, score = [], searches[0].score
    for number, search in enumerate(searches):
        colour, shape = _SEARCH_LOOKS[number % len(_SEARCH_LOOKS)]
        step = {objective.name for objective in search.objectives} == {score.name, cost}
        if marks := _trial_marks(search.front, search, score, cost):
            layers.append(Layer(name=plain(search.name), colour=colour, shape=shape, marks=marks, step=step))
    if not layers:
        return None
    lines = tuple(sorted({line for search in searches for line in _limits(search, cost)}))
    ends = ". ".join(f"{layer.name}: {plural(len(layer.marks), 'network')}" for layer in layers)
    return Chart(
        x_name=_x_name(searches[0], cost),
        y_name=_y_name(score, False),
        x=Scale.over([*across(layers), *(limit for limit, _ in lines)], logarithmic=True),
        y=_y_scale(extent(layers), score),
        layers=tuple(layers),
        limits=lines,
        description=f"The Pareto front of each search, {SCORE_NAMES[score.name]} against {'MACs' if cost == 'macs' else cost}. {ends}.",
    )
