"""report.html: one file, no script, nothing loaded; its sections in the order in which they are read."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.images import left_out, spread
from nas.reporting.charts import (
    front_chart,
    hypervolume_chart,
    hypervolume_curves,
    hypervolume_reference,
    retrained_chart,
)
from nas.reporting.drawing import COLOURS, chart_figure
from nas.reporting.findings import INITS, ROLES, Findings, Network, Result
from nas.reporting.markup import Html, boxed_table, h, headings, join, number_cell
from nas.reporting.mixers import CELLS, Mixers
from nas.reporting.words import compact, plural, sampler_name, spoken
from nas.store import RunStore
from search_spaces.counting import scientific


def page_html(found: Findings, store: RunStore) -> str:
    """The whole page. The run folder is only asked for its name and for what has been extracted."""
    mixers = Mixers.of(known.architecture for known in (*found.trials, *found.networks))
    sections: dict[str, list[Html]] = {}
    caption = (
        "Small marks: every evaluated sub-network, search-validation top-1 with inherited weights. Stairs: the front "
        "of each sampler."
    )
    if found.inits:
        caption += " Diamonds: retrained networks, test top-1; another quantity, so compare diamonds with diamonds."
    charts = [chart_figure(front_chart(found), "front", caption)]
    if found.inits:
        caption = (
            "The retrained networks alone. Thick bar: lowest to highest seed. Thin bar with ends: ± one binomial "
            "standard error, from the number of test images alone. Networks without a name are of the front."
        )
        charts.append(chart_figure(retrained_chart(found), "retrained", caption, 380))
    sections["Accuracy against cost"] = charts

    text = (
        "Per stage: blocks × channels, and a cell for each block with its token mixer; options and FFN show on hover."
    )
    text += " A dash: not retrained." * bool(found.inits)
    sections["Networks"] = [h("p", text), mixers.legend(), _networks(found, mixers)]
    if found.candidates:
        sections["How fast each sampler found it"] = [_hypervolume(found)]
        text = "Per cent of a stage's blocks that use each token mixer; every network counts once."
        text += " Random search shows what sampling alone offers." * ("random" in found.candidates)
        sections["What the front chose"] = [h("p", text), mixers.legend(), _choices(found, mixers)]
    folder = " is where the run lay when this was written; type its present path if it has moved."
    about = h("p", "One click selects a command. ", h("code", "run="), folder)
    sections["Take a network"] = [about, _commands(found, store)]
    sections["What each number means"] = [_meanings(found)]
    if images := found.run.get("images"):
        sections["Images"] = [_images(images, found.run["classes"])]
    sections["Conditions"] = [_conditions(found)]

    files = {"front.csv": "the networks", "trials.csv": "every evaluation", "front.png": "the first chart"}
    beside = join(join([", " * bool(k), h("a", n, href=n), f" ({files[n]})"]) for k, n in enumerate(files))
    head = h(
        "head",
        Html('<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'),
        h("title", f"Pareto report: {found.title}"),
        Html(f"\n<style>\n{_style()}</style>\n"),
    )
    body = h(
        "body",
        h("header", h("p", "Pareto report", class_="kicker"), h("h1", found.title), _lead(found), _tiles(found)),
        h("main", *(h("section", h("h2", name), *parts) for name, parts in sections.items())),
        h("footer", h("p", "Beside this file: ", beside, ".")),
    )
    return "<!DOCTYPE html>\n" + h("html", head, body, lang="en") + "\n"


def _lead(found: Findings) -> Html:
    """The result in one paragraph."""
    run, splits = found.run, found.run["split_sizes"]
    counts = [
        f"{plural(len(trials), 'evaluation')} by {sampler_name(name)}" for name, trials in found.candidates.items()
    ]
    budget = "there was no budget" if found.budget is None else f"the budget was {compact(found.budget)} MACs"
    parts: list[object] = [
        "A weight-sharing supernet was trained on ",
        h("b", run["config"]["data"]["name"]),
        f" ({splits['train']:,} images train it, {splits['validation']:,} choose, {splits['test']:,} test; "
        f"{plural(len(run['classes']), 'class')}). The space ",
        h("b", run["space_name"]),
        " holds ",
        _big(run["space_size"]),
        f" networks; {budget}. ",
        f"The search took {' and '.join(counts)}. " if counts else "No sampler has evaluated a network yet. ",
    ]
    if found.front:
        low, high = found.front[0], found.front[-1]
        reach = f" to {compact(high.macs)} MACs at {high.top1:.3f}" if len(found.front) > 1 else ""
        parts.append(
            f"The front has {plural(len(found.front), 'network')}:{' from' * bool(reach)} {compact(low.macs)} MACs at "
            f"search-validation top-1 {low.top1:.3f}{reach}, with inherited weights. "
        )
    elif found.candidates:
        parts.append("None of the evaluated networks is within the budget, so there is no front. ")
    if not found.best:
        parts.append("No network of the front is retrained yet, so no test result belongs to it.")
        return h("p", *parts, class_="lead")
    network, init = found.best
    result = network.results[init]
    found_by = f"found by {sampler_name(network.inherited.sampler)}, " if network.inherited else ""
    parts += [
        "Of its retrained networks, the best on validation is ",
        h("a", h("code", network.digest), href=f"#commands-{network.digest}"),
        f" ({compact(network.macs)} MACs, {found_by}retrained from {INITS[init]}): test top-1 ",
        h("b", result),
        f"; the binomial standard error on {plural(result.images, 'image')} is {result.error:.3f}.",
    ]
    rivals = [other for other in found.networks if init in other.results and not other.on_front]
    if rivals:
        named = (
            f"{', '.join(map(spoken, o.roles))} ({compact(o.macs)} MACs) {o.results[init].mean:.3f}" for o in rivals
        )
        parts.append(f" By the same recipe and start: {'; '.join(named)}.")
    return h("p", *parts, class_="lead")


def _tiles(found: Findings) -> Html:
    tiles: list[tuple[object, str]] = [
        (_big(found.run["space_size"]), "networks in the space"),
        ("none" if found.budget is None else compact(found.budget), "MACs budget"),
        (f"{sum(map(len, found.candidates.values())):,}", "evaluated with inherited weights"),
        (len(found.front), "on the front"),
    ]
    if found.best:
        network, init = found.best
        tiles.append((f"{network.results[init].mean:.3f}", "test top-1, retrained best"))
    return h("div", *(h("div", h("b", value), h("span", text)) for value, text in tiles), class_="tiles")


def _big(value: object) -> Html:
    """A whole number for reading: 1,234,567, or from a thousand million up 1.23 × 10¹² with a superscript."""
    digits = str(value)
    if len(digits) <= 9:
        return Html(f"{int(digits):,}")
    mantissa, power = scientific(digits)
    return Html(f"{mantissa} × 10<sup>{power}</sup>")


def _whole(value: object) -> object:
    """The same with every digit, unless they would fill lines."""
    return value if len(str(value)) <= 60 else _big(value)


def _networks(found: Findings, mixers: Mixers) -> Html:
    stages = max(len(network.architecture.stages) for network in found.networks)
    starts = [f"test top-1, retrained from {init}{' weights' * (init == 'inherited')}" for init in found.inits]
    heads = headings("network", "MACs", "params", "search-validation top-1, inherited weights", *starts)
    heads += [h("th", f"stage {k}", scope="col") for k in range(1, stages + 1)]
    bodies = []
    for title, on_front in (("Front", True), ("Baselines and comparisons", False)):
        rows = [_network_row(n, found, mixers, stages) for n in found.networks if n.on_front is on_front]
        if rows:
            group = h("tr", h("th", title, colspan=len(heads), scope="colgroup"), class_="group")
            bodies.append(h("tbody", group, *rows))
    return boxed_table("Networks", h("thead", h("tr", *heads)), *bodies, class_="networks")


def _network_row(network: Network, found: Findings, mixers: Mixers, stages: int) -> Html:
    badges = [h("span", spoken(r), class_="badge", title=ROLES[r]) for r in network.roles if r != "front"]
    if found.best and network is found.best[0]:
        why = "highest mean validation top-1 after retraining"
        badges.append(h("span", "best on validation", class_="badge good", title=why))
    if not found.within(network.macs):
        badges.append(h("span", "over budget", class_="badge", title="more MACs than the budget"))
    scored = number_cell("–")
    if trial := network.inherited:
        title = f"± one binomial standard error on {plural(trial.images, 'image')}"
        scored = number_cell(f"{trial.top1:.3f}", f"± {trial.error:.3f}", title)
    link = h("a", h("code", network.digest), href=f"#commands-{network.digest}")
    return h(
        "tr",
        h("th", h("div", link), *badges, scope="row"),
        number_cell(compact(network.macs), title=f"{network.macs:,}"),
        number_cell(compact(network.params), title=f"{network.params:,}"),
        scored,
        *(_result_cell(network.results.get(init)) for init in found.inits),
        *mixers.columns(network.architecture, stages),
    )


def _result_cell(result: Result | None) -> Html:
    if result is None:
        return number_cell("–")
    spread = f"n = {len(result.tests)}"
    if len(result.tests) > 1:
        spread = f"{min(result.tests):.3f}–{max(result.tests):.3f}, {spread}"
    title = f"binomial standard error {result.error:.3f} on {plural(result.images, 'test image')}"
    return number_cell(f"{result.mean:.3f}", spread, title)


def _hypervolume(found: Findings) -> Html:
    curves = hypervolume_curves(found)
    common = min(map(len, curves.values()))
    uneven = common < max(map(len, curves.values()))
    names = [
        "sampler",
        "evaluations",
        "different networks",
        "within budget",
        "on its front",
        "best top-1 within budget",
    ]
    names += [f"hypervolume after {common}"] * uneven + ["hypervolume, final"]
    rows = []
    for name, curve in curves.items():
        trials, own = found.candidates[name], found.fronts[name]
        cells: list[object] = [len(trials), len({trial.digest for trial in trials})]
        cells += [sum(found.within(trial.macs) for trial in trials), len(own), f"{own[-1].top1:.3f}" if own else "–"]
        cells += [f"{curve[common - 1]:.4f}"] * uneven + [f"{curve[-1]:.4f}"]
        rows.append(h("tr", h("th", sampler_name(name), scope="row"), *map(number_cell, cells)))
    caption = (
        f"Share of the box from 0 to {compact(hypervolume_reference(found)[0])} MACs (a tenth beyond "
        f"{'the budget' if found.budget else 'the largest candidate'}) and from top-1 0 to 1 that a sampler's front "
        "dominates, by search-validation top-1 with inherited weights. More is better. One run of each sampler: a "
        "small difference may be luck."
    )
    figure = chart_figure(hypervolume_chart(curves), "volume", caption, 340)
    return join([figure, boxed_table("Samplers", h("thead", h("tr", *headings(*names))), h("tbody", *rows))])


def _choices(found: Findings, mixers: Mixers) -> Html:
    """Share of each mixer among a stage's blocks, on the front and in what was tried; each network counts once."""
    groups = {"front": found.front}
    if len(found.candidates) > 1:
        groups["all trials"] = tuple(trial for trials in found.candidates.values() for trial in trials)
    groups |= {f"{sampler_name(name)} trials": trials for name, trials in found.candidates.items()}
    cards = []
    for stage in range(max(len(trial.architecture.stages) for trials in groups.values() for trial in trials)):
        bars = []
        for name, trials in groups.items():
            different = {trial.digest: trial.architecture for trial in trials}.values()
            blocks = [block for arch in different if stage < len(arch.stages) for block in arch.stages[stage].blocks]
            counts = Counter(block.mixer.name for block in blocks)
            segments, said = [], []
            for mixer in (mixer for mixer in mixers.codes if counts[mixer]):
                share = 100 * counts[mixer] / len(blocks)
                said.append(f"{mixer} {share:.1f} %")
                words = f"{mixers.codes[mixer]} {share:.0f}" if share > 7 else ""
                look = {"class_": mixers.colour(mixer), "style": f"width:{share:.3f}%"}
                segments.append(h("span", words, title=said[-1], **look))
            label = f"stage {stage + 1}, {name}: {', '.join(said) or 'no blocks'}"
            bar = h("div", *segments, class_="shares", role="img", aria_label=label)
            size = h("span", plural(len(blocks), "block"), class_="size")
            bars.append(h("div", h("span", name), bar, size, class_="share"))
        cards.append(h("div", h("h3", f"Stage {stage + 1}"), *bars, class_="choice"))
    return join(cards)


def _commands(found: Findings, store: RunStore) -> Html:
    """What to type for each network, with the folder as it was given to this report."""
    run = shlex.quote(str(store.folder))
    cards = []
    for network in found.networks:
        digest = shlex.quote(network.digest)
        commands = {
            "extract": f"nas extract run={run} digest={digest}",
            "retrain": f"nas retrain run={run} digest={digest}",
            "verify": f"nas extract run={run} digest={digest} verify=true",
        }
        about = f" {compact(network.macs)} MACs · {', '.join(map(spoken, network.roles))}"
        lines = [
            h("div", h("span", verb), h("code", command, class_="copy"), class_="command")
            for verb, command in commands.items()
        ]
        if store.exists(f"networks/{network.digest}/arch.json"):
            lines.append(h("p", f"extracted in networks/{network.digest}/", class_="size"))
        title = h("p", h("b", h("code", network.digest)), about)
        cards.append(h("div", title, *lines, class_="commands", id=f"commands-{network.digest}"))
    return h("div", *cards, class_="grid")


def _meanings(found: Findings) -> Html:
    search, data = found.run["config"]["search"], found.run["config"]["data"]
    side = f"{data['resolution']} × {data['resolution']}"
    epochs = sorted({r.epochs for network in found.networks for of in network.results.values() for r in of.repeats})
    long = f" for {' or '.join(map(str, epochs))} epochs" if epochs else ""
    items = {
        "MACs": f"Fused multiply-adds of one forward pass of one {side} image, counted on the network itself, the "
        "products inside attention included. The papers print this count under the name FLOPs; a count that takes a "
        "multiplication and an addition as two operations is twice as high.",
        "params": "Trainable parameters of the stand-alone network, not of the supernet.",
        "search-validation top-1, inherited weights": f"Share of {found.trials[0].images:,} search-validation images "
        "whose first guess is right, with weights cut out of the supernet and normalisation recalibrated on "
        f"{search['calibration_images']:,} training images. It chose the winners, so for them it is too high on "
        "average (the best of many noisy scores). It ranks networks; it does not say what one reaches when trained by "
        "itself.",
        "test top-1": "Share of the test images whose first guess is right, after retraining the network by itself"
        f"{long}, with one recipe for all networks. The test part had no share in training, search or the choice of "
        "winners: it "
        f"was read only after the choice.{'' if epochs else ' Here it has not been read yet.'}",
        "from scratch, from inherited weights": "Retraining starts from fresh random weights, or from the weights that "
        "were extracted from the supernet.",
        "a–b, n": "Lowest and highest result of n retrainings that differ in the seed alone; the value before them is "
        "the mean. Bars in the charts span the same range.",
        "±, binomial standard error": "√(p(1 − p)/m) for a top-1 of p on m images: how far the value would move with "
        "other images of the same kind. It does not contain the luck of training, which the seeds show, and more seeds "
        "do not make it smaller. At a top-1 of 0 or 1 it is 0 and says nothing.",
        "front": "The evaluated networks within the budget, of all samplers together, for which no other such network "
        "has fewer MACs and at least the same search-validation top-1, or the same MACs and a higher one. Baselines do "
        "not enter it.",
        "hypervolume": "One number for a whole front: the share of a fixed box, MACs by top-1, in which each point has "
        "at least the MACs and at most the top-1 of some network of the front.",
        "best on validation": "Of the retrained networks of the front, the one with the highest mean search-validation "
        "top-1 after retraining. Its test result had no say.",
    }
    return h("dl", *(join([h("dt", name), h("dd", text)]) for name, text in items.items()))


def _images(images: Mapping[str, Any], classes: list[str]) -> Html:
    """Where each part comes from, its images per class, and what was left out."""
    rows = []
    for part, counts in images["counts"].items():
        cells = h("td", images["origins"][part] or "the data set's own"), number_cell(f"{sum(counts):,}")
        rows.append(h("tr", h("th", part, scope="row"), *cells, h("td", spread(counts, classes))))
    names = ("part", "origin", "images", "images per class")
    head = h("tr", *(h("th", name, scope="col", class_="num" if name == "images" else None) for name in names))
    parts = [boxed_table("Images", h("thead", head), h("tbody", *rows), class_="conditions")]
    if images["left_out"]:
        parts += [h("h3", "Left out"), h("ul", *(h("li", left_out(entry)) for entry in images["left_out"]))]
    return join(parts)


def _conditions(found: Findings) -> Html:
    run = found.run
    config, splits, machine = run["config"], run["split_sizes"], run["machine"]
    classes = ", ".join(map(str, run["classes"][:20]))
    more = f" and {len(run['classes']) - 20:,} more" if len(run["classes"]) > 20 else ""
    seeds = sorted({r.seed for network in found.networks for of in network.results.values() for r in of.repeats})
    retraining = f"; {', '.join(map(str, seeds))} (retraining)" if seeds else ""
    rows: dict[str, object] = {
        "data": f"{config['data']['name']}, {config['data']['resolution']} × {config['data']['resolution']} pixels",
        "split": f"{splits['train']:,} train, {splits['validation']:,} search-validation, {splits['test']:,} test",
        "split digest": h("code", run["split_digest"]),
        "classes": classes + more,
        "space": join(
            [run["space_name"], ", ", h("code", run["space_digest"]), ", ", _whole(run["space_size"]), " networks"]
        ),
        "seeds": f"{config['seed']} (supernet and search){retraining}",
        "machine": f"{machine['cpu']}; {plural(machine['cores'], 'core')}, {plural(machine['threads'], 'thread')} used; "
        + (f"{machine['memory_gib']:g} GiB" if machine["memory_gib"] else "memory unknown"),
        "versions": ", ".join(f"{name} {version}" for name, version in run["versions"].items()),
        "commit": h("code", run["commit"] or "unknown"),
        "command": h("code", shlex.join(run["command"]), class_="copy"),
    }
    lines = []
    for key, value in config.items():
        pairs = {f"{key}.{name}": v for name, v in value.items()} if isinstance(value, dict) else {key: value}
        lines += [f"{name} = {json.dumps(v, ensure_ascii=False)}" for name, v in pairs.items()]
    listing = (h("tr", h("th", name, scope="row"), h("td", value)) for name, value in rows.items())
    box = boxed_table("Conditions", h("tbody", *listing), class_="conditions")
    return join([box, h("h3", "Configuration"), h("pre", h("code", "\n".join(lines)), tabindex=0)])


def _style() -> str:
    """report.css with the colours of the charts and cells."""
    sheet = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    colours = [";".join(f"--{name}:{pair[k]}" for name, pair in COLOURS.items()) for k in (0, 1)]
    rules = [f".{name}{{--c:var(--{name})}}" for name in COLOURS]
    rules += [f".k{number}{{background-color:{colour}}}" for number, colour in enumerate(CELLS)]
    return sheet.replace("/*light*/", colours[0]).replace("/*dark*/", colours[1]) + "\n".join(rules) + "\n"
