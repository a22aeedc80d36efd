"""Profiles of this device: units are measured, whole networks are measured, a model is chosen, and its error is found on networks that
took no part in choosing it.

`plan` says what is measured, `steps` measures it and `journal` keeps it, `summary` chooses the model and says how good it is, and `adding`
gives units to a profile that lacks them.
"""

import shutil
from pathlib import Path
from typing import Any

from nas.latency.making.journal import Journal
from nas.latency.making.plan import Plan, networks_of
from nas.latency.making.steps import Steps
from nas.latency.making.summary import summarise
from nas.log import say
from nas.measuring.fingerprint import check_cores, fingerprint
from nas.measuring.profiling import worst
from nas.runs.disk import offering
from nas.runs.store import RunStore
from search_spaces.costs.latency import DeviceModel
from search_spaces.costs.profile_files import model_of, text_of
from search_spaces.textfiles import expanded

PREPARED = ".prepared"
"""What the folder of exported or compiled files has behind the name of its profile, while the profile is made."""


def make_profile(plan: Plan, path: str | Path, show: bool = True, prepared: str | Path | None = None) -> DeviceModel:
    """Measures a device and writes its profile.

    Args:
        path: of the profile. What is measured is kept in a file beside it until the profile is whole.
        show: progress on standard error.
        prepared: a folder for exported or compiled files, which stays; one beside the profile, which is removed with the last
            measurement, if it is None.

    Raises:
        NoisyMachine: something disturbs the machine, and the plan does not take that. What was measured before is kept,
            unless the device has changed its speed meanwhile.
        InputError: the runtime or the device is missing, a network cannot be run, or the file cannot be written.
    """
    out, found = expanded(path), _fingerprint(plan)
    journal = Journal(out, plan.to_dict(found))
    steps = Steps(plan, journal, show, expanded(prepared) if prepared else _beside(out))
    roles = networks_of(plan)
    steps.prepare(roles)
    steps.measure_networks(roles)
    steps.measure_units(roles)
    steps.measure_again(roles)
    steps.check_level()
    data = summarise(steps, roles, found)
    model = model_of(data, path)
    with offering("out=PATH in such a folder"):
        RunStore(out.parent).write_text(out.name, text_of(data))
    journal.remove()
    shutil.rmtree(_beside(out), ignore_errors=True)
    if hurry := worst(journal.noises).hurry():
        say(hurry)
    return model


def prepare_profile(plan: Plan, path: str | Path, show: bool = True, prepared: str | Path | None = None) -> None:
    """Exports or compiles everything that `make_profile` with the same arguments will measure, and measures nothing.

    It takes most of the time that a profile of a slow runtime takes, and the machine may be busy meanwhile. When it was interrupted, it
    resumes.

    Raises:
        InputError: as `make_profile`.
    """
    out = expanded(path)
    journal = Journal(out, plan.to_dict(_fingerprint(plan)))
    steps = Steps(plan, journal, show, expanded(prepared) if prepared else _beside(out))
    steps.prepare(networks_of(plan), keep=False)


def _fingerprint(plan: Plan) -> dict[str, Any]:
    """Of this device, after a check that it has a core for each thread."""
    check_cores(plan.setting.threads)
    return fingerprint(plan.setting)


def _beside(path: Path) -> Path:
    """The folder of what is prepared for a profile.

    Raises:
        InputError: a link stands in its place.
    """
    return RunStore(path.parent).path_to_write(path.name + PREPARED)
