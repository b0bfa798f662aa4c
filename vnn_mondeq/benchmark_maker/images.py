"""Labelled images for a benchmark: a data set of the shipped models, or the user's own."""

from collections.abc import Mapping

import numpy as np

from vnn_mondeq.errors import InputError
from vnn_mondeq.training.data import Split, load_test_split

LIMIT = 300
"""Most images that a benchmark carries; the seed chooses among them."""


def test_images(name: str) -> Split:
    """The first test images of a data set that this package knows. **Raises** `InputError`."""
    return _first(load_test_split(name))


def labelled_images(arrays: Mapping[str, np.ndarray], path: str) -> Split:
    """The first of a user's images: `images (N, …)` and `labels (N,)`, read from `path`.

    Floats are taken as they are, in the model's units; unsigned bytes are pixels of 0..255 and are
    divided by 255.

    **Raises** `InputError` for anything else.
    """
    missing = [name for name in ("images", "labels") if name not in arrays]
    if missing:
        raise InputError(f"{path}: has no array {missing[0]}; it needs images and labels")
    images, labels = arrays["images"], arrays["labels"]
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != len(images):
        raise InputError(
            f"{path}: labels must be whole numbers, one for each of the {len(images)} images"
        )
    if not len(labels):
        raise InputError(f"{path}: holds no images")
    if images.dtype == np.uint8:
        images = images.astype(np.float32) / np.float32(255.0)
    if images.dtype.kind != "f" or not np.all(np.isfinite(images)):
        raise InputError(f"{path}: images must be finite floats, or bytes of 0..255")
    return _first(Split(images, labels.astype(np.int64)))


def _first(split: Split) -> Split:
    return Split(split.images[:LIMIT], split.labels[:LIMIT])
