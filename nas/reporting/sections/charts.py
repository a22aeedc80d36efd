"""Accuracy against cost: the charts of a search."""

from nas.reporting.charts import front_charts, retrained_chart
from nas.reporting.curves import best_chart
from nas.reporting.drawing import chart_figure
from nas.reporting.markup import Html
from nas.reporting.place import Place
from nas.reporting.section import SearchSection
from nas.reporting.words import SCORE_NAMES, objective_name


class Charts(SearchSection):
    """A chart a pair of score and cost, and one of the retrained networks."""

    title = "Accuracy against cost"
    order = 10

    def parts(self, place: Place) -> list[Html]:
        search, figures = place.search, []
        names = {objective.name for objective in search.objectives}
        if len(names) == 1 and (chart := best_chart(search)):
            word = SCORE_NAMES[search.score.name]
            text = (
                f"The best search-validation {word} with inherited weights that each sampler had found within the budget, "
                "after each of its evaluations."
            )
            figures.append(chart_figure(chart, place.id("best"), text, 340))
        drawn = front_charts(search)
        for number, chart in enumerate(drawn, 1):
            caption = f"Small marks: every evaluated sub-network, {_measured(names)} with inherited weights. "
            if any(layer.step for layer in chart.layers):
                caption += "Stairs: the Pareto front of each sampler."
            elif len(names) == 1:
                caption += "Large marks: the best of each sampler."
            else:
                words = [objective_name(objective.name) for objective in search.objectives]
                caption += f"Large marks: the Pareto front of each sampler, of {', '.join(words)} together."
                caption += " One that looks beaten here is better in an objective that this chart does not show."
            if search.inits:
                caption += " Diamonds: retrained networks, on the test images; another quantity, so compare diamonds with diamonds."
            suffix = "" if number == 1 else f"-{number}"
            figures.append(chart_figure(chart, f"{place.id('front')}{suffix}", caption))
        if chart := retrained_chart(search):
            caption = (
                "The retrained networks alone. Thick bar: lowest to highest seed. Thin bar with ends: ± one binomial "
                "standard error, from the number of test images alone. Networks without a name are on the Pareto front."
            )
            figures.append(chart_figure(chart, place.id("retrained"), caption, 380))
        return figures


def _measured(names: set[str]) -> str:
    scores = [word for name, word in SCORE_NAMES.items() if name in names]
    return f"search-validation {' and '.join(scores)}"
