"""scikit-learn's 1797 handwritten digits: 8 x 8 grey pixels, resized bilinearly to the resolution."""

import numpy as np

from nas.data.arrays import Arrays


class Digits(Arrays):
    """One pool, from which all parts are cut."""

    names = tuple("0123456789")

    def read(self, part: str) -> tuple[np.ndarray, np.ndarray] | None:
        if part != "train":
            return None
        from sklearn.datasets import load_digits

        images, labels = map(np.asarray, load_digits(return_X_y=True))
        return np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8), labels
