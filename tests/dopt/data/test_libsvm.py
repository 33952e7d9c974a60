"""LIBSVM files against scikit-learn's reader, and files with every quirk and fault by hand."""

import bz2
import gzip
import lzma
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_svmlight_file

from dopt.data import _libsvm_text, load_libsvm
from dopt.data.libsvm import PUBLISHED
from dopt.errors import ConfigurationError, DataError


PLAIN = b"-1 1:0.5 3:-2\n+1 2:1e-3\n"
DENSE = np.array([[0.5, 0, -2], [0, 1e-3, 0]])


@pytest.fixture
def read(tmp_path):
    def read(content, name="set", **options):
        path = tmp_path / name
        path.write_bytes(content)
        return load_libsvm(path, **options)

    return read


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN[:-1],
        PLAIN.replace(b"\n", b"\r\n"),
        PLAIN.replace(b"\n", b" \t\n"),
        PLAIN.replace(b" ", b"\t "),
        b"\xef\xbb\xbf" + PLAIN,
        b"\n  \n" + PLAIN.replace(b"\n", b"\n\n") + b"\n",
        "# Größe 1:2\n".encode() + PLAIN.replace(b"\n", b" # 7:x\n"),
        PLAIN.replace(b"-1 ", b"-1 qid:3 ").replace(b"+1 ", b"+1 qid:12 "),
        b"  -1.0 1:+.5 3:-2.\n 1e0 2:0.1E-2",
        b"0 01:0.5 3:-2\n1 2:1e-3\n",
        b"1 1:0.5 3:-2\n2 2:1e-3\n",
    ],
)
def test_quirks_are_read_alike(read, content):
    samples = read(content)
    np.testing.assert_array_equal(samples.dense(), DENSE)
    np.testing.assert_array_equal(samples.labels, [-1, 1])
    np.testing.assert_array_equal(samples.indptr, [0, 2, 3])
    np.testing.assert_array_equal(samples.indices, [0, 2, 1])
    assert (samples.d, samples.nnz, samples.source) == (3, 3, "set, 2 samples")
    assert samples.indices.dtype == np.int32


def test_empty_samples_and_written_zeros_are_kept(read):
    samples = read(b"1\n-1 2:0 5:0\n1 \n")
    np.testing.assert_array_equal(samples.indptr, [0, 0, 2, 2])
    assert (samples.d, samples.nnz) == (5, 2)
    assert not samples.dense().any()


def test_features_pad(read):
    assert read(PLAIN, features=9).dense(np.float32).shape == (2, 9)
    with pytest.raises(ConfigurationError, match=r"features = 2, but .* index 3"):
        read(PLAIN, features=2)


def test_one_label_that_says_which_it_is(read):
    np.testing.assert_array_equal(read(b"-1 1:1\n-1 2:1\n").labels, [-1, -1])
    np.testing.assert_array_equal(read(b"1 1:1\n").labels, [1])
    with pytest.raises(DataError, match="the one label 2"):
        read(b"2 1:1\n2 2:1\n")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (b"1 2:1 2:3", r"line 3: index 2 stands twice; indices must ascend"),
        (b"1 4:1 2:3", r"line 3: index 2 comes after 4"),
        (b"1 0:1 2:3", r"line 3: index 0, but indices begin at 1"),
        (b"1 9999999999:1", r"line 3: an index larger than 2147483647"),
        (b"1 -3:1", r"line 3: the index '-3' is no whole number"),
        (b"1 1.5:1", r"line 3: the index '1.5' is no whole number"),
        (b"1 a:1", r"line 3: the index 'a'"),
        (b"1 3:x", r"line 3: the value 'x' is no finite number"),
        (b"1 3:nan", r"line 3: the value 'nan' is no finite number"),
        (b"1 3:-inf", r"line 3: the value '-inf'"),
        (b"1 3:1e999", r"line 3: the value '1e999'"),
        (b"1 3:1_0", r"line 3: the value '1_0'"),
        (b"1 3:1.2.3", r"line 3: the value '1.2.3'"),
        (b"1 3:--1", r"line 3: the value '--1'"),
        (b"nan 3:1", r"line 3: the label 'nan'"),
        (b"good 3:1", r"line 3: the label 'good'"),
        (b"3:1 4:1", r"line 3: '3:1' is no label"),
        (b"1 3", r"line 3: '3' is no feature; write <index>:<value>"),
        (b"1 3:", r"line 3: '3:' is no feature"),
        (b"1 :3", r"line 3: ':3' is no feature"),
        (b"1 3:4:5", r"line 3: '3:4:5' is no feature"),
        (b"1 3 :4", r"line 3: '3' is no feature"),
        (b"1 3:\x00", r"line 3: the byte 0x00"),
        (b"1 3:\xff", r"line 3: the byte 0xff"),
        (b"1,3:2", r"line 3: '1,3:2' is no label"),
        (b"1 " + b"7" * 50, r"line 3: '777777777777777777777777777...' is no feature"),
    ],
)
@pytest.mark.parametrize("piece", [_libsvm_text.PIECE, 1])
def test_faults_are_named_by_their_line(read, monkeypatch, lines, words, piece):
    monkeypatch.setattr(_libsvm_text, "PIECE", piece)
    with pytest.raises(DataError, match=rf"set, {words}"):
        read(b"# a set\n" + PLAIN.replace(b"\n+1", b"\n" + lines + b"\n+1"))


@pytest.mark.parametrize("end", [b"1 3:", b"1 3", b"-", b"1 3:1e", b"1 3:-"])
def test_last_line_that_is_incomplete_is_a_cut(read, end):
    with pytest.raises(DataError, match=r"line 3: .*the file ends within this line, so it is cut"):
        read(PLAIN + end)


def test_cut_at_a_page_is_told_from_a_file_without_a_last_line_break(read):
    content = _padded_to_page()
    with pytest.raises(DataError, match=r"seems cut: .* 4096 bytes"):
        read(content)
    rows = content.count(b"\n") + 1
    assert len(read(content, rows=rows).labels) == rows
    assert len(read(content + b"1").labels) == rows


def _padded_to_page():
    """4,096 bytes that end within a line, at a number that may or may not be whole."""
    content = PLAIN * (4096 // len(PLAIN))
    return content + b"-1 1:" + b"5" * (4096 - len(content) - 5)


def test_more_than_two_labels_are_named(read):
    with pytest.raises(DataError, match=r"3 labels, 1, 2, 7 .*lines 1, 3 and 4"):
        read(b"1 1:1\n\n2 1:1\n7 1:1\n1 2:1\n")
    with pytest.raises(DataError, match=r"9 labels, 1, 2, 3, 4, 5, \.\.\."):
        read(b"".join(b"%d 1:1\n" % label for label in range(1, 10)))


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# nothing\n"])
def test_file_without_samples_is_refused(read, content):
    with pytest.raises(DataError, match="holds no sample"):
        read(content)


@pytest.mark.parametrize("rows", [1, 3])
def test_expected_rows(read, rows):
    assert len(read(PLAIN, rows=2).labels) == 2
    with pytest.raises(DataError, match=rf"{'is cut' if rows == 3 else 'holds too many'}: 2 samp"):
        read(PLAIN, rows=rows)


@pytest.mark.parametrize("name", ["a1a", "a1a.gz"])
def test_file_with_a_known_name_is_compared_with_what_is_published(read, name):
    pack = gzip.compress if name.endswith(".gz") else bytes
    with pytest.raises(DataError, match=r"is cut: 2 samples with 3 features, and a1a .* 1605"):
        read(pack(PLAIN), name)
    row = b"-1 " + b" ".join(b"%d:1" % k for k in range(1, 15)) + b"\n"
    with pytest.raises(DataError, match="is another set"):
        read(pack(row * 1606), name)
    assert len(read(pack(PLAIN), name, rows=2).labels) == 2


PACKERS = {".bz2": bz2.compress, ".gz": gzip.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("ending", PACKERS)
def test_compressed_files(read, ending):
    packed = PACKERS[ending](PLAIN * 500)
    for name in (f"set{ending}", "set"):
        assert len(read(packed, name).labels) == 1000
    for size in (len(packed) - 1, len(packed) // 2):
        with pytest.raises(DataError, match=rf"set\{ending} is cut: its compressed stream"):
            read(packed[:size], f"set{ending}")
    middle = len(packed) // 2
    damaged = packed[:middle] + bytes([packed[middle] ^ 255]) + packed[middle + 1 :]
    with pytest.raises(DataError, match=r"is (damaged|cut)"):
        read(damaged, f"set{ending}")
    with pytest.raises(DataError, match=rf"is not {ending[1:]}: it begins with 2d3120"):
        read(PLAIN, f"set{ending}")


def test_names_are_looked_up_in_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("DOPT_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"no LIBSVM set own: no data folder.*breast_cancer"):
        load_libsvm("own")
    folder = tmp_path / "data" / "libsvm_core"
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match=r"libsvm_core has no such file"):
        load_libsvm("own", tmp_path / "data")
    (folder / "own.gz").write_bytes(gzip.compress(PLAIN))
    assert load_libsvm("own", tmp_path / "data").source == "own.gz, 2 samples"
    monkeypatch.setenv("DOPT_DATA", str(tmp_path / "data"))
    assert load_libsvm("own").nnz == 3
    (tmp_path / "here").write_bytes(PLAIN)
    assert load_libsvm("here").nnz == 3
    with pytest.raises(DataError, match="absent cannot be read: No such file"):
        load_libsvm(tmp_path / "absent")
    with pytest.raises(DataError, match="cannot be read"):
        load_libsvm(folder)


def test_stand_in_is_scikit_learns_set(monkeypatch):
    monkeypatch.delenv("DOPT_DATA", raising=False)
    samples = load_libsvm("breast_cancer")
    rows, labels = load_breast_cancer(return_X_y=True)
    np.testing.assert_array_equal(samples.labels, 2 * labels - 1)
    dense = samples.dense()
    assert dense.shape == (569, 30)
    np.testing.assert_allclose([dense.min(axis=0), dense.max(axis=0)], [[-1] * 30, [1] * 30])
    slopes = [np.corrcoef(dense[:, k], rows[:, k])[0, 1] for k in range(30)]
    np.testing.assert_allclose(slopes, 1)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
ROW = st.tuples(st.sampled_from([-1.0, 1.0]), st.dictionaries(st.integers(1, 60), NUMBERS))


@given(rows=st.lists(ROW, min_size=1, max_size=8), piece=st.sampled_from([1, 40, 2**22]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_written_numbers_come_back_as_scikit_learn_reads_them(tmp_path, rows, piece):
    lines = [f"{b:g} " + " ".join(f"{k}:{row[k]!r}" for k in sorted(row)) for b, row in rows]
    path = tmp_path / "set"
    path.write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_libsvm_text, "PIECE", piece)
        samples = load_libsvm(path, features=60)
    matrix, labels = load_svmlight_file(str(path), n_features=60, zero_based=False)
    for got, expected in (
        (samples.indptr, matrix.indptr),
        (samples.indices, matrix.indices),
        (samples.values, matrix.data),
        (samples.labels, labels),
    ):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.data
@pytest.mark.parametrize("name", PUBLISHED)
def test_real_files(name):
    folder = Path(os.environ["DOPT_DATA"], "libsvm_core")
    if not folder.is_dir():
        pytest.skip("the data folder has no libsvm_core")
    samples = load_libsvm(name, features={"a1a": 123, "a5a": 123}.get(name))
    matrix, labels = load_svmlight_file(str(folder / f"{name}.bz2"))
    np.testing.assert_array_equal(samples.indptr, matrix.indptr)
    np.testing.assert_array_equal(samples.indices, matrix.indices)
    np.testing.assert_array_equal(samples.values, matrix.data)
    np.testing.assert_array_equal(samples.labels, np.where(labels == labels.max(), 1, -1))
    assert (len(labels), samples.nnz) == PUBLISHED[name]
    if name.startswith("a"):
        assert samples.d == 123
