"""The generated task: its images are always the same, its classes equally frequent, and both halves of a class are in the pixels."""

import zlib

import numpy as np
import pytest

from nas.config import DataConfig
from nas.data.sources import source_of
from nas.data.sources.relations import CHUNK, IMAGES, RELATIONS, TEXTURES, asked_of, images_of
from search_spaces.errors import InputError


def test_images_are_the_same_at_every_call_and_in_every_number() -> None:
    few, labels = images_of(CHUNK + 40)
    few, labels = few.copy(), labels.copy()
    more, others = images_of(2 * CHUNK)
    assert np.array_equal(more[: len(few)], few)
    assert np.array_equal(others[: len(labels)], labels)
    assert len({image.tobytes() for image in more}) == len(more)
    assert set(np.bincount(others)) == {2 * CHUNK // 8}


def test_images_are_those_of_earlier_versions() -> None:
    """Results of earlier runs are of these images. Pixels may differ in the last bit between machines; their means do not show it."""
    images, labels = images_of(CHUNK)
    assert zlib.crc32(labels.astype("<i8").tobytes()) == 282766877
    means = [110.116, 152.807, 135.867, 121.697, 183.347, 189.396]
    assert images[:2].mean((1, 2)).flatten() == pytest.approx(means, abs=0.01)


def test_series_have_other_images_and_equally_frequent_classes() -> None:
    pools = [images_of(2 * CHUNK, series) for series in (0, 1, 2)]
    assert len({image.tobytes() for images, _ in pools for image in images}) == 6 * CHUNK
    for _, labels in pools:
        assert set(np.bincount(labels)) == {2 * CHUNK // 8}


def test_a_name_says_how_many_images_and_of_which_series() -> None:
    assert asked_of("relations") == (IMAGES, 0)
    assert IMAGES >= 20_000
    assert asked_of("relations/400") == (400, 0)
    assert asked_of("relations/400/7") == (400, 7)
    assert source_of(DataConfig(name="relations/400")).in_channels == 3
    one, other = (source_of(DataConfig(name=f"relations/400{series}")).read("train") for series in ("/0", "/1"))
    assert one is not None
    assert other is not None
    assert np.array_equal(one[0], images_of(400)[0])
    assert np.array_equal(other[0], images_of(400, 1)[0])
    assert not np.array_equal(one[0], other[0])
    wrong = ("", "3", "x", "400/", "400/x", "400/-1", "400/1/1", "400/1000001", "99999999999", "٤٠٠")
    for name in wrong:
        with pytest.raises(InputError, match="relations/N/SERIES"):
            source_of(DataConfig(name=f"relations/{name}"))


def spectra(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each image the mean frequency of its stripes in cycles a pixel, and how far one direction dominates, from 0 to 1."""
    grey = images.astype(np.float64).mean(3)
    power = np.abs(np.fft.fft2(grey - grey.mean((1, 2), keepdims=True))) ** 2
    down, across = np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32), indexing="ij")
    radius, angle = np.hypot(down, across), np.arctan2(down, across)
    power *= (radius > 0.12) & (radius < 0.45)  # above the background's
    total = power.sum((1, 2))
    direction = np.abs((power * np.exp(2j * angle)).sum((1, 2)))  # opposite directions are one
    return (power * radius).sum((1, 2)) / total, direction / total


def test_a_class_is_a_texture_and_a_relation() -> None:
    images, labels = images_of(2 * CHUNK)
    frequency, dominance = spectra(images)
    texture, relation = np.divmod(labels, len(RELATIONS))
    mean = {name: frequency[texture == number].mean() for number, name in enumerate(TEXTURES)}
    assert min(mean["fine"], mean["double"]) > 1.1 * mean["coarse"]
    for number, name in enumerate(TEXTURES):
        parallel, crossed = (dominance[(texture == number) & (relation == which)] for which in (0, 1))
        error = np.sqrt(parallel.var() / len(parallel) + crossed.var() / len(crossed))
        assert parallel.mean() - crossed.mean() > 2.5 * error, name


def test_colour_and_brightness_say_nothing_of_the_class() -> None:
    images, labels = images_of(2 * CHUNK)
    means = images.mean((1, 2)) / 255
    overall = means.mean(0)
    for label in range(8):
        own = means[labels == label]
        assert (np.abs(own.mean(0) - overall) < 4 * means.std(0) / np.sqrt(len(own))).all()
