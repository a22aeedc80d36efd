"""What `nas VERB --help` says: the keys of that verb, each with its default, its type and its meaning. Standard library only."""

import dataclasses
import textwrap
import typing

from nas.ablation.asked import ALLOWED as ROWS
from nas.ablation.asked import Ablated
from nas.ablation.study.asked import Studied
from nas.config import SECTIONS, Config
from nas.config.keys import typed
from nas.networks.asked import ALLOWED, Networks
from nas.scoring.asked import ALLOWED as SCORED
from nas.scoring.asked import Scored

GENERAL = {
    "train": ("run", "space", "seed", "device", "threads", "tensorboard", "plugins"),
    "search": ("run", "device", "threads", "executor", "tensorboard", "plugins"),
    "extract": ("run", "digest", "device", "threads", "plugins"),
    "retrain": ("run", "digest", "device", "executor", "tensorboard", "plugins"),
    "report": ("run",),
    "profile": ("space", "seed", "device", "threads", "plugins"),
    "demo": ("run", "space", "seed", "device", "threads", "executor", "tensorboard", "plugins"),
}
"""Keys without a section that each verb reads."""

SECTIONS_OF = {
    "train": ("data", "train"),
    "search": ("search",),
    "extract": ("extract",),
    "retrain": ("retrain",),
    "report": ("report",),
    "profile": ("profile",),
    "demo": (),
}
"""Sections whose keys each verb reads."""

ALSO = {
    "train": (("search", "budget"), ("search", "objectives")),
    "extract": (("search", "name"), ("retrain", "points")),
    "retrain": (("search", "name"),),
    "report": (("search", "name"),),
}
"""Keys of other sections that a verb reads too."""

NOTES = {
    "train": "Keys of search and retrain that are given here (search.budget=3M) become defaults of the run's searches. A budget that no network "
    "keeps is refused before training starts.",
    "search": "A run has one supernet and any number of searches. Each search has a name; searches reuse each other's evaluations. `search=NAME` with an "
    "existing name resumes that search; with close=true it is finished as it stands. search=NAME is short for search.name=NAME. Under a limit "
    "on the latency of this device (search.profiles), networks are measured before they are called feasible, and those that take too long are "
    "replaced by the next ones.",
    "extract": 'Without search=NAME, all searches of the run. Each network gets a folder that timm loads (timm.create_model("local-dir:FOLDER", '
    "pretrained=True) after import search_spaces) and that can be pushed to a model hub as it is. Its model.safetensors has the best retrained "
    "weights if there are any, else the extracted ones.",
    "retrain": "Without search=NAME, all searches of the run.",
    "report": "Without search=NAME, one page with all searches of the run.",
    "profile": "Measures every unit of a space and a few whole networks on this device, and writes a model of it. search.profiles=FILE then makes "
    "latency_ms a cost here, and latency_ms@NAME a cost on any machine. The printed error is that on networks that the model has not seen.",
    "demo": "Without a file, and without data= or space=, it takes nas/demo.toml. It reads the keys of all verbs: write those of data, train, "
    "search, extract, retrain and report with their section (train.epochs=20). See nas train --help, nas search --help and so on.",
}

_TYPES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _key(name: str, field: "dataclasses.Field[object]", annotation: object) -> str:
    words = "a list: a,b" if typing.get_origin(annotation) is tuple else _TYPES[annotation]  # type: ignore[index]
    meaning = f"{field.metadata['meaning']} ({words})"
    lines = textwrap.wrap(meaning, 100, initial_indent="      ", subsequent_indent="      ")
    return "\n".join((f"  {name}={typed(field.default)}", *lines))


def _keys(kind: type, prefix: str, names: typing.Iterable[str]) -> list[str]:
    hints = typing.get_type_hints(kind)
    known = {field.name: field for field in dataclasses.fields(kind)}
    return [_key(prefix + name, known[name], hints[name]) for name in names]


def help_of(verb: str, about: str) -> str:
    """The help of one verb.

    Args:
        about: what it does, in a line.
    """
    parts = [f"nas {verb}: {about}", f"usage: nas {verb} [CONFIG.toml] [key=value ...]"]
    if verb in NOTES:
        parts.append("\n".join(textwrap.wrap(NOTES[verb], 106)))
    for section in SECTIONS_OF[verb]:
        kind = SECTIONS[section]
        own = "" if section == verb else f"{section}."
        written = f"[{section}] in a TOML file; {kind.__doc__}"
        parts.append("\n".join((written, *_keys(kind, own, (f.name for f in dataclasses.fields(kind))))))
    general = _keys(Config, "", GENERAL[verb])
    for section, name in ALSO.get(verb, ()):
        general += _keys(SECTIONS[section], f"{section}.", (name,))
    parts.append("\n".join(("general keys", *general)))
    others = [other for other in GENERAL if other != verb]
    more = f"The keys of the other verbs: nas VERB --help with {', '.join(others)}. All verbs: nas --help."
    parts.append("\n".join(textwrap.wrap(more, 106)))
    return "\n\n".join(parts)


def help_of_networks(verb: str, about: str, kind: type[Networks]) -> str:
    """The help of a verb about networks.

    Args:
        about: what it does, in a line.
        kind: its options.
    """
    names = [field.name for field in dataclasses.fields(kind)]
    return "\n\n".join(
        (
            f"nas {verb}: {about}",
            f"usage: nas {verb} [NETWORK ...] [key=value ...]",
            "\n".join(textwrap.wrap(f"A network is {ALLOWED}.", 106)),
            "\n".join(("keys", *_keys(kind, "", names))),
            f"examples:\n  nas {verb} transxnet_tiny timm/resnet50 models/DIGEST\n  nas {verb} space=images32 sample=5 seed=0",
        )
    )


def help_of_evaluate(about: str) -> str:
    """The help of `nas evaluate`.

    Args:
        about: what it does, in a line.
    """
    names = [field.name for field in dataclasses.fields(Scored)]
    notes = f"A network is {SCORED}. Classes are matched by name where both the network and the data name them."
    data = "The images are those of a run, or of a data source: data=folder data.root=IMAGES. nas train --help has the keys of data."
    return "\n\n".join(
        (
            f"nas evaluate: {about}",
            "usage: nas evaluate NETWORK [NETWORK ...] run=RUN or data=NAME [key=value ...]",
            "\n".join(textwrap.wrap(notes, 106)),
            "\n".join(textwrap.wrap(data, 106)),
            "\n".join(("keys", *_keys(Scored, "", names))),
            "examples:\n  nas evaluate models/DIGEST timm/resnet18 run=runs/mine part=test\n"
            "  nas evaluate converted/transxnet_tiny data=folder data.root=IMAGES data.resolution=224",
        )
    )


def help_of_ablate(about: str) -> str:
    """The help of `nas ablate`.

    Args:
        about: what it does, in a line.
    """
    names = [field.name for field in dataclasses.fields(Ablated)]
    notes = (
        f"A row is {ROWS}. In a file, a row is a table of changes of the base network: stages.2.mixer.attention_ratio = 0.25. "
        "Results belong to a folder; the same command resumes, and may have more rows or seeds. Keys without a section are those of the "
        "recipe, as for nas retrain."
    )
    sections = [
        "\n".join((f"[{name}] in a TOML file; {SECTIONS[name].__doc__}", *_keys(SECTIONS[name], prefix, names_of)))
        for name, prefix, names_of in (
            ("data", "data.", [field.name for field in dataclasses.fields(SECTIONS["data"])]),
            (
                "retrain",
                "",
                [
                    f.name
                    for f in dataclasses.fields(SECTIONS["retrain"])
                    if f.name not in ("points", "inits", "references")
                ],
            ),
        )
    ]
    general = _keys(Config, "", ("run", "seed", "device", "executor", "tensorboard", "plugins"))
    return "\n\n".join(
        (
            f"nas ablate: {about}",
            "usage: nas ablate [FILE.toml] [NETWORK ...] run=FOLDER [key=value ...]",
            "\n".join(textwrap.wrap(notes, 106)),
            "\n".join(("keys", *_keys(Ablated, "", names))),
            *sections,
            "\n".join(("general keys", *general)),
            "examples:\n  nas ablate space=transxnet_ratio_tied run=runs/ratio data=fashion_mnist data.resolution=32 seeds=3\n"
            "  nas ablate rows.toml run=runs/rows part=val",
        )
    )


def help_of_study(about: str) -> str:
    """The help of `nas study`.

    Args:
        about: what it does, in a line.
    """
    names = [field.name for field in dataclasses.fields(Studied)]
    notes = (
        "One supernet is trained, searched under each budget, and its best networks are retrained beside the papers' families scaled to the "
        "budget, random networks and a network of the fixed ratio 0.5, by one recipe. The file has the keys below, and sections data, "
        "train, search and retrain as for those verbs, whose keys are typed with their section (retrain.epochs=20). The same command resumes."
    )
    return "\n\n".join(
        (
            f"nas study: {about}",
            "usage: nas study STUDY.toml [key=value ...]",
            "\n".join(textwrap.wrap(notes, 106)),
            "\n".join(("keys", *_keys(Studied, "", names))),
            "\n".join(
                (
                    "general keys",
                    *_keys(Config, "", ("run", "space", "seed", "device", "threads", "executor", "plugins")),
                )
            ),
            "examples:\n  nas study tests/benchmarks/studies/relations.toml\n  nas study study.toml run=runs/study part=val",
        )
    )
