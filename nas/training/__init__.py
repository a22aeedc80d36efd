"""Training of supernets and of networks alone.

supernet.py    a run's supernet, on every process that takes part
retraining.py  networks alone
jobs.py        one job per network, initialisation and seed
strategies.py  the strategy that a configuration names
ranks.py       the processes that train together
"""
