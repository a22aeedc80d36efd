"""What the front chose: the share of each token mixer among a stage's blocks, on the front and in what was tried."""

from collections import Counter

from nas.goals.roles import RANDOM
from nas.records import Evaluation
from nas.reporting.markup import Html, h
from nas.reporting.sections.place import Place, section
from nas.reporting.words import plural, sampler_name


def choices(place: Place) -> Html:
    """Nothing before a sampler has evaluated a network. Each network counts once."""
    search = place.search
    if not search.candidates:
        return section("", [], place.level)
    text = "Per cent of a stage's blocks that use each token mixer; every network counts once."
    text += " Random search shows what sampling alone offers." * (RANDOM in search.candidates)
    groups: dict[str, tuple[Evaluation, ...]] = {"front": search.front}
    if len(search.candidates) > 1:
        groups["all trials"] = tuple(trial for trials in search.candidates.values() for trial in trials)
    groups |= {f"{sampler_name(name)} trials": trials for name, trials in search.candidates.items()}
    stages = max(len(trial.architecture.stages) for trials in groups.values() for trial in trials)
    cards = [_stage(stage, groups, place) for stage in range(stages)]
    return section("What the front chose", [h("p", text), place.mixers.legend(), *cards], place.level)


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
