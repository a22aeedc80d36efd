"""Networks by what a user calls them, and as files of their own.

    asked.py        which networks a command is asked about (standard library only)
    found.py        these networks, made
    timm_models.py  models of timm by their names
    references.py   such models, trained and measured beside the Pareto front
    counters.py     MACs of any module by three counters
    extraction.py   a sub-network as a network of its own
    cards.py        card.json beside its files

`nas.training.retraining` trains networks alone.
"""
