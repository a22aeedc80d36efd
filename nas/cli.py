"""The command line: `nas VERB [CONFIG.toml] [key=value ...]`.

Imports the standard library only; a verb's own module, and with it torch, is imported when the arguments are found to be right.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from nas.ablation.asked import parse as parse_ablation
from nas.ablation.study.asked import parse as parse_study
from nas.config import Config
from nas.config.helping import help_of, help_of_ablate, help_of_evaluate, help_of_networks, help_of_study
from nas.config.parsing import load_config
from nas.downstream.asked import parse as parse_dense
from nas.export.asked import Exported
from nas.log import say
from nas.machine.ending import end
from nas.machine.garbage import importing, runs_one_command
from nas.networks.asked import Asked, Networks, Timed
from nas.networks.asked import parse as parse_networks
from nas.plugins.given import only_given
from nas.plugins.remembered import own_plugins
from nas.scoring.asked import parse as parse_scored
from search_spaces.counting import worded
from search_spaces.errors import InputError, unknown
from search_spaces.named import claim_names, read_space, space_file, space_names

VERBS = {
    "spaces": "list the search spaces, or show one, or what a budget leaves of it: nas spaces [NAME or FILE.toml] [budget=500M]",
    "models": "list the papers' networks with printed and counted costs, or show one: nas models [NAME]",
    "cost": "parameters, MACs, activations and memory of any network, with fvcore's and torch's MACs beside ours",
    "dense": "the papers' tables of detectors, segmenters and keypoints, or any network under their heads: nas dense [NETWORK ...]",
    "bench": "latency and throughput of any networks, measured side by side in one run",
    "recipes": "list the recipes of retraining, or show one: nas recipes [NAME or FILE.toml]",
    "export": "networks as ONNX, pt2 or OpenVINO files, each compared with its network before it is written",
    "convert": "an official checkpoint as a network of ours: nas convert FILE --model NAME [--out FOLDER]",
    "evaluate": "top-1, top-5 and loss of trained networks on a part of the images: nas evaluate NETWORK... run=RUN part=val",
    "train": "train the weight-sharing supernet of a run",
    "search": "search the trained supernet under a budget; a run has any number of searches",
    "extract": "write networks of the Pareto front, and the baselines, as folders that load_network and timm load",
    "retrain": "train the winners and the baselines as stand-alone networks",
    "ablate": "train named networks by one recipe with several seeds, without a search, and print the table",
    "study": "searched winners against scaled families, random networks and the fixed ratio: nas study STUDY.toml",
    "report": "write report.html, front.png, front.csv and trials.csv",
    "profile": "measure this device, so that latency is a cost: nas profile space=SPACE out=FILE.json",
    "demo": "train, search, extract, retrain and report, one after the other",
}
ABOUT_NETWORKS: dict[str, type[Networks]] = {"cost": Asked, "bench": Timed, "export": Exported}
"""What takes networks, and its options."""

STEPS = ("train", "search", "extract", "retrain", "report", "demo", "ablate", "study")
"""What works on a run. The others print."""

SPACE_OPTIONS = ("budget", "data.resolution", "plugins", "search.profiles", "search.learned", "search.fill")
"""What may stand beside a space that is shown. Keys of `search` make costs known that its budget may limit."""

HELP_WORDS = {"-h", "--help", "help"}

HELP = """usage: nas VERB [CONFIG.toml] [key=value ...]

Neural architecture search over hybrid token mixers for vision.

verbs:
{verbs}

Interrupted commands resume: run the same command again. Keys without a section are looked for in the verb's own section first
(`nas search budget=3M`). `nas VERB --help` explains the keys of that verb.

examples:
  nas demo                                        digits, a few minutes on two cores
  nas train run=runs/mine data=folder data.root=IMAGES data.resolution=32 space=digits
  nas search run=runs/mine budget=3M
  nas search run=runs/mine budget=macs=3M,params=100K objectives=top1,macs,params
  nas extract run=runs/mine                       all searches of the run, or search=NAME
  nas extract run=runs/mine pick="macs<=2M" out=models
  nas retrain run=runs/mine
  nas report run=runs/mine
  nas profile space=images32 out=laptop.json      then nas search search.profiles=laptop.json budget=latency_ms=8"""


def command() -> NoReturn:
    """`nas` in a shell: runs the command that was typed, and ends the process."""
    end(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0, 1 for training that diverged, 2 for input that cannot be used, 130 when interrupted,
        141 when nobody reads what it prints any more (`nas spaces | head`).
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        _forget_present_folder()
        runs_one_command()
    try:
        with only_given(own_plugins):
            code = run(given)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        if given and given[0] in STEPS and not HELP_WORDS & {*given}:
            raise  # perhaps not of our output
        with open(os.devnull, "w") as nowhere:  # for the interpreter's last flush
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return 141
    except InputError as error:
        say(f"nas: {error}", sys.stderr)
        return 2
    except (MemoryError, ImportError) as error:
        # While torch is imported, want of memory is an error of the loader. What a verb needs later is said by nas.machine.memory.
        if isinstance(error, ImportError) and "failed to map segment" not in str(error):
            raise
        refusal = InputError(
            f"there is not enough memory to start ({error or 'MemoryError'})",
            "about 4 GiB of address space for the libraries, and what the verb needs",
            "ulimit -v unlimited",
        )
        say(f"nas: {refusal}", sys.stderr)
        return 2
    except FloatingPointError as error:
        say(f"nas: {error}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\nnas: interrupted; the same command resumes", sys.stderr)
        return 130


def _forget_present_folder() -> None:
    """No module is imported from the folder in which a command is typed, here or in the processes that it starts: the folder may be somebody
    else's. `python -m` puts it first; of a checkout that is not installed it is where this package lies, and stays.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    if __name__ == "__main__" and not sys.flags.safe_path:
        own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        if sys.path[0] != own:
            del sys.path[0]


def run(arguments: list[str]) -> int:
    """As `main`, but raises.

    Raises:
        InputError: the arguments, the configuration, or what they name cannot be used.
    """
    verb = arguments[0] if arguments else "--help"
    if verb in HELP_WORDS:
        say(HELP.format(verbs="\n".join(f"  {name:9}{what}" for name, what in VERBS.items())))
        return 0
    if verb not in VERBS:
        raise unknown("verb", verb, VERBS, "nas {}")
    rest = arguments[1:]
    if any(word in ("-h", "--help") for word in rest) and verb in ("spaces", "models", "recipes", "convert", "dense"):
        say(f"nas {verb}: {VERBS[verb]}")
        return 0
    if any(word in ("-h", "--help") for word in rest) and verb in ABOUT_NETWORKS:
        say(help_of_networks(verb, VERBS[verb], ABOUT_NETWORKS[verb]))
        return 0
    if any(word in ("-h", "--help") for word in rest) and verb in ("evaluate", "ablate", "study"):
        say({"evaluate": help_of_evaluate, "ablate": help_of_ablate, "study": help_of_study}[verb](VERBS[verb]))
        return 0
    if any(word in ("-h", "--help") for word in rest):
        say(help_of(verb, VERBS[verb]))
        return 0
    if verb == "spaces":
        return spaces(rest)
    if verb == "models":
        return models(rest)
    if verb == "recipes":
        _module("recipes").recipes(*rest)
        return 0
    if verb == "convert":
        return convert(rest)
    if verb == "profile":
        _module("profile").profile(profile_config(rest))
        return 0
    if verb in ABOUT_NETWORKS:
        return about_networks(verb, rest)
    if verb == "evaluate":
        return evaluate(rest)
    if verb == "dense":
        names, dense = parse_dense(rest)
        _module("dense").dense(*names, asked=dense)
        return 0
    if verb == "ablate":
        asked = parse_ablation(rest)
        _module("ablate").ablate(asked)
        return 0
    if verb == "study":
        _module("study").study(*parse_study(rest))
        return 0
    for config in importlib.import_module("nas.config.effective").configure(verb, rest):
        getattr(importlib.import_module("nas"), verb)(config)
    return 0


def _module(verb: str) -> ModuleType:
    with importing():
        return importlib.import_module(f"nas.commands.{verb}")


def profile_config(arguments: list[str]) -> Config:
    """The configuration of `nas profile`, which works on no run: a file, if there is one, then what is typed."""
    file = arguments[0] if arguments and "=" not in arguments[0] else None
    return load_config(file, arguments[1:] if file else arguments, section="profile")


def spaces(arguments: list[str]) -> int:
    """Lists the named spaces, or shows one, checked as training checks it, or what a budget leaves of it."""
    options = [word for word in arguments if "=" in word]
    names = [word for word in arguments if word not in options]
    if len(names) > 1 or (options and not names):
        raise InputError(
            f"arguments {arguments}",
            f"at most one space, and {', '.join(map('{}='.format, SPACE_OPTIONS))} beside it",
            f"nas spaces {(names or ['digits'])[0]}",
        )
    given = [word.partition("=")[0].removeprefix("train.") for word in options]
    for key, word in zip(given, options, strict=True):
        if key not in SPACE_OPTIONS:
            raise unknown("key", key, SPACE_OPTIONS, f"{{}}={word.partition('=')[2]}")
    if names:
        path = space_file(names[0], "nas spaces {}")
        read_space(path)  # what the file alone tells is said without importing torch
        config = load_config(None, options, section="train")
        resolution = config.data.resolution if "data.resolution" in given else 0
        _module("spaces").show(path, config, resolution)
        return 0
    # Without the parts, which take seconds to import, nobody knows which choices make the same function.
    for title, found in (("at most", space_names()), ("for one claim of a paper each", claim_names())):
        say(f"{'space':20} {title}")
        for name in found:
            space = read_space(name)
            say(f"{name:20} {worded(space.size, 2):>9} networks  {space.about}")
    return 0


def models(arguments: list[str]) -> int:
    """The papers' networks, or one of them."""
    if len(arguments) > 1:
        raise InputError(f"arguments {arguments}", "at most one network", f"nas models {arguments[0]}")
    _module("models").models(*arguments)
    return 0


def about_networks(verb: str, arguments: list[str]) -> int:
    """What networks cost, or how long they take."""
    names, asked = parse_networks(arguments, verb, ABOUT_NETWORKS[verb])
    getattr(_module(verb), verb)(*names, asked=asked)
    return 0


def evaluate(arguments: list[str]) -> int:
    """Scores of trained networks."""
    asked, data, names = parse_scored(arguments)
    _module("evaluate").evaluate(*names, asked=asked, data=data)
    return 0


def convert(arguments: list[str]) -> int:
    """Converts a checkpoint; `--model NAME` and `model=NAME` are the same."""
    files, options, rest = [], {}, list(arguments)
    while rest:
        word = rest.pop(0)
        key, sign, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and not sign:
            sign, value = "=", rest.pop(0) if rest else ""
        if not sign or (not word.startswith("--") and key not in ("model", "out")):
            files.append(word)
        elif key not in ("model", "out"):
            raise unknown("option of convert:", key, ("model", "out"), "--{} NAME")
        else:
            options[key] = value
    if len(files) != 1 or not options.get("model"):
        raise InputError(
            f"{len(files)} files and the model {options.get('model', '')!r}",
            "one file and the name of a network (`nas models` lists them)",
            f"nas convert {files[0] if files else 'FILE'} --model transxnet_tiny",
        )
    _module("convert").convert(files[0], **options)
    return 0


if __name__ == "__main__":
    command()
