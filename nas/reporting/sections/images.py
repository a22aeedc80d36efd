"""Where the images of each part come from, how many each class has, and what was left out."""

from nas.images import left_out, spread
from nas.reporting.findings import Findings
from nas.reporting.markup import Html, boxed_table, h, number_cell
from nas.reporting.section import RunSection


class Images(RunSection):
    """Nothing where the run does not say."""

    title = "Images"
    order = 20

    def parts(self, found: Findings) -> list[Html]:
        read, classes = found.run.get("images"), found.run["classes"]
        if not read:
            return []
        rows = []
        for part, counts in read["counts"].items():
            cells = h("td", read["origins"][part] or "the data set's own"), number_cell(f"{sum(counts):,}")
            rows.append(h("tr", h("th", part, scope="row"), *cells, h("td", spread(counts, classes))))
        names = ("part", "origin", "images", "images per class")
        head = h("tr", *(h("th", name, scope="col", class_="num" if name == "images" else None) for name in names))
        parts = [boxed_table("Images", h("thead", head), h("tbody", *rows), class_="conditions")]
        if read["left_out"]:
            parts += [h("h3", "Left out"), h("ul", *(h("li", left_out(entry)) for entry in read["left_out"]))]
        return parts
