"""CIFAR-10 from JPEG files: 50,000 training images, and of the test images 5,000.

The files are a lossy copy (about quality 75) of the images of Krizhevsky, "Learning multiple layers
of features from tiny images", 2009: close to them, but not bit for bit. Whoever quotes an accuracy
says JPEG, as `source` does. The test images are the first 500 of each class, half of the original
ones.
"""

import hashlib
import io
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from dopt.data._whole import read_whole
from dopt.data.folders import cache_folder, data_folder
from dopt.data.images import Images, Raw, cached, subset
from dopt.errors import DataError


CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
"""Names of the classes 0 to 9, in the customary order."""

MEAN = np.array([0.4912504, 0.4820903, 0.4465209], np.float32)
"""Means of red, green and blue in [0, 1] over the training images as decoded from JPEG."""

DEVIATION = np.array([0.2452316, 0.2427816, 0.2606288], np.float32)
"""Standard deviations of the same, over all pixels."""

_SIDE, _CHANNELS = 32, 3
_NAME = re.compile(r"(\w+)/(\w+)/\d+\.jpg")


class _Archive(NamedTuple):
    file: str
    split: str
    each: int
    """Images in a class."""


_TRAIN = _Archive("train_50000.tar.gz", "train", 5000)
_TEST = _Archive("test_first500_per_class.tar.gz", "test", 500)


def load_cifar(
    folder: str | os.PathLike[str] | None = None,
    *,
    samples: int | None = None,
    seed: int = 0,
    test: bool = False,
) -> Images:
    """The images in `<data folder>/cifar10_jpeg`, 32 · 32 · 3 numbers each.

    The data folder is `folder`, else what `DOPT_DATA` names. Each channel is normalised by `MEAN`
    and `DEVIATION`, which are constants: a subset and the test images are treated as all training
    images are. The order is drawn from `seed` (the files are sorted by class), and `samples` keeps
    the first of them: a random subset, nested in every larger one. Decoding takes seconds, so the
    bytes of the pixels (154 MB) are kept in the cache folder, with the digest of the archive.

    Raises:
        DataError: there is no data folder or no such archive in it, or it is cut, damaged or holds
            other files than it should.
        ConfigurationError: `samples` is less than one or more than there are, or `seed` < 0.
    """
    archive = _TEST if test else _TRAIN
    path = _path(data_folder(folder), archive)
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    cache = cache_folder()
    raw = cached(
        None if cache is None else cache / f"cifar10-jpeg-{archive.split}.npz",
        lambda: _decoded(path, archive),
        pixels=_SIDE**2 * _CHANNELS,
        origin=hashlib.sha256(packed).hexdigest(),
    )
    source = f"CIFAR-10 as JPEG, {archive.split}"
    kept = subset(raw, samples, seed, source)
    return Images(
        _normalised(kept.images),
        kept.labels.astype(np.int32),
        f"{source}, {len(raw.labels)} images",
    )


def _path(root: Path | None, archive: _Archive) -> Path:
    remedy = (
        "no package carries CIFAR-10: name a folder with cifar10_jpeg/train_50000.tar.gz and "
        "cifar10_jpeg/test_first500_per_class.tar.gz by DOPT_DATA or --data"
    )
    if root is None:
        raise DataError(f"there is no data folder, and {remedy}")
    path = root / "cifar10_jpeg" / archive.file
    if not path.is_file():
        raise DataError(f"{path} is not there, and {remedy}")
    return path


def _normalised(images: UInt8[np.ndarray, "N pixels"]) -> Float32[np.ndarray, "N pixels"]:
    out = np.divide(images, np.float32(255), dtype=np.float32)
    pixels = out.reshape(-1, _CHANNELS)
    pixels -= MEAN
    pixels /= DEVIATION
    return out


def _decoded(path: Path, archive: _Archive) -> Raw:
    """All images of the archive, by name: the order of its files does not matter."""
    found = sorted(_files(path, archive.split))
    counts = Counter(CLASSES[label] for label, _, _ in found)
    wrong = {name: counts[name] for name in CLASSES if counts[name] != archive.each}
    if wrong:
        raise DataError(
            f"{path} holds {wrong} images of these classes; it must hold {archive.each} of each: "
            "fetch it again"
        )
    images = np.stack([_pixels(path, name, content) for _, name, content in found])
    return Raw(images, np.array([label for label, _, _ in found], np.uint8))


def _files(path: Path, split: str) -> Iterator[tuple[int, str, bytes]]:
    """Class, name and content of every image."""
    try:
        with tarfile.open(fileobj=io.BytesIO(read_whole(path))) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is None:
                    continue
                parts = _NAME.fullmatch(member.name)
                if parts is None or parts[1] != split or parts[2] not in CLASSES:
                    raise DataError(
                        f"{path} holds {member.name}; every file is {split}/CLASS/NNNN.jpg with "
                        f"one of the classes {', '.join(CLASSES)}"
                    )
                yield CLASSES.index(parts[2]), member.name, file.read()
    except tarfile.TarError as error:
        raise DataError(f"{path} is no sound tar archive: {error}; fetch it again") from error


def _pixels(path: Path, name: str, content: bytes) -> UInt8[np.ndarray, " pixels"]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            pixels = np.asarray(image)
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise DataError(f"{name} in {path} is no sound JPEG file: {error}") from error
    if pixels.shape != (_SIDE, _SIDE, _CHANNELS):
        raise DataError(
            f"{name} in {path} has the shape {pixels.shape}; CIFAR's images are "
            f"{_SIDE} x {_SIDE} x {_CHANNELS}"
        )
    return pixels.reshape(-1)
