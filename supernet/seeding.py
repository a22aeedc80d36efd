"""Seeds for every random thing of a run, derived from the run's one seed and the thing's name.

Nothing random has to be saved for a resumed run to continue as if it had never stopped: what a step draws depends on the run's seed
and the step, not on what was drawn before.
"""

import hashlib


def derive_seed(*parts: object) -> int:
    """A seed below 2**63 from a run's seed and names: `derive_seed(0, "train", step)`. Different parts, unrelated seeds."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1
