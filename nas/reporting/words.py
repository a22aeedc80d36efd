"""How the report writes numbers and names."""


def plain(text: str) -> str:
    """Text that UTF-8 can write: half of a surrogate pair, from a file name that is no UTF-8, becomes a question mark."""
    return text.encode(errors="replace").decode()


def compact(number: float) -> str:
    """Three significant digits with K, M or G: 847, 31.2K, 2.35M."""
    for scale, letter in ((10**9, "G"), (10**6, "M"), (10**3, "K")):
        value = number / scale
        if value >= 0.9995:
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}{letter}"
    return f"{number:.0f}"


def plural(count: int, noun: str) -> str:
    """The count with its noun: 1 class, 1,797 images."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


def spoken(role: str) -> str:
    """A role as a reader says it: hand-made, random best."""
    return role.replace("_", "-" if role == "hand_made" else " ")


def sampler_name(name: str) -> str:
    """A sampler as a reader knows it: NSGA-II, random search."""
    return {"nsga2": "NSGA-II", "random": "random search"}.get(name, plain(spoken(name)))


def shorten(text: str, width: int) -> str:
    """The text, cut off with two dots where it is longer than `width`."""
    return text if len(text) <= width else text[: width - 2] + ".."
