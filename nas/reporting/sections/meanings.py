"""What each number means, for a reader who knows none of the words."""

from nas.goals.objectives import Objective
from nas.reporting.findings import CostInfo, Findings
from nas.reporting.markup import Html, h, join
from nas.reporting.section import RunSection
from nas.reporting.words import axis_name


class Meanings(RunSection):
    """Definitions of all words of the page, of its costs too."""

    title = "What each number means"
    order = 10

    def parts(self, found: Findings) -> list[Html]:
        items = _costs(found) | _scores(found) | _words(found)
        listing = h("dl", *(join([h("dt", name), h("dd", text)]) for name, text in items.items()))
        return [listing]


def _costs(found: Findings) -> dict[str, str]:
    data = found.run["config"]["data"]
    side = f"{data['resolution']} × {data['resolution']}"
    own = {
        "macs": f"Fused multiply-adds of one forward pass of one {side} image, counted on the network itself, the "
        "products inside attention included. The papers print this count under the name FLOPs; a count that takes a "
        "multiplication and an addition as two operations is twice as high.",
        "params": "Trainable parameters of the stand-alone network, not of the supernet.",
    }
    named = {"macs": "MACs", "params": "params"}
    costs = sorted(found.costs, key=lambda cost: [*own, cost.name].index(cost.name))
    return {named.get(cost.name) or axis_name(cost): own.get(cost.name) or _about(cost) for cost in costs}


def _about(cost: CostInfo) -> str:
    about = cost.about.strip().rstrip(".")
    return f"{about[0].upper()}{about[1:]}." if about else "A cost of the network; less is better."


def _either(numbers: set[int]) -> str:
    return " or ".join(f"{number:,}" for number in sorted(numbers))


def _scores(found: Findings) -> dict[str, str]:
    images = {trial.images for search in found.searches for trial in search.trials if not trial.is_estimate}
    asked = (search.view.settings.get("calibration_images") for search in found.searches)
    recalibrated = {int(number) for number in asked if number}
    validation = _either(images) or f"{found.run['split_sizes']['validation']:,}"
    calibration = f"{_either(recalibrated)} " if recalibrated else ""
    epochs = _epochs(found)
    long = f" for {' or '.join(map(str, epochs))} epochs" if epochs else ""
    items = {
        "search-validation top-1, inherited weights": f"Share of {validation} search-validation images "
        "whose first guess is right, with weights cut out of the supernet and normalisation statistics recomputed on "
        f"{calibration}training images. It chose the winners, so for them it is too high on "
        "average (the best of many noisy scores). It ranks networks; it does not say what one reaches when trained by "
        "itself.",
    }
    if any(Objective("loss") in search.objectives for search in found.searches):
        items["loss"] = (
            "Mean cross-entropy in nats: how surprised the network is by the right class, on average over the same "
            "images as top-1. Less is better; guessing at random among the classes gives the logarithm of their number."
        )
    return items | {
        "test top-1": "Share of the test images whose first guess is right, after retraining the network by itself"
        f"{long}, with one recipe for all networks. The test part had no share in training, search or the choice of "
        f"winners: it was read only after the choice.{'' if epochs else ' Here it has not been read yet.'}",
        "from scratch, from inherited weights": "Retraining starts from fresh random weights, or from the weights that "
        "were extracted from the supernet.",
        "a–b, n": "Lowest and highest result of n retrainings that differ in the seed alone; the value before them is "
        "the mean. Bars in the charts span the same range.",
        "±, binomial standard error": "√(p(1 − p)/m) for a top-1 of p on m images: how far the value would move with "
        "other images of the same kind. It does not contain the luck of training, which the seeds show, and more seeds "
        "do not make it smaller. At a top-1 of 0 or 1 it is 0 and says nothing.",
    }


def _epochs(found: Findings) -> list[int]:
    results = (of for search in found.searches for network in search.networks for of in network.results.values())
    return sorted({repeat.epochs for of in results for repeat in of.repeats})


def _words(found: Findings) -> dict[str, str]:
    two = all([o.name for o in search.objectives] == ["top1", "macs"] for search in found.searches)
    beaten = "has fewer MACs and at least the same search-validation top-1, or the same MACs and a higher one"
    if not two:
        beaten = "is as good in every objective of the search and better in one"
    own = "of its search " * found.several
    items = {
        "budget": "What a network may cost: the most, or a range, of one cost or several. A network outside any of them, or whose cost is not "
        "known, cannot win; the smallest, largest and hand-designed network are shown for comparison whatever they cost.",
        "Pareto front": f"The evaluated networks {own}within the budget, of all samplers together, for which no other such "
        f"network {beaten}. Baselines and networks given by the user do not enter it.",
    }
    if any(search.measured for search in found.searches):
        items["predicted, measured"] = (
            "A predicted time adds up the times of a network's parts, which were measured once on the device. A measured time is the median "
            "over rounds in which the whole network ran on the device, in turn with others. A network that the search would call feasible is "
            "measured first: it may win only when the 95 % confidence interval of its time is at most the limit. One that turns out to be faster than a range may win."
        )
    if any(len(search.objectives) > 1 for search in found.searches):
        box = "MACs by top-1, in which each point has at least the MACs and at most the top-1" if two else (
            "with a side for each objective, in which each point is no better in any objective than a point"
        )  # fmt: skip
        of = "of some network of the front" if two else "of the front"
        items["hypervolume"] = f"One number for a whole Pareto front: the share of a fixed box, {box} {of}."
    items["best on validation"] = (
        "Of the retrained networks of the Pareto front, the one with the highest mean search-validation top-1 after retraining. Its "
        "test result was not used for this choice."
    )
    return items
