"""Data sets: one file each, `data=NAME` is the file NAME.py with the class Name in it. What one can do is `nas.data.source.Source`.

    digits.py         scikit-learn's digits
    fashion_mnist.py  Fashion-MNIST
    folder.py         images in a folder per class: ROOT/CLASS/**/IMAGE, or ROOT/train/CLASS/**/IMAGE with ROOT/val and ROOT/test if
                      there are such; an image is what Pillow reads, whatever its suffix
    relations.py      generated colour images of 32 x 32: a texture, and a relation between far patches;
                      data=relations/N for N images, relations/N/SERIES for N others
    timm.py           data=timm/NAME: what timm.data.create_dataset reaches: hfds/, hfids/, tfds/, wds/ and torch/, or timm/ alone for
                      a folder or tar file as timm reads it

A data set of your own is named by its dotted path, data=my_package.Stripes. One that fits into memory:

    import numpy as np
    from nas.data.arrays import Arrays

    class Stripes(Arrays):
        names = ("horizontal", "vertical")

        def read(self, part):  # of train, validation and test; None where they are to be cut from train
            if part != "train":
                return None
            images = np.random.default_rng(0).integers(0, 128, (400, 8, 8), dtype=np.uint8)
            images[:200, ::2] += 128
            images[200:, :, ::2] += 128
            return images, np.repeat([0, 1], 200)
"""

from nas.config import DataConfig
from nas.data.source import Source
from nas.dotted import file_names, found_at, made_of, path_of
from search_spaces.errors import InputError

CONTRACT = "a class that inherits nas.data.source.Source, made with the [data] section of the configuration"


def source_of(config: DataConfig) -> Source:
    """The data set of a configuration.

    Raises:
        InputError: there is no such data set, or it cannot be used as it is configured.
    """
    name = config.name.partition("/")[0]  # what stands behind the slash is for the source itself
    names = file_names("data/sources")
    found = found_at(path_of(name, names, "nas.data.sources"), names, "data", "data set", "pools", ours=name in names)
    if not (isinstance(found, type) and issubclass(found, Source)):
        raise InputError(f"data={name} is no data set", CONTRACT, f"data=digits, or fix {name}")
    return made_of(found, f"data={name}", CONTRACT, config)
