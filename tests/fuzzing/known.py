"""Inputs that found a fault once, by target. `make test` tries all of them."""

KNOWN: dict[str, tuple[int, ...]] = {}
