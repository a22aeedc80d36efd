"""Scores of trained networks on a data source: `nas evaluate`.

asked.py     the options of the command (standard library only)
entrants.py  networks with trained weights, how each sees images, and the names of its classes
images.py    the images of a part, and which output of a network means which class
scores.py    top-1, top-5, loss and the interval
"""
