"""CIFAR-10: a small archive made here, faults in it, and the real files where there are any."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dopt.data import cifar, load_cifar
from dopt.errors import ConfigurationError, DataError


EACH = 3
REAL = os.environ.get("DOPT_DATA")
RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (10, EACH, 3)).astype(np.uint8)
"""Every image is of one colour, which JPEG keeps within a few units."""


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.delenv("DOPT_DATA", raising=False)
    monkeypatch.setenv("DOPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cifar, "_TRAIN", cifar._TRAIN._replace(each=EACH))


def jpeg(colour, side=32):
    out = io.BytesIO()
    Image.fromarray(np.tile(colour, (side, side, 1))).save(out, "JPEG", quality=95)
    return out.getvalue()


def files():
    return {
        f"train/{name}/{k:04}.jpg": jpeg(COLOURS[label, k])
        for label, name in enumerate(cifar.CLASSES)
        for k in range(EACH)
    }


def tar_gz(contents):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def write(root, content):
    folder = root / "cifar10_jpeg"
    folder.mkdir(exist_ok=True)
    (folder / "train_50000.tar.gz").write_bytes(content)


def test_labels_are_of_the_folders_and_pixels_normalised(tmp_path):
    # Files in another order than that of their names.
    write(tmp_path, tar_gz(dict(reversed(files().items()))))
    images, labels, source = load_cifar(tmp_path)
    assert images.shape == (10 * EACH, 3072)
    assert (images.dtype, labels.dtype) == (np.float32, np.int32)
    assert source == "CIFAR-10 as JPEG, train, 30 images"
    pixels = images.reshape(-1, 32, 32, 3) * cifar.DEVIATION + cifar.MEAN
    first = np.rint(255 * pixels[:, 0, 0])
    for label in range(10):
        seen = first[labels == label]
        distances = np.abs(seen[:, None] - COLOURS[label].astype(float)).max(axis=-1)
        assert sorted(distances.argmin(axis=1)) == list(range(EACH))
        assert distances.min(axis=1).max() <= 4


def test_order_is_the_seed_s_and_subsets_are_nested(tmp_path):
    write(tmp_path, tar_gz(files()))
    whole = load_cifar(tmp_path)
    assert whole.labels.tolist() != sorted(whole.labels)
    some = load_cifar(tmp_path, samples=7)
    np.testing.assert_array_equal(some.images, whole.images[:7])
    assert some.source == whole.source
    assert load_cifar(tmp_path, seed=1).labels.tolist() != whole.labels.tolist()
    with pytest.raises(ConfigurationError, match=r"samples = 31, .*ask for 1 to 30"):
        load_cifar(tmp_path, samples=31)


def test_second_load_decodes_nothing_unless_the_archive_changed(tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        cifar, "_decoded", lambda *args, real=cifar._decoded: decoded.append(1) or real(*args)
    )
    write(tmp_path, tar_gz(files()))
    first, second = load_cifar(tmp_path), load_cifar(tmp_path)
    np.testing.assert_array_equal(first.images, second.images)
    assert len(decoded) == 1
    write(tmp_path, tar_gz(files() | {"train/cat/0000.jpg": jpeg(COLOURS[0, 0])}))
    third = load_cifar(tmp_path)
    assert len(decoded) == 2
    assert np.abs(third.images - first.images).max() > 0.1
    assert os.listdir(tmp_path / "cache") == ["cifar10-jpeg-train.npz"]


def without_its_end(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: without_its_end(tar_gz(files())), "is cut"),
        (lambda: gzip.compress(without_its_end(gzip.decompress(tar_gz(files())))), "tar|must hold"),
        (lambda: b"no archive", "is not gz"),
        (lambda: gzip.compress(b"no archive" * 100), "no sound tar archive"),
        (lambda: tar_gz(dict(list(files().items())[:-1])), r"\{'truck': 2\}.*hold 3 of each"),
        (lambda: tar_gz(files() | {"train/cow/0000.jpg": b""}), "holds train/cow/0000.jpg"),
        (lambda: tar_gz(files() | {"test/cat/0000.jpg": b""}), "holds test/cat/0000.jpg"),
        (lambda: tar_gz(files() | {"train/cat/0001.jpg": b"no"}), "cat/0001.jpg in .* no sound"),
        (
            lambda: tar_gz(files() | {"train/cat/0001.jpg": jpeg(COLOURS[0, 0])[:-200]}),
            "cat/0001.jpg in .* no sound",
        ),
        (
            lambda: tar_gz(files() | {"train/cat/0001.jpg": jpeg(COLOURS[0, 0], 16)}),
            r"\(16, 16, 3\); CIFAR's images are 32 x 32 x 3",
        ),
    ],
    ids=[
        "cut",
        "cut inside",
        "text",
        "no tar",
        "one too few",
        "other class",
        "other split",
        "no image",
        "cut image",
        "small image",
    ],
)
def test_damaged_archives_are_refused(tmp_path, content, words):
    write(tmp_path, content())
    with pytest.raises(DataError, match=words):
        load_cifar(tmp_path)
    assert not (tmp_path / "cache").exists()


def test_absent_data_are_refused_with_the_remedy(tmp_path):
    with pytest.raises(DataError, match="no data folder, and no package carries CIFAR-10: name"):
        load_cifar()
    with pytest.raises(DataError, match=r"test_first500_per_class\.tar\.gz is not there"):
        load_cifar(tmp_path, test=True)


@pytest.fixture(scope="module")
def real():
    if REAL is None or not Path(REAL, "cifar10_jpeg").is_dir():
        pytest.skip("DOPT_DATA names no folder with CIFAR-10 in cifar10_jpeg/")
    return Path(REAL)


@pytest.mark.data
def test_real_training_images(real, monkeypatch):
    monkeypatch.undo()
    images, labels, source = load_cifar(real)
    assert source == "CIFAR-10 as JPEG, train, 50000 images"
    np.testing.assert_array_equal(np.bincount(labels), np.full(10, 5000))
    pixels = images.reshape(-1, 3)
    # As the data's own description has them.
    means = pixels.mean(axis=0, dtype=float) * cifar.DEVIATION + cifar.MEAN
    np.testing.assert_allclose(means, [0.49125, 0.48209, 0.44652], atol=5e-6)
    np.testing.assert_allclose(pixels.mean(axis=0, dtype=float), 0, atol=1e-6)
    np.testing.assert_allclose(pixels.std(axis=0, dtype=float), 1, atol=1e-6)
    # Sorted files would put a single class here.
    assert len(set(labels[:100].tolist())) == 10


@pytest.mark.data
def test_real_test_images_are_those_that_matplotlib_reads(real, tmp_path):
    matplotlib_image = pytest.importorskip("matplotlib.image")
    images, labels, source = load_cifar(real, test=True)
    assert source == "CIFAR-10 as JPEG, test, 5000 images"
    np.testing.assert_array_equal(np.bincount(labels), np.full(10, 500))
    with tarfile.open(real / "cifar10_jpeg" / "test_first500_per_class.tar.gz") as tar:
        content = tar.extractfile("test/frog/0123.jpg").read()
    expected = matplotlib_image.imread(io.BytesIO(content), "jpeg") / 255.0
    frogs = images[labels == cifar.CLASSES.index("frog")]
    pixels = frogs.reshape(-1, 32, 32, 3) * cifar.DEVIATION + cifar.MEAN
    assert np.sum(np.abs(pixels - expected).max(axis=(1, 2, 3)) < 1e-6) == 1
