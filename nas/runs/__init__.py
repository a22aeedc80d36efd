"""The run folder, and what is read from it.

    store.py       the folder, and the only writer of it
    inside.py      writing and removing below a folder, and which links are followed
    leftovers.py   temporary files of killed processes
    outputs.py     the file of out=FILE
    disk.py        what can go wrong there
    lines.py       a line of records with its checksum
    line_files.py  files of such lines
    locks.py       who may write the folder
    run.py         a run as the verbs see it, made or opened
    searches.py    the searches of a run
    beginning.py   a search that is begun or resumed
    settings.py    what may differ then
    inputs.py      files of costs, as they were when they were used
    checkpoints.py what a training that resumes needs
    identity.py    what run.json has to say
    described.py   whole files, as they are read
    splits.py      split.json, as it is read
    weights.py     files of weights
    tables.py      rows as CSV
    scalars.py     what TensorBoard shows

`nas.records` says what the records of a search mean.
"""
