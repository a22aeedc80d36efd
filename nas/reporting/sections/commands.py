"""Take a network: what to type for each."""

import shlex

from nas.reporting.findings import Network
from nas.reporting.markup import Html, h
from nas.reporting.place import Place
from nas.reporting.section import SearchSection
from nas.reporting.words import amount, plain, spoken


class Commands(SearchSection):
    """Nothing where there is no network."""

    title = "Take a network"
    order = 70

    def parts(self, place: Place) -> list[Html]:
        if not place.search.networks:
            return []
        folder = " is where the run lay when this was written; type its present path if it has moved."
        about = h("p", "One click selects a command. ", h("code", "run="), folder)
        cards = h("div", *(_card(network, place) for network in place.search.networks), class_="grid")
        return [about, cards]


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
