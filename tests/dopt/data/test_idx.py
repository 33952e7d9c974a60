import gzip
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dopt.data import read_idx
from dopt.errors import DataError


def idx_bytes(array):
    header = bytes([0, 0, 0x08, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@given(
    array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0)),
    zipped=st.booleans(),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_reads_what_was_written(tmp_path, array, zipped):
    path = tmp_path / ("a.gz" if zipped else "a")
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    read = read_idx(path, axes=array.ndim)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "begins with nothing.*begins with 00000803"),
        (b"\0\0\x08", "begins with 000008;.*begins with 00000803"),
        (idx_bytes(IMAGES[0]), "begins with 00000802.*3 axes begins with 00000803"),
        (b"\0\0\x0d\x03" + idx_bytes(IMAGES)[4:], "begins with 00000d03"),
        (idx_bytes(IMAGES)[:10], "is cut: 10 bytes, and its header alone takes 16"),
        (idx_bytes(IMAGES)[:-1], r"is cut: 39 bytes, and its header promises 40 .*\(2, 3, 4\)"),
        (idx_bytes(IMAGES) + b"\0", "has bytes too many: 41 bytes, and its header promises 40"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "is cut: 16 bytes"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_bad_content_is_refused(tmp_path, content, words, zipped):
    path = tmp_path / ("bad.gz" if zipped else "bad")
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(DataError, match=rf"bad.*{words}"):
        read_idx(path, axes=3)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda good: idx_bytes(IMAGES), "is not a sound gzip file"),
        (lambda good: good[:-9], "is cut: its gzip stream has no end"),
        (lambda good: good[:-8] + bytes(8), "is not a sound gzip file"),
        (lambda good: good[:12] + bytes(len(good) - 20) + good[-8:], "is not a sound gzip file"),
        (lambda good: good + b"tail", "is not a sound gzip file"),
    ],
    ids=["plain", "cut", "checksum", "stream", "tail"],
)
def test_damaged_gzip_is_refused(tmp_path, damage, words):
    path = tmp_path / "bad.gz"
    path.write_bytes(damage(gzip.compress(idx_bytes(IMAGES), mtime=0)))
    with pytest.raises(DataError, match=rf"bad\.gz {words}"):
        read_idx(path, axes=3)


def test_file_that_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent cannot be read: No such file"):
        read_idx(tmp_path / "absent", axes=1)
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path, axes=1)
