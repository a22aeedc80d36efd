"""Hostile files and words, each tried with the real command: it must refuse them in three parts, quickly, in little memory, and leave the
world outside the run folder as it was.

    world.py      a home, a desk with a run from a stranger, and files that nobody may touch
    case.py       what a case is, and the list that the other modules fill
    paths.py      names from data that are paths, and links where files are written
    programs.py   data that name modules, programs and pickles
    special.py    pipes, devices, folders, links and huge files in the place of every file that is read
    spaces.py     spaces, architectures and configurations that ask for too much
    weights.py    checkpoints, weights, idx files and images
    records.py    values in run.json, split.json and records
    words.py      words of the command line, and texts that end on a terminal or in a table

    every.py      all of them, and which are tried when

`tests/nas/test_hostile.py` runs them.
"""
