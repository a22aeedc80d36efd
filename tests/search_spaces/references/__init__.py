"""Naive versions of every part, from its equations. A reference is a function (w, options, x, ...) of the part's tensors by name; it
shares no code with the part.

    operations.py            what they are made of
    norms_and_positions.py   norms, scales, positions and position biases
    embeddings.py            embeddings and heads
    ffns.py                  feed-forward networks
    convolutions.py          mixers that convolve or pool
    attention.py             mixers that attend
    d_mixer.py               the D-Mixer
    ems.py                   EMS and its attentions

`tests/search_spaces/test_references.py` compares them with the parts.
"""
