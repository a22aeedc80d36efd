"""The comparison that a search has to win: `nas study STUDY.toml`.

    asked.py     the budgets and how many networks, and the configuration (standard library only)
    networks.py  what is compared under one budget: winners, scaled families, random networks, the fixed ratio
    timing.py    measured latencies, of all networks side by side and of one candidate
    table.py     means, spreads and verdicts
    writing.py   study.csv and study.md

For each budget the study searches one supernet, extracts the best networks, and trains them beside the papers' families scaled to the
budget, as many random networks of the space, and a network of the fixed ratio 0.5, all by one recipe (`nas.ablation`). What is chosen is
chosen on search-validation; the test part is read once, when all networks of all budgets are trained. Unless `search.objectives` says other
ones, the objectives of each search are top-1 and what its budget limits.

    budgets = ["macs=3.8M..4M", "latency_ms=3"]
    winners = 3
    run = "runs/study"
    space = "images32"

    [data]
    name = "relations"
    resolution = 32

    [train]
    epochs = 40
    budget = "8M"

    [search]
    samplers = ["predictor", "random"]

    [retrain]
    epochs = 20
    seeds = 3

The folder has supernet/ (the run), profile.json (for budgets of latency), and for each budget a folder with networks/, trained/ (the ablation)
and latency.csv.
"""
