"""A cluster of local cores that the tests of a session share: starting one takes seconds."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Four processors, whatever this machine has: as many workers as a test asks for."""
    import logging
    import os

    # Or its workers get next to nothing beside the other processes of the tests.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - as Ray spells it
    from nas.executors.cluster import ray

    ray.init(address="local", num_cpus=4, include_dashboard=False, logging_level=logging.WARNING)
    yield
    ray.shutdown()
