"""Images: which of them train, choose and test (`make_split`), and batches of one of those parts alone (`load_part`).

    split.py      Split and make_split: which image belongs to which part, by the hash of its content
    part.py       Part and load_part: the images of one part, as batches
    view.py       a part as a network sees it that was trained elsewhere
    augment.py    random changes to images, each a pure function of a key
    item.py       one image: its id, its label, its hash
    layout.py     which folder is which part, and which files are in it; what is left out
    picture.py    an image file as a viewer shows it, in RGB
    reading.py    all images of a data set read once, on all cores, and all faults listed at once
    decoder.py    image files of a part, decoded on threads or in worker processes
    source.py     what every data set can do
    arrays.py     data sets that are small enough to be read at once
    timm_reader.py  images of timm's data sets, one by one
    sources/      the data sets, one file each, and how to add one

Loading train or validation never opens, decodes or hashes an image of the test part; loading any part fails if an image
is not the one that was split. An image that is identical to one of the test part trains and chooses nothing, and
identical images stay in one part.

scikit-learn, torchvision and timm are imported by the functions that need them.
"""

from nas.data.item import content_hash
from nas.data.part import Part, check_part, kept_decoded, load_part
from nas.data.sources.fashion_mnist import FASHION_CLASSES, FASHION_FOLDER
from nas.data.split import PARTS, Split, make_split

__all__ = [
    "FASHION_CLASSES",
    "FASHION_FOLDER",
    "PARTS",
    "Part",
    "Split",
    "check_part",
    "content_hash",
    "kept_decoded",
    "load_part",
    "make_split",
]
