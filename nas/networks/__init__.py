"""Networks by what a user calls them, and as files of their own.

    asked.py        which networks a command is asked about (standard library only)
    found.py        these networks, made
    timm_models.py  models of timm by their names
    references.py   such models, trained and measured beside the Pareto front
    counters.py     MACs of any module by three counters
    extraction.py   a sub-network as a network of its own, and the proof that both do the same
    folder.py       its folder, as timm and the model hub read it
    renewing.py     its folder after the network has been retrained
    steps.py        forms of a network compared on the same images
    cards.py        card.json: what is known of it
    readme.py       README.md: the same for people and for the hub
    commands.py     the commands that make it again

`nas.training.retraining` trains networks alone.
"""
