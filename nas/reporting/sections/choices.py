"""The share of each token mixer among a stage's blocks, on the Pareto front and among all networks that were tried."""

from collections import Counter

from nas.goals.roles import RANDOM
from nas.records import Evaluation
from nas.reporting.markup import Html, h
from nas.reporting.place import Place
from nas.reporting.section import SearchSection
from nas.reporting.words import plural, sampler_name


class Choices(SearchSection):
    """Nothing before a sampler has evaluated a network. Each network counts once."""

    title = "Token mixers on the Pareto front"
    order = 60

    def parts(self, place: Place) -> list[Html]:
        search = place.search
        if not search.candidates:
            return []
        text = "Per cent of a stage's blocks that use each token mixer; every network counts once."
        text += " Random search shows what sampling alone offers." * (RANDOM in search.candidates)
        groups: dict[str, tuple[Evaluation, ...]] = {"Pareto front": search.front}
        if len(search.candidates) > 1:
            groups["all trials"] = tuple(trial for trials in search.candidates.values() for trial in trials)
        groups |= {f"{sampler_name(name)} trials": trials for name, trials in search.candidates.items()}
        stages = max(len(trial.architecture.stages) for trials in groups.values() for trial in trials)
        cards = [_stage(stage, groups, place) for stage in range(stages)]
        return [h("p", text), place.mixers.legend(), *cards]


def _stage(stage: int, groups: dict[str, tuple[Evaluation, ...]], place: Place) -> Html:
    bars = []
    for name, trials in groups.items():
        different = {trial.digest: trial.architecture for trial in trials}.values()
        blocks = [block for arch in different if stage < len(arch.stages) for block in arch.stages[stage].blocks]
        counts = Counter(block.mixer.name for block in blocks)
        segments, said = [], []
        for mixer in (mixer for mixer in place.mixers.codes if counts[mixer]):
            share = 100 * counts[mixer] / len(blocks)
            said.append(f"{mixer} {share:.1f} %")
            words = f"{place.mixers.codes[mixer]} {share:.0f}" if share > 7 else ""
            look = {"class_": place.mixers.colour(mixer), "style": f"width:{share:.3f}%"}
            segments.append(h("span", words, title=said[-1], **look))
        label = f"stage {stage + 1}, {name}: {', '.join(said) or 'no blocks'}"
        bar = h("div", *segments, class_="shares", role="img", aria_label=label)
        size = h("span", plural(len(blocks), "block"), class_="size")
        bars.append(h("div", h("span", name), bar, size, class_="share"))
    return h("div", place.heading(f"Stage {stage + 1}"), *bars, class_="choice")
