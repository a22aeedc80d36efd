"""Training of supernets and of networks alone.

supernet.py    a run's supernet, on every process that takes part
losses.py      the log of that training, and whether anything was learned
retraining.py  networks alone, one after the other or at once
network.py     the training of one network
steps.py       its step by a recipe
pieces.py      the parts of a recipe that timm makes
teachers.py    teachers of distillation
recipes/       named recipes
jobs.py        one job per network, initialisation and seed
strategies.py  the strategy that a configuration names
ranks.py       the processes that train together
sharing.py     how many they are
"""
