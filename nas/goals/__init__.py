"""What a search is for, and which networks meet it best.

    budget.py      limits on any costs, and how far a network is outside them
    objectives.py  what is optimised: top1, loss and any costs
    costing.py     the costs behind both: which there are, and whether any network keeps the limits
    limiting.py    a budget of training, which narrows the space before the supernet is made
    pareto.py      the Pareto front of points, its hypervolume, and a few points spread over it
    roles.py       why a network matters
    selection.py   which networks are extracted and retrained, and why
    standing.py    how all of this stands while a search runs

Search, extraction, retraining and the report ask here which networks win, so that they agree.
"""
