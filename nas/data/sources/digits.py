"""scikit-learn's 1797 handwritten digits: 8 x 8 grey pixels, resized bilinearly to the resolution."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nas.data.arrays import Arrays


class Digits(Arrays):
    """One pool, from which all parts are cut."""

    names = tuple("0123456789")

    def read(self, part: str) -> tuple[np.ndarray, np.ndarray] | None:
        if part != "train":
            return None
        images, labels = _digits()
        return np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8), labels


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 64) with values from 0 to 16, and labels (n).

    They are read from scikit-learn's file where it has one: importing scikit-learn takes longer than everything else that a command
    like `nas extract` does with the images.
    """
    package = find_spec("sklearn")
    file = Path(package.origin).parent / "datasets/data/digits.csv.gz" if package and package.origin else None
    if file is None or not file.is_file():
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        return np.asarray(images), np.asarray(labels)
    table = np.loadtxt(gzip.decompress(file.read_bytes()).decode().splitlines(), delimiter=",", dtype=np.int64)
    return table[:, :-1], table[:, -1]
