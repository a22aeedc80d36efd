"""The targets by name, in the order in which all of them are run."""

from tests.fuzzing.target import Target
from tests.fuzzing.targets import checkpoints, configuration, idx, images, networks, runs, safetensors, spaces

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        networks.TARGET,
        spaces.TARGET,
        configuration.TARGET,
        runs.REPORT,
        runs.EXTRACT,
        safetensors.TARGET,
        checkpoints.TARGET,
        idx.TARGET,
        images.TARGET,
    )
}
