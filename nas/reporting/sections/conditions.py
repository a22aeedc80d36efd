"""The conditions of the run, and the settings of each search."""

import shlex
from collections.abc import Mapping
from typing import Any

from nas.reporting.findings import Findings, SearchFindings
from nas.reporting.markup import Html, boxed_table, h, join, settings_listing
from nas.reporting.place import big
from nas.reporting.section import RunSection
from nas.reporting.words import plural


class Conditions(RunSection):
    """Data, space, machine, versions and configuration; that of the search too, where there is one alone."""

    title = "Conditions"
    order = 30

    def parts(self, found: Findings) -> list[Html]:
        run = found.run
        config, splits, machine = run["config"], run["split_sizes"], run["machine"]
        classes = ", ".join(map(str, run["classes"][:20]))
        more = f" and {len(run['classes']) - 20:,} more" if len(run["classes"]) > 20 else ""
        rows: dict[str, object] = {
            "data": f"{config['data']['name']}, {config['data']['resolution']} × {config['data']['resolution']} pixels",
            "split": f"{splits['train']:,} train, {splits['validation']:,} search-validation, {splits['test']:,} test",
            "split digest": h("code", run["split_digest"]),
            "classes": classes + more,
            "space": join(
                [run["space_name"], ", ", h("code", run["space_digest"]), ", ", _whole(run["space_size"]), " networks"]
            ),
            **({"initial weights": _initial(run["init"])} if run.get("init") else {}),
            "seeds": _seeds(found),
            "machine": f"{machine['cpu']}; {plural(machine['cores'], 'core')}, {plural(machine['threads'], 'thread')} used; "
            + (f"{machine['memory_gib']:g} GiB" if machine["memory_gib"] else "memory unknown"),
            "versions": ", ".join(f"{name} {version}" for name, version in run["versions"].items()),
            "commit": h("code", run["commit"] or "unknown"),
            "command": h("code", shlex.join(run["command"]), class_="copy"),
        }
        listing = (h("tr", h("th", name, scope="row"), h("td", value)) for name, value in rows.items())
        box = boxed_table("Conditions", h("tbody", *listing), class_="conditions")
        settings = {key: value for key, value in config.items() if key != "search"}
        if len(found.searches) == 1:
            settings["search"] = dict(found.searches[0].view.settings)
        return [box, h("h3", "Configuration"), settings_listing(settings)]


def _initial(init: Mapping[str, Any]) -> Html:
    """What the supernet was started from, how much of its weights that is, and which parts started fresh."""
    taken, weights = (sum(share[key] for share in init["shares"]) for key in ("taken", "weights"))
    fresh = [f"{share['place']}: {', '.join(share['fresh'])}" for share in init["shares"] if share["fresh"]]
    rest = f"; fresh in {'; '.join(fresh)}" if fresh else ""
    return join([f"{init['what']}, ", h("code", init["path"]), f": {taken:,} of {weights:,} shared weights{rest}"])


def _seeds(found: Findings) -> str:
    seed = found.run["config"]["seed"]
    searched = [(search.name, search.view.settings.get("seed", seed)) for search in found.searches]
    if all(own == seed for _, own in searched):
        words = [f"{seed} (supernet and search)"]
    elif not found.several:
        words = [f"{seed} (supernet)", f"{searched[0][1]} (search)"]
    else:
        words = [f"{seed} (supernet)", *(f"{own} (search {name})" for name, own in searched)]
    if retrained := sorted({seed for search in found.searches for seed in _retraining_seeds(search)}):
        words.append(f"{', '.join(map(str, retrained))} (retraining)")
    return "; ".join(words)


def _retraining_seeds(search: SearchFindings) -> set[int]:
    return {r.seed for network in search.networks for of in network.results.values() for r in of.repeats}


def _whole(value: object) -> object:
    """The same with every digit, unless they would fill lines."""
    return value if len(str(value)) <= 60 else big(value)
