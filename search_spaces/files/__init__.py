"""Network folders that somebody else may have written: read with bounded memory and time, and refused in three parts if they are wrong.

    plain.py       JSON texts and values
    sizes.py       sizes that an architecture may have
    tensors.py     headers of safetensors files
    blueprint.py   names and shapes of the tensors of an architecture, without making them
    described.py   the architecture that the arguments of a model of timm describe
    folder.py      the description and the weights in a folder

Nothing here runs code from a file: there is no pickle, and parts are looked up by name among those that are registered. The shapes that a
description asks for are compared with those that the file of weights announces before either takes memory.
"""
