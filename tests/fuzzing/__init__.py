"""Mutates every kind of file that a stranger may hand over, and sees that each is either read or refused in three parts,
in bounded time and memory.

    python -m tests.fuzzing all --jobs 2            the share of every target, 20 minutes on two cores (`make fuzz`)
    python -m tests.fuzzing images 10000            ten thousand inputs of one target
    python -m tests.fuzzing images 1000 --first 500 inputs 500 to 1499
    python -m tests.fuzzing images 1 --first 512    one of them again
    python -m tests.fuzzing images 1 --first 512 --keep FOLDER    also leaves it in a folder, to be looked at
    python -m tests.fuzzing images 1 --first 512 --known          keeps it among those that `make test` tries

Input number n of a target depends on n alone, for one version of the code. `make test` runs 80 to 300 of each
(tests/test_fuzzing.py), and those of `tests/fuzzing/known.py`, which found faults once and are kept as files.

    mutation.py    changes of values, texts and bytes
    target.py      what a target is
    trial.py       one input, under limits of time, memory and address space
    worker.py      many inputs in a process of their own
    fleet.py       the workers of a target; one that dies or hangs is a fault of the input that it had
    targets/       one file per kind of input
    corpus/        what is mutated, where code does not make it; renewing.py makes it anew
"""
