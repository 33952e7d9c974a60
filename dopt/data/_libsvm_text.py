"""LIBSVM's text to arrays, in pieces of whole lines; a fault is named by its line.

Nothing is done per token in Python: tokens are cut where blanks end, those of one length lie as
the rows of a matrix of bytes, and numpy turns a matrix into numbers at once.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, UInt8

from dopt.errors import DataError


PIECE = 2**22
"""Bytes parsed at a time: token tables of a piece take some tens of megabytes."""

_COMMENT = re.compile(rb"#[^\n]*")
_QUERY = re.compile(rb"(?m)^([ \t]*[^\s:]+[ \t]+)qid:[0-9]+(?=\s|$)")
_STRANGE = re.compile(rb"[^\t\n\v\f -~]")
_NUMERIC = np.isin(np.arange(256), np.frombuffer(b"0123456789+-.eE", np.uint8))
_DIGITS = np.isin(np.arange(256), np.frombuffer(b"0123456789", np.uint8))
_LARGEST_INDEX = 2**31 - 1


class Rows(NamedTuple):
    """The samples of a file, or of a part of it, as they are written."""

    labels: Float64[np.ndarray, " N"]
    lengths: Int64[np.ndarray, " N"]
    """Features of each sample."""
    lines: Int64[np.ndarray, " N"]
    """Where each sample stands, from 1."""
    indices: Int32[np.ndarray, " nnz"]
    """From 0."""
    values: Float64[np.ndarray, " nnz"]


class _Fault(Exception):
    """What is wrong with the token that begins at byte `place`."""

    def __init__(self, place: int, words: str) -> None:
        super().__init__(words)
        self.place, self.words = place, words


def parse(text: bytes, path: Path) -> Rows:
    """All samples of a file's text.

    Raises:
        DataError: a line that is not `<label> <index>:<value> ...`, with its number.
    """
    text = text.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    line, parts = 1, []
    for piece, last in _pieces(text):
        try:
            if b"#" in piece:
                piece = _COMMENT.sub(b"", piece)
            if b"qid:" in piece:
                piece = _QUERY.sub(rb"\1", piece)
            rows = _parse_piece(piece)
        except _Fault as fault:
            number = line + piece.count(b"\n", 0, fault.place)
            cut = last and b"\n" not in piece[fault.place :]
            ending = "; the file ends within this line, so it is cut: fetch it again" if cut else ""
            raise DataError(f"{path}, line {number}: {fault.words}{ending}") from None
        parts.append(rows._replace(lines=rows.lines + line))
        line += piece.count(b"\n")
    return Rows(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _pieces(text: bytes) -> Iterator[tuple[bytes, bool]]:
    """Pieces of whole lines, and whether each is the last."""
    first = 0
    while True:
        end = text.find(b"\n", first + PIECE) + 1
        if end in (0, len(text)):
            yield text[first:], True
            return
        yield text[first:end], False
        first = end


def _parse_piece(text: bytes) -> Rows:
    if strange := _STRANGE.search(text):
        byte = text[strange.start()]
        raise _Fault(strange.start(), f"the byte 0x{byte:02x}, which no LIBSVM text holds")
    content = np.frombuffer(text, np.uint8)
    solid = np.concatenate([[False], content > ord(" "), [False]])
    edges = np.flatnonzero(solid[1:] != solid[:-1])
    starts, ends = edges[::2], edges[1::2]
    lines = np.searchsorted(np.flatnonzero(content == ord("\n")), starts)
    leads = np.diff(lines, prepend=-1) != 0
    colons = _colons(content, starts, ends, leads)
    where = np.flatnonzero(leads)
    labels = _numbers(content, starts[leads], ends[leads], "the label")
    starts, ends, rows = starts[~leads], ends[~leads], np.cumsum(leads)[~leads] - 1
    indices = _indices(content, starts, colons)
    wrong = np.flatnonzero((indices[1:] <= indices[:-1]) & (rows[1:] == rows[:-1]))
    if wrong.size:
        k = wrong[0]
        words = "stands twice" if indices[k] == indices[k + 1] else f"comes after {indices[k]}"
        raise _Fault(int(starts[k + 1]), f"index {indices[k + 1]} {words}; indices must ascend")
    values = _numbers(content, colons + 1, ends, "the value")
    lengths = np.diff(where, append=len(leads)) - 1
    return Rows(labels, lengths, lines[where], (indices - 1).astype(np.int32), values)


def _colons(
    content: UInt8[np.ndarray, " bytes"],
    starts: Int64[np.ndarray, " tokens"],
    ends: Int64[np.ndarray, " tokens"],
    leads: Bool[np.ndarray, " tokens"],
) -> Int64[np.ndarray, " pairs"]:
    """Where the colon of each feature is; labels have none."""
    colons = np.flatnonzero(content == ord(":"))
    first, last = np.searchsorted(colons, starts), np.searchsorted(colons, ends)
    wrong = last - first != ~leads
    inner = np.flatnonzero(~leads & ~wrong)
    at = colons[first[inner]]
    wrong[inner[(at == starts[inner]) | (at == ends[inner] - 1)]] = True
    if wrong.any():
        k = int(np.argmax(wrong))
        token = _shown(content[starts[k] : ends[k]])
        wanted = "a label, such as -1 or 1, comes first" if leads[k] else "write <index>:<value>"
        raise _Fault(
            int(starts[k]), f"{token} is no {'label' if leads[k] else 'feature'}; {wanted}"
        )
    return at


def _indices(
    content: UInt8[np.ndarray, " bytes"],
    starts: Int64[np.ndarray, " pairs"],
    ends: Int64[np.ndarray, " pairs"],
) -> Int64[np.ndarray, " pairs"]:
    """The whole numbers from 1 that the bytes `starts` to `ends` write."""
    indices = np.zeros(len(starts), np.int64)
    for members, digits in _by_length(content, starts, ends):
        whole = _DIGITS[digits].all(axis=1)
        if not whole.all():
            k = members[np.argmin(whole)]
            token = _shown(content[starts[k] : ends[k]])
            raise _Fault(int(starts[k]), f"the index {token} is no whole number from 1")
        number = np.zeros(len(members), np.int64)
        for digit in digits.T:
            number = np.minimum(number * 10 + (digit - ord("0")), 2 * _LARGEST_INDEX)
        indices[members] = number
    wrong = np.flatnonzero((indices < 1) | (indices > _LARGEST_INDEX))
    if wrong.size:
        k = wrong[0]
        words = (
            "index 0, but indices begin at 1; add 1 to every index of the file"
            if indices[k] == 0
            else f"an index larger than {_LARGEST_INDEX}"
        )
        raise _Fault(int(starts[k]), words)
    return indices


def _numbers(
    content: UInt8[np.ndarray, " bytes"],
    starts: Int64[np.ndarray, " tokens"],
    ends: Int64[np.ndarray, " tokens"],
    what: str,
) -> Float64[np.ndarray, " tokens"]:
    """The finite numbers that the bytes `starts` to `ends` write."""
    numbers = np.zeros(len(starts))
    for members, letters in _by_length(content, starts, ends):
        clean = _NUMERIC[letters].all(axis=1)
        tokens = letters.view(f"S{letters.shape[1]}")[:, 0]
        try:
            numbers[members[clean]] = tokens[clean].astype(np.float64)
        except ValueError:
            clean &= [_is_number(token) for token in tokens]
        numbers[members[~clean]] = np.nan
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        k = int(np.argmax(wrong))
        token = _shown(content[starts[k] : ends[k]])
        raise _Fault(int(starts[k]), f"{what} {token} is no finite number")
    return numbers


def _is_number(token: bytes) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _by_length(
    content: UInt8[np.ndarray, " bytes"],
    starts: Int64[np.ndarray, " tokens"],
    ends: Int64[np.ndarray, " tokens"],
) -> Iterator[tuple[Int64[np.ndarray, " some"], UInt8[np.ndarray, "some length"]]]:
    """The tokens of each length: which they are, and their bytes."""
    lengths = ends - starts
    for length in np.unique(lengths):
        members = np.flatnonzero(lengths == length)
        yield members, content[starts[members, None] + np.arange(length)]


def _shown(token: UInt8[np.ndarray, " length"]) -> str:
    written = token.tobytes().decode("ascii")
    return repr(written if len(written) <= 30 else written[:27] + "...")
