"""How a text becomes windows, and which of their tokens are scored.

The protocol. Window i holds the `window` tokens of the text from i·stride on, BOS in front included
where one is given; the last window may be shorter. A token is scored, by the probability that the
model gives it behind the tokens in front of it in the same window, in the first window that holds
it together with something in front of it, and in no other. So

* no token is scored twice, whatever the window and the stride;
* with stride < window every token but the very first is scored, each behind at least
  window − stride tokens once the first window is full;
* with stride = window, the default, windows are disjoint, and the first token of each is not
  scored: 511 predictions in a window of 512;
* with BOS in front of every window all tokens are scored, and window − 1 is the longest stride and
  the default.

A last window that would score no token is left out; any other is kept, filled up behind its end
with tokens that nothing in front of them sees. Texts are cut one by one: no window holds two.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64

from dopt.errors import ConfigurationError


WINDOW = 512
"""Tokens of a window where nothing else is said."""


class Windows(NamedTuple):
    """Rows of tokens, and which of them are scored: those in first ≤ j < end of each row."""

    tokens: Int32[np.ndarray, "N T"]
    first: Int64[np.ndarray, " N"]
    end: Int64[np.ndarray, " N"]

    @property
    def counts(self) -> Int64[np.ndarray, " N"]:
        """How many tokens each window scores."""
        return self.end - self.first

    @property
    def scored(self) -> Bool[np.ndarray, "N T"]:
        """Which tokens are scored."""
        places = np.arange(self.tokens.shape[1])[None]
        return (places >= self.first[:, None]) & (places < self.end[:, None])

    @property
    def fingerprint(self) -> str:
        """The same for the same windows only."""
        arrays = (np.array(self.tokens.shape), self.tokens, self.first, self.end)
        return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()

    def most(self, count: int | None) -> "Windows":
        """The first `count` windows; all with None.

        Raises:
            ConfigurationError: fewer than one.
        """
        if count is not None and count < 1:
            raise ConfigurationError(f"most = {count} windows; it must be at least 1")
        return Windows(*(array[:count] for array in self))


Text = Sequence[int] | np.ndarray | Windows
"""The tokens of a text, to be cut, or windows as they are."""


def cut(
    tokens: Sequence[int] | np.ndarray,
    window: int = WINDOW,
    stride: int | None = None,
    *,
    bos: int | None = None,
) -> Windows:
    """The windows of one text.

    Args:
        tokens: of the text, flat, without BOS.
        window: tokens of a window, at least 2.
        stride: tokens from the start of a window to that of the next; by default the longest.
        bos: the token in front of every window, if there is one.

    Raises:
        ConfigurationError: a window or a stride out of bounds, tokens that are no flat list of
            integers, or a text in which nothing can be scored.
    """
    front = 0 if bos is None else 1
    held = window - front
    if window < 2:
        raise ConfigurationError(f"window = {window} tokens; it must be at least 2")
    stride = held if stride is None else stride
    if not 1 <= stride <= held:
        raise ConfigurationError(
            f"stride = {stride}; it must be at least 1 and at most {held}, the tokens of the text "
            f"in a window of {window}, or tokens would be left out"
        )
    text = _flat(tokens)
    if text.size + front < 2:
        raise ConfigurationError(
            f"the text has {text.size} tokens, of which none has another in front of it; "
            "give a longer text"
        )
    starts = np.arange(0, text.size, stride, dtype=np.int64)
    ends = np.minimum(starts + held, text.size)
    first = np.maximum(starts + 1 - front, np.concatenate([[0], ends[:-1]]))
    kept = first < ends
    rows = [_row(text[a:b], window, bos) for a, b in zip(starts[kept], ends[kept], strict=True)]
    shift = front - starts[kept]
    return Windows(np.stack(rows), first[kept] + shift, ends[kept] + shift)


def rows(tokens: Int[np.ndarray, "N T"]) -> Windows:
    """Windows as they are, such as rows of random tokens; all but each first token are scored.

    Raises:
        ConfigurationError: no row, or rows of fewer than 2 tokens.
    """
    N, T = tokens.shape
    if N < 1 or T < 2:
        raise ConfigurationError(f"{N} windows of {T} tokens; give at least 1 window of 2 tokens")
    return Windows(
        np.ascontiguousarray(tokens, np.int32), np.ones(N, np.int64), np.full(N, T, np.int64)
    )


def joined(parts: Sequence[Windows]) -> Windows:
    """The windows of several texts, one text after the other.

    Raises:
        ConfigurationError: no text, or texts cut into windows of different lengths.
    """
    lengths = sorted({part.tokens.shape[1] for part in parts})
    if len(lengths) != 1:
        raise ConfigurationError(
            f"windows of {lengths} tokens cannot be joined; cut at least one text, and all alike"
        )
    return Windows(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def windows_of(
    text: Text,
    window: int | None = None,
    stride: int | None = None,
    bos: int | None = None,
    most: int | None = None,
) -> Windows:
    """The first `most` windows of a text; windows stay as they are.

    Raises:
        ConfigurationError: see `cut`; or windows together with a way to cut them.
    """
    if not isinstance(text, Windows):
        return cut(text, window or WINDOW, stride, bos=bos).most(most)
    if (window, stride, bos) != (None, None, None):
        raise ConfigurationError(
            f"window = {window}, stride = {stride} and bos = {bos} beside windows that are cut "
            "already; give them to `cut`"
        )
    return text.most(most)


def check_tokens(tokens: Int[np.ndarray, "N T"], vocabulary: int) -> None:
    """Refuses tokens that a model does not have.

    Raises:
        ConfigurationError: a token outside of the vocabulary.
    """
    wrong = tokens[(tokens < 0) | (tokens >= vocabulary)]
    if wrong.size:
        raise ConfigurationError(
            f"token {wrong[0]} is not in the vocabulary of 0 to {vocabulary - 1}; "
            "use the model's own tokenizer"
        )


def _flat(tokens: Sequence[int] | np.ndarray) -> Int64[np.ndarray, " n"]:
    array = np.asarray(tokens)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ConfigurationError(
            f"tokens have shape {array.shape} and dtype {array.dtype}; give a flat list of token "
            "numbers, or `rows` of them"
        )
    return array.astype(np.int64)


def _row(tokens: np.ndarray, window: int, bos: int | None) -> Int32[np.ndarray, " T"]:
    row = np.zeros(window, np.int32)
    front = [] if bos is None else [bos]
    filled = np.concatenate([np.array(front, np.int64), tokens])
    row[: filled.size] = filled
    return row
