"""Take a network: what to type for each."""

import shlex

from nas.reporting.findings import Network
from nas.reporting.markup import Html, h
from nas.reporting.sections.place import Place, section
from nas.reporting.words import amount, plain, spoken


def commands(place: Place) -> Html:
    """Nothing where there is no network."""
    if not place.search.networks:
        return section("", [], place.level)
    folder = " is where the run lay when this was written; type its present path if it has moved."
    about = h("p", "One click selects a command. ", h("code", "run="), folder)
    cards = h("div", *(_card(network, place) for network in place.search.networks), class_="grid")
    return section("Take a network", [about, cards], place.level)


def _card(network: Network, place: Place) -> Html:
    search, digest = place.search, shlex.quote(network.digest)
    which = f"run={shlex.quote(place.folder)}"
    if place.found.several:
        which += f" search={shlex.quote(search.name)}"
    typed = {
        "extract": f"nas extract {which} digest={digest}",
        "retrain": f"nas retrain {which} digest={digest}",
        "verify": f"nas extract {which} digest={digest} verify=true",
    }
    cost = amount(search.cost, network.costs.get(search.cost), search.costs)
    about = f" {cost} · {', '.join(map(spoken, network.roles))}"
    lines = [
        h("div", h("span", verb), h("code", command, class_="copy"), class_="command")
        for verb, command in typed.items()
    ]
    if network.digest in search.view.extracted:
        where = plain(f"extracted in {search.view.folder_name}/networks/{network.digest}/")
        lines.append(h("p", where, class_="size"))
    title = h("p", h("b", h("code", network.digest)), about)
    return h("div", title, *lines, class_="commands", id=f"{place.id('commands')}-{network.digest}")
