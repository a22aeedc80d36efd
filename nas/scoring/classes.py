"""Which output of a network means which class of a data source. Classes are matched by name where both have names."""

from collections import Counter
from collections.abc import Sequence

from search_spaces.errors import InputError

IMAGENET_CLASSES = 1000


def imagenet_names(outputs: int) -> tuple[str, ...] | None:
    """WordNet's numbers of ImageNet-1K's classes (n01440764, ...), which are the names of its folders; None for other networks."""
    if outputs != IMAGENET_CLASSES:
        return None
    from timm.data.imagenet_info import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_names())


def outputs_of(name: str, outputs: int, names: Sequence[str] | None, classes: Sequence[str], data: str) -> list[int]:
    """For each class of the data, the output of the network that means it.

    Without names on the side of the network, its outputs are taken to be the classes in their order. A network may know more
    classes than the data has; it may then answer with any of them.

    Args:
        name: of the network, and of the data, for messages.
        outputs: how many the network has.
        names: of the network's classes, by output.
        classes: of the data.

    Raises:
        InputError: a class of the data is unknown to the network, a name stands for two outputs, or the numbers differ.
    """
    if names is None:
        if outputs != len(classes):
            raise InputError(
                f"{name} tells {outputs:,} classes apart and does not say which, and data set {data} has {len(classes):,}",
                "a network of as many classes, or one whose folder names them (label_names in config.json)",
                "a network that was trained on these classes",
            )
        return list(range(outputs))
    if len(names) != outputs:
        raise InputError(
            f"{name} names {len(names):,} classes and has {outputs:,} outputs",
            "one name for each output",
            "fix label_names in config.json",
        )
    twice = [one for one, count in Counter(names).items() if count > 1 and one in set(classes)]
    if twice:
        raise InputError(
            f"{name} has two classes {twice[0]!r}",
            "one output for each class of the data",
            "fix label_names in config.json",
        )
    place = {one: output for output, one in enumerate(names)}
    lacking = [one for one in classes if one not in place]
    if lacking:
        shown = ", ".join(map(repr, lacking[:5])) + ", ..." * (len(lacking) > 5)
        known = ", ".join(map(repr, names[:5])) + ", ..." * (len(names) > 5)
        raise InputError(
            f"{name} does not know {len(lacking):,} of the {len(classes):,} classes of data set {data}: {shown}",
            f"the classes that it was trained on: {known}",
            "a network that was trained on these classes, or folders named like its classes",
        )
    return [place[one] for one in classes]
