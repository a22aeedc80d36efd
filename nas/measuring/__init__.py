"""Times of networks and of their units on a device: how they are measured, and when they are believed.

    timing.py       several things side by side, in rounds of random order, until each median is known well enough
    levels.py       how fast the machine was in each round
    noise.py        the same beside a reference that says whether the machine was quiet
    run_cache.py    what runs networks and units, prepared once
    profiling.py    times of many networks and units, in chunks that fit into memory
    fingerprint.py  what a time was measured on
    targets.py      devices whose latency a search limits or optimises
    delivery.py     networks of a search, measured on such a device before they may win

`nas.latency` makes models of devices from such times.
"""
