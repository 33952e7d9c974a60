"""Binary classification sets in LIBSVM's text format, read strictly: a cut file is an error.

    <label> <index>:<value> <index>:<value> ...      # a comment

a sample a line, indices from 1 and ascending, absent features zero. What real files hold is read:
two labels of any value (the smaller becomes −1, the larger 1), `+1`, empty samples, blank lines,
comments, `qid:` (left out), spaces and tabs at the ends of lines, CRLF, a byte-order mark, bzip2,
gzip and xz. Zeros that a file writes out are kept: they count in `nnz` and in `d`, and published
sizes count them too.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, Int32, Int64

from dopt.data._libsvm_text import Rows, parse
from dopt.data._whole import read_whole
from dopt.data.folders import data_folder
from dopt.errors import ConfigurationError, DataError


PUBLISHED = {
    "a1a": (1605, 22249),
    "a5a": (6414, 88939),
    "a9a": (32561, 451592),
    "a9a.t": (16281, 225732),
    "w8a": (49749, 579586),
    "mushrooms": (8124, 170604),
    "phishing": (11055, 331650),
    "ijcnn1.trn": (49990, 649870),
}
"""Samples and stored features of files that are known by name."""

STAND_IN = "breast_cancer"
"""The name of the set that scikit-learn carries: 569 samples, 30 features, scaled to [−1, 1]."""

_FOLDER = "libsvm_core"
_ENDINGS = ".bz2", ".gz", ".xz", ""
_PAGE = 4096


class Samples(NamedTuple):
    """Sparse samples with two labels, rows compressed: row i is at indptr[i] to indptr[i + 1]."""

    indptr: Int64[np.ndarray, " N+1"]

    indices: Int32[np.ndarray, " nnz"]
    """Features from 0, ascending within a row."""

    values: Float64[np.ndarray, " nnz"]

    labels: Float64[np.ndarray, " N"]
    """−1 or 1."""

    d: int
    """Features, those that no sample has included."""

    source: str
    """Where they come from, such as `w8a.bz2, 49749 samples`."""

    @property
    def nnz(self) -> int:
        """Stored features, zeros that were written out included."""
        return len(self.indices)

    def dense(self, dtype: npt.DTypeLike = np.float64) -> npt.NDArray:
        """The samples [N, d] with their zeros."""
        rows = np.zeros((len(self.labels), self.d), dtype)
        rows[np.repeat(np.arange(len(rows)), np.diff(self.indptr)), self.indices] = self.values
        return rows


def load_libsvm(
    name_or_path: str | os.PathLike[str],
    folder: str | os.PathLike[str] | None = None,
    *,
    features: int | None = None,
    rows: int | None = None,
) -> Samples:
    """The samples of a LIBSVM file.

    Args:
        name_or_path: a file; or a name such as `"w8a"`, for `<data folder>/libsvm_core/w8a`, with
            the ending .bz2, .gz, .xz or none; or `"breast_cancer"`, which needs no file.
        folder: the data folder; what `DOPT_DATA` names by default.
        features: d, at least the largest index of the file, which it is by default; a1a, whose
            last features no sample has, wants 123.
        rows: how many samples the file must have. By default the published number where the
            file's name is known.

    Raises:
        DataError: the file is absent, damaged, cut, or holds anything but two labels and features
            with ascending indices and finite values; the message names the line.
        ConfigurationError: `features` is less than the largest index.
    """
    if os.fspath(name_or_path) == STAND_IN:
        return _padded(_breast_cancer(), features)
    path = _locate(name_or_path, folder)
    text = read_whole(path)
    table = parse(text, path)
    _check_whole(path, text, table, rows)
    samples = Samples(
        indptr=np.concatenate([[0], np.cumsum(table.lengths)]),
        indices=table.indices,
        values=table.values,
        labels=_signs(table, path),
        d=int(table.indices.max(initial=-1)) + 1,
        source=f"{path.name}, {len(table.labels)} samples",
    )
    return _padded(samples, features)


def _locate(name_or_path: str | os.PathLike[str], folder: str | os.PathLike[str] | None) -> Path:
    path = Path(name_or_path)
    if len(path.parts) != 1 or not isinstance(name_or_path, str):
        return path
    root = data_folder(folder)
    if root is not None:
        for ending in _ENDINGS:
            found = root / _FOLDER / (path.name + ending)
            if found.is_file():
                return found
    if path.is_file():
        return path
    place = "no data folder is given" if root is None else f"{root / _FOLDER} has no such file"
    raise DataError(
        f"no LIBSVM set {path.name}: {place}; set DOPT_DATA to a folder with "
        f"{_FOLDER}/{path.name}[.bz2, .gz or .xz], give the path of a file, or take "
        f'"{STAND_IN}", which needs none'
    )


def _check_whole(path: Path, text: bytes, table: Rows, rows: int | None) -> None:
    """Compares with what is known of the file, and asks how it ends."""
    found, stored = len(table.labels), len(table.indices)
    stem = path.name.removesuffix(path.suffix) if path.suffix in _ENDINGS else path.name
    if rows is not None:
        if found != rows:
            fault = "is cut" if found < rows else "holds too many"
            raise DataError(f"{path} {fault}: {found} samples instead of {rows}; fetch it again")
    elif stem in PUBLISHED:
        known = PUBLISHED[stem]
        if (found, stored) != known:
            fault = "is cut" if found < known[0] or stored < known[1] else "is another set"
            raise DataError(
                f"{path} {fault}: {found} samples with {stored} features, and {stem} is published "
                f"with {known[0]} and {known[1]}; fetch it again, or give rows={found} if it is "
                "meant to be so"
            )
    elif not found:
        raise DataError(f"{path} holds no sample")
    elif not text.endswith((b"\n", b"\r")) and len(text) % _PAGE == 0:
        raise DataError(
            f"{path} seems cut: it ends within a line after {len(text)} bytes, a multiple of "
            f"{_PAGE}; fetch it again, or give rows={found} if it is whole"
        )


def _signs(table: Rows, path: Path) -> Float64[np.ndarray, " N"]:
    """Labels −1 and 1: files also write 0 and 1, or 1 and 2."""
    kinds = np.unique(table.labels)
    if len(kinds) > 2:
        named = ", ".join(f"{kind:g}" for kind in kinds[:5])
        lines = [int(table.lines[np.argmax(table.labels == kind)]) for kind in kinds[:3]]
        raise DataError(
            f"{path} has {len(kinds)} labels, {named}{', ...' if len(kinds) > 5 else ''} (the "
            f"first three in lines {lines[0]}, {lines[1]} and {lines[2]}); a binary set has two"
        )
    if len(kinds) < 2 and abs(kinds[0]) != 1:
        raise DataError(
            f"{path} has the one label {kinds[0]:g}, and which of the two it is cannot be told; "
            "write -1 or 1"
        )
    return np.where(table.labels == kinds[-1], np.sign(kinds[0]) if len(kinds) < 2 else 1.0, -1.0)


def _padded(samples: Samples, features: int | None) -> Samples:
    if features is None:
        return samples
    if features < samples.d:
        raise ConfigurationError(
            f"features = {features}, but {samples.source} has the index {samples.d}; give at least "
            "that"
        )
    return samples._replace(d=features)


def _breast_cancer() -> Samples:
    """Diagnoses of Wolberg, Street and Mangasarian (1995), each feature scaled to [−1, 1]."""
    from sklearn.datasets import load_breast_cancer

    rows, labels = load_breast_cancer(return_X_y=True)
    low, high = rows.min(axis=0), rows.max(axis=0)
    scaled = (2 * rows - low - high) / (high - low)
    N, d = scaled.shape
    return Samples(
        indptr=np.arange(N + 1, dtype=np.int64) * d,
        indices=np.tile(np.arange(d, dtype=np.int32), N),
        values=scaled.ravel(),
        labels=np.where(labels == 1, 1.0, -1.0),
        d=d,
        source=f"scikit-learn's breast cancer, {N} samples",
    )
