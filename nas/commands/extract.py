"""`nas extract`: networks of the front as files of their own, equal to what was evaluated; and how to load one.

A network's folder has arch.json (what it is) and weights.safetensors (its weights and normalisation statistics).
"""

import shlex
from pathlib import Path
from typing import Any

import torch

from nas.commands.search import EVALUATIONS, Evaluator, front_of
from nas.config import Config, parse_macs
from nas.evaluate import evaluate
from nas.log import say
from nas.memory import explained
from nas.pareto import spread_over
from nas.run import Run, load_tensors, open_run, save_tensors
from nas.store import RunStore, offering
from search_spaces.architecture import Architecture
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError
from search_spaces.network import Network, build
from search_spaces.reparameterisation import reparameterise, reparameterised
from supernet.calibration import calibrate

ARCH, WEIGHTS = "arch.json", "weights.safetensors"


def load_network(folder: str | Path, weights: str = WEIGHTS) -> Network:
    """A network that `nas extract` or `nas retrain` wrote, in evaluation mode, on the CPU.

    Args:
        weights: the file in the folder; `nas retrain` writes retrained-START-SEED.safetensors beside weights.safetensors.

    Raises:
        InputError: no network there, or a damaged one.
    """
    store = RunStore(folder)
    if not store.exists(ARCH):
        raise InputError(
            f"{folder} holds no network ({ARCH} is missing)", "a folder that `nas extract` wrote", "nas extract run=RUN"
        )
    text = store.read_text(ARCH)
    try:
        network = build(Architecture.from_json(text))
    except InputError as error:
        raise InputError(f"{store.path(ARCH)}: {error.given}", error.allowed, error.instead) from None
    load_tensors(store, weights, network)
    return network.eval()


def selected(run: Run) -> dict[str, dict[str, Any]]:
    """The networks that are extracted and retrained, by digest: {"arch", "roles", "record"}.

    `retrain.points` of the front, the smallest and the largest network, random search's best, and the hand-made network; or the
    one that `digest` names.

    Raises:
        InputError: the run has not been searched, or no evaluated network has that digest.
    """
    records = run.store.records(EVALUATIONS)
    if not any(record["sampler"] == "hand_made" for record in records):
        raise InputError(
            f"{run.store.folder} has no finished search", "a searched run", f"nas search run={run.config.run}"
        )
    budget = parse_macs(run.config.search.budget)
    winners = front_of(records, budget)
    chosen = spread_over([(record["macs"], record["top1"]) for record in winners], run.config.retrain.points)
    by_role = [("front", winners[index]) for index in chosen]
    by_role += [(name, record) for record in records for name in ("smallest", "largest") if record["sampler"] == name]
    by_role.append(("random_best", front_of(records, budget, ("random",))[-1]))
    by_role += [("hand_made", record) for record in records if record["sampler"] == "hand_made"][-1:]
    if run.config.digest:
        matching = {r["digest"]: r for r in records if r["digest"].startswith(run.config.digest)}
        if len(matching) != 1:
            known = ", ".join(record["digest"] for record in winners)
            raise InputError(
                f"digest {run.config.digest!r} names {len(matching)} evaluated networks", f"one of the run's networks, such as {known}",
                f"digest={winners[-1]['digest']}",
            )  # fmt: skip
        by_role = [(role, r) for role, r in by_role if r["digest"] in matching] or [
            ("chosen", r) for r in matching.values()
        ]
    found: dict[str, dict[str, Any]] = {}
    for role, record in by_role:
        entry = found.setdefault(
            record["digest"], {"arch": Architecture.from_dict(record["architecture"]), "roles": [], "record": record}
        )
        if role not in entry["roles"]:
            entry["roles"].append(role)
    return found


@explained
def extract(config: Config) -> dict[str, Path]:
    """Writes the selected networks, each compared with the supernet on a batch and with its recorded accuracy.

    Returns:
        Their folders by digest.

    Raises:
        InputError: the run has not been searched, files are missing or damaged, or a network does not do what was evaluated.
    """
    if config.extract.merge and not config.extract.out:
        raise InputError(
            "merge=true without out", "a folder for networks that are not retrained", "out=models merge=true"
        )
    out = config.extract.out
    store = RunStore(out or config.run)
    # Networks that go elsewhere, and checks, only read the run: it may be in use, or in a folder that cannot be written.
    within = store.folder.resolve().is_relative_to(RunStore(config.run).folder.resolve())
    chosen_one = f" digest={config.digest}" if config.digest else ""
    elsewhere = "out=PATH of such a folder" if out else f"nas extract run={shlex.quote(config.run)}{chosen_one} out=DIR"
    with offering(elsewhere):
        run = open_run(config, writes=within and not config.extract.verify)
    chosen = selected(run)
    evaluator = Evaluator.of(run)
    place = "" if out else "networks/"
    others = f" out={out}" if out else ""
    others += " merge=true" if config.extract.merge else ""
    folders = {}
    for digest, entry in chosen.items():
        arch, folder = entry["arch"], f"{place}{digest}"
        buffers = calibrate(evaluator.supernet, arch, evaluator.calibration)
        if not config.extract.verify:
            network = evaluator.supernet.extract(arch, buffers)
            if config.extract.merge:
                network = reparameterise(network)
            about = {"digest": network.arch.digest, "split": run.split.digest}
            with offering(elsewhere):
                save_tensors(store, f"{folder}/{WEIGHTS}", network.state_dict(), about)
                store.write_text(f"{folder}/{ARCH}", network.arch.to_json(indent=1) + "\n")
        network = load_network(store.path(folder)).to(run.device)
        expected = reparameterised(arch).digest if config.extract.merge else digest
        if network.arch.digest != expected:
            raise InputError(
                f"{store.path(folder)} holds network {network.arch.digest}",
                expected,
                f"nas extract run={config.run} digest={digest}{others}",
            )
        images = next(iter(evaluator.validation))[0]
        with torch.no_grad():
            logits = evaluator.supernet(images, arch, buffers)
            difference = (network(images) - logits).abs().max().item()
        accuracy = evaluate(network, evaluator.validation)
        recorded = entry["record"]["top1"]
        say(
            f"{store.path(folder)}  {macs(network.arch):>13,} MACs  top-1 {accuracy.top1:.4f} (evaluated {recorded:.4f})  "
            f"largest difference from the supernet on {len(images)} images: {difference:g}"
        )
        # Bitwise on the CPU. The accuracy may be from another device or number of threads, which round differently.
        exact = run.device.type == "cpu" and expected == digest
        rounding = 1e-4 if run.device.type == "cpu" else 1e-2
        close = difference <= (0 if exact else rounding * max(1.0, logits.abs().max().item()))
        if not close or abs(accuracy.top1 - recorded) * accuracy.images > max(1, accuracy.images / 500):
            raise InputError(
                f"{store.path(folder)} does not do what was evaluated: its logits differ from the supernet's by up to {difference:g}, "
                f"its top-1 is {accuracy.top1:.6f} and was {recorded:.6f}",
                "the files as nas wrote them, and the machine and number of threads that searched",
                f"nas extract run={config.run} digest={digest}{others}",
            )
        folders[digest] = store.path(folder)
    return folders
