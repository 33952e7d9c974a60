"""Recorded bandwidths: the sets of the data folder, and files with a time and Mbit/s a line."""

import math
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from dopt.data._whole import read_whole
from dopt.data.folders import data_folder
from dopt.errors import ConfigurationError, DataError


_FILE = Path("bandwidth_core", "tidy_traces.npz")
_SEPARATORS = re.compile(r"[,;\s]+")


class BandwidthTrace(NamedTuple):
    """The bandwidth of one link, sample by sample; a sample holds until the next.

    Times ascend. Where a file has several samples at one time, its last is kept: the others would
    hold for no time at all.
    """

    name: str

    t: Float64[np.ndarray, " N"]
    """Seconds ≥ 0 of each sample; the first need not be 0."""

    mbps: Float64[np.ndarray, " N"]
    """Megabits (10⁶ bits) a second; 0 is an outage."""


def load_traces(
    name: str, folder: str | os.PathLike[str] | None = None
) -> tuple[BandwidthTrace, ...]:
    """The traces of one set of `<data folder>/bandwidth_core/tidy_traces.npz`, in its order.

    Args:
        name: the set, such as `"hsdpa_3g_norway"`; an unknown one is answered with all names.
        folder: the data folder; what `DOPT_DATA` names by default.

    Raises:
        ConfigurationError: the file has no such set.
        DataError: no data folder, a file that is absent or damaged, or a trace with a number that
            is NaN, infinite or negative, with times that go back, or with nothing but zeros.
    """
    root = data_folder(folder)
    if root is None:
        raise DataError("no data folder is given; set DOPT_DATA to one with bandwidth_core/")
    path = root / _FILE
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            known = sorted(key.removesuffix("__t") for key in stored if key.endswith("__t"))
            if name not in known:
                raise ConfigurationError(f"{path} has no set {name!r} (it has {', '.join(known)})")
            t, mbps, offsets, names = (
                stored[f"{name}__{part}"] for part in ("t", "mbps", "offsets", "names")
            )
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    except (EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise DataError(f"{path} is damaged: {error}; fetch it again") from None
    fits = len(offsets) == len(names) + 1 and (np.diff(offsets) >= 0).all() and offsets[0] == 0
    if not fits or not len(t) == len(mbps) == offsets[-1]:
        raise DataError(
            f"{path} is damaged: {len(names)} traces, {len(t)} times and {len(mbps)} values of "
            f"{name} do not fit together; fetch it again"
        )
    spans = zip(names.tolist(), offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    return tuple(
        _checked(trace, t[a:b].astype(np.float64), mbps[a:b].astype(np.float64), f"{path}, {trace}")
        for trace, a, b in spans
    )


def read_trace(path: str | os.PathLike[str]) -> BandwidthTrace:
    """The trace of a text file: a time in seconds and Mbit/s a line.

    The two are separated by spaces, tabs, a comma or a semicolon. Empty lines and what follows a
    `#` are left out; the file may be packed by bzip2, gzip or xz. The trace is named after it.

    Raises:
        DataError: a file that cannot be read or is no such text, a line without exactly two
            numbers, one that is NaN, infinite or negative, times that go back, nothing but zeros;
            the message names the line.
    """
    path = Path(path)
    try:
        text = read_whole(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not a text: byte {error.start} is no UTF-8; give a time and Mbit/s a line"
        ) from None
    lines, rows = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if content:
            lines.append(number)
            rows.append(_row(f"{path}, line {number}", content))
    table = np.array(rows, np.float64).reshape(len(rows), 2)
    return _checked(path.name, table[:, 0], table[:, 1], str(path), lines)


def _row(place: str, content: str) -> tuple[float, float]:
    cells = _SEPARATORS.split(content)
    if len(cells) != 2:
        raise DataError(
            f"{place}: {len(cells)} value{'s' if len(cells) > 1 else ''}, {content[:40]!r}; a line "
            "holds a time and Mbit/s"
        )
    try:
        t, mbps = float(cells[0]), float(cells[1])
    except ValueError:
        raise DataError(
            f"{place}: {content[:40]!r} are not two numbers, seconds and Mbit/s"
        ) from None
    if not (0 <= t < math.inf and 0 <= mbps < math.inf):
        raise DataError(f"{place}: {content[:40]!r}; times and Mbit/s are finite numbers >= 0")
    return t, mbps


def _checked(
    name: str,
    t: Float64[np.ndarray, " N"],
    mbps: Float64[np.ndarray, " N"],
    place: str,
    lines: list[int] | None = None,
) -> BandwidthTrace:
    """The trace, if it is one; `lines` are those of the samples where they have any."""

    def where(wrong: Bool[np.ndarray, " M"], first: int = 0) -> str:
        i = int(np.argmax(wrong)) + first
        return (
            f"{place}, {'sample' if lines is None else 'line'} {i if lines is None else lines[i]}"
        )

    if not len(t):
        raise DataError(f"{place} holds no sample; a trace has a time and Mbit/s a line")
    unfit = ~(np.isfinite(t) & np.isfinite(mbps) & (t >= 0) & (mbps >= 0))
    if unfit.any():
        i = int(np.argmax(unfit))
        raise DataError(f"{where(unfit)}: {t[i]} s, {mbps[i]} Mbit/s; both are finite numbers >= 0")
    back = np.diff(t) < 0
    if back.any():
        i = int(np.argmax(back))
        raise DataError(
            f"{where(back, 1)}: the time {t[i + 1]} comes after {t[i]}; sort the samples by time"
        )
    if not mbps.any():
        raise DataError(
            f"{place}: all {len(mbps)} samples are 0 Mbit/s, so nothing would ever arrive; leave "
            "this trace out"
        )
    kept = np.append(np.diff(t) > 0, True)
    return BandwidthTrace(name, t[kept], mbps[kept])
