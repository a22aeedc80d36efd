"""Every case, and which of them are tried when.

All of them are tried by the slow tests, each in a process that is forked from one that has imported the libraries. `FAST` are tried by
`make test`, one or two for each kind of fault; `COLD` also in an interpreter of their own, as a user starts it.
"""

from tests.hostile import paths, programs, records, spaces, special, weights, words
from tests.hostile.case import CASES, Case

MODULES = (paths, programs, special, spaces, weights, records, words)
"""They add their cases when they are imported."""

FAST = (
    "work/lock is a link to precious.txt (search)",
    "study.db is a link to precious.txt (search)",
    "searches/small/networks is a link to folder (extract)",
    "networks/DIGEST is a link to a folder of the user",
    "the digest '../../out/x' is typed",
    "split.json names the image '../../../../etc/passwd'",
    "run.json names a plugin (extract)",
    "an EPS that is called an image",
    "a checkpoint to convert is an archive with a pickle",
    "run.json is a pipe",
    "two links to the same folder among the images",
    "a space with a billion branches (spaces)",
    "an architecture with a hundred thousand blocks",
    "a checkpoint to convert with a tensor of 2^36 elements in one number",
    "an idx file whose header announces four thousand million images",
    "an image that is a PNG of 60,000 x 60,000 pixels",
    "threads=10000000000000000000",
    "R/run.json is a number of 5,000 digits",
    "nas train sede={x}",
    "the name of a sampler in a report is a formula",
    "a trials.csv that is a folder: no file of the report is written",
    "weights that are not numbers (evaluate)",
)

COLD = (*FAST[::4], "modules of the user's folder shadow the libraries", "a repository of the user's folder has hooks")


def chosen(names: tuple[str, ...]) -> list[Case]:
    """The cases of these names."""
    known = {case.name: case for case in CASES}
    return [known[name] for name in names]
