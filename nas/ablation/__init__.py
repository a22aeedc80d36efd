"""Ablations: a few named networks trained by one recipe with several seeds, without a search: `nas ablate`.

    asked.py     which rows, and the configuration (standard library only)
    changes.py   one architecture, changed in a few places
    rows.py      the rows as networks for the images of a data source
    folder.py    the folder of an ablation: what it is, and its results
    training.py  one training of one row, as a job of an executor
    table.py     mean and spread over the seeds, and the difference to the first row
    writing.py   the table as text, CSV, Markdown and HTML, with its conditions

In a file, rows are changes of one base architecture, or other networks:

    base = "transxnet_tiny"

    [data]
    name = "fashion_mnist"
    resolution = 32

    [retrain]
    epochs = 20
    seeds = 3

    [rows."ratio 0.5, as published"]

    [rows."ratio 0.25"]
    stages.all.mixer.attention_ratio = 0.25

    [rows."pooling in the first stage"]
    stages.0.mixer.part = "pooling"

    [rows."HAT-Net"]
    network = "hat_net_tiny"
"""
