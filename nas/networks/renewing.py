"""The folders of networks of a run after these have been retrained: the best weights become model.safetensors, and the card says so."""

from nas.goals.selection import selected
from nas.networks.cards import Chosen, best_weights, whole_card
from nas.networks.folder import copy_weights, known_card, write_card, write_description
from nas.networks.steps import check_top1, compare, forms
from nas.runs.run import Run
from nas.runs.searches import Search
from nas.runs.weights import MODEL, WEIGHTS


def renew(run: Run, search: Search) -> None:
    """Brings the folders of the networks that have been retrained up to date. What `nas extract` found about the extracted weights stays.

    Raises:
        InputError: weights are damaged, or do not do what was recorded of their retraining.
    """
    store = run.store
    for digest, entry in selected(search, run.config.retrain.points, run.config.digest, run.config.run).items():
        folder, chosen = search.path(f"networks/{digest}"), best_weights(search, digest)
        if chosen.retraining is None or not store.exists(f"{folder}/{chosen.file}"):
            continue
        before = known_card(store, folder)
        license = before.get("license", run.config.extract.license)
        copy_weights(store, folder, chosen)
        write_description(store, folder, entry.arch, run, license)
        checked = {name: steps for name, steps in before.get("checked", {}).items() if name == WEIGHTS}
        checked[MODEL] = _compared(run, search, folder, chosen)
        write_card(store, folder, whole_card(run, search, entry, chosen, checked, license))


def _compared(run: Run, search: Search, folder: str, chosen: Chosen) -> list[dict[str, object]]:
    """The steps from a retraining to a network in use, on the images and in the batches of `nas extract`."""
    place, device = run.store.path(folder), run.device
    batches = run.part("validation").batches(search.settings.batch_size, device=str(device))
    found = compare(forms(place, device), batches)
    again = f"nas retrain run={run.config.run} search={search.name}, after removing {place / chosen.file}"
    found.check(device.type, str(place), again)
    if chosen.retraining is not None:
        check_top1(found.steps[0], chosen.retraining.validation_top1, str(place / MODEL), again)
    return [step.to_dict() for step in found.steps]
