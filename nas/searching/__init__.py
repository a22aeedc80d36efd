"""A search at work.

    conduct.py     a search from its first evaluation to its last
    searching.py   what evaluates and records
    engine.py      the loop: samplers propose, networks are scored, samplers are told
    proposers.py   the samplers with their options
    exact.py       what they are told of the space
    sources.py     where members are drawn from
    starting.py    networks that samplers propose first
    baselines.py   the hand-designed network that every search is compared with
    evaluation.py  accuracy of sub-networks on images
    races.py       candidates that lose before they have seen all images
    racing.py      when a loss is sure

Samplers are in `nas.samplers`, and what evaluates networks on several processes or machines is in `nas.executors`.
"""
