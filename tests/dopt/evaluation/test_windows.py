import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dopt.errors import ConfigurationError, DataError
from dopt.evaluation.text import read_text
from dopt.evaluation.windows import check_tokens, cut, joined, rows, windows_of


def scored(windows):
    """(window, place) of every scored token."""
    return [tuple(pair) for pair in np.argwhere(windows.scored).tolist()]


def by_the_words(n, window, stride, front):
    """Which tokens are scored in which window, by going through all windows that there could be."""
    held, seen, found = window - front, set(), []
    for start in range(0, n, stride):
        inside = list(range(start, min(start + held, n)))
        fresh = [t for t in inside if t not in seen and (front or t > start)]
        seen |= set(fresh)
        if fresh:
            found.append((inside, fresh))
    return found


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 40), st.integers(2, 12), st.data(), st.booleans())
def test_tokens_are_scored_once_in_the_first_window_that_can(n, window, data, bos):
    stride = data.draw(st.integers(1, window - bos))
    tokens = np.arange(100, 100 + n)
    if n + bos < 2:
        with pytest.raises(ConfigurationError, match="give a longer text"):
            cut(tokens, window, stride, bos=7 if bos else None)
        return
    found = cut(tokens, window, stride, bos=7 if bos else None)
    expected = by_the_words(n, window, stride, int(bos))
    assert len(found.tokens) == len(expected)
    for i, (inside, fresh) in enumerate(expected):
        row = [7] * bos + [100 + t for t in inside]
        assert found.tokens[i].tolist() == row + [0] * (window - len(row))
        assert found.tokens[i][found.scored[i]].tolist() == [100 + t for t in fresh]
    places = found.tokens[found.scored]
    assert len(set(places.tolist())) == places.size == found.counts.sum()
    # All but the first of the text, or of each window where they do not overlap.
    lost = 0 if bos else len(range(0, n, stride)) if stride == window else 1
    assert places.size == n - lost


def test_the_default_is_disjoint_windows_of_512_that_score_511():
    found = cut(np.arange(20_000) % 99).most(16)
    assert found.tokens.shape == (16, 512)
    assert found.counts.tolist() == [511] * 16
    np.testing.assert_array_equal(found.tokens.reshape(-1), np.arange(16 * 512) % 99)
    whole = cut(np.arange(1100))
    assert whole.counts.tolist() == [511, 511, 75]
    assert cut(np.arange(1025)).counts.tolist() == [511, 511]


def test_several_texts_share_no_window():
    found = joined([cut([1, 2, 3, 4], 3), cut([5, 6], 3)])
    assert found.tokens.tolist() == [[1, 2, 3], [5, 6, 0]]
    assert found.counts.tolist() == [2, 1]
    with pytest.raises(ConfigurationError, match=r"windows of \[3, 4\] tokens cannot be joined"):
        joined([cut([1, 2], 3), cut([1, 2], 4)])


def test_rows_are_windows_as_they_are():
    found = rows(np.arange(6).reshape(2, 3))
    assert scored(found) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert windows_of(found, most=1).tokens.tolist() == [[0, 1, 2]]
    with pytest.raises(ConfigurationError, match=r"window = 3, .* beside windows that are cut"):
        windows_of(found, window=3)
    with pytest.raises(ConfigurationError, match="2 windows of 1 tokens"):
        rows(np.zeros((2, 1), int))


def test_fingerprints_tell_windows_apart():
    base = cut(np.arange(10), 4)
    others = [cut(np.arange(10), 4, 3), cut(np.arange(11), 4), cut(np.arange(10), 5), base.most(2)]
    assert base.fingerprint == cut(list(range(10)), 4, 4).fingerprint
    assert len({w.fingerprint for w in [base, *others]}) == 5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cut([1, 2, 3], 1), "window = 1 tokens; it must be at least 2"),
        (lambda: cut([1, 2, 3], 4, 5), "stride = 5; it must be at least 1 and at most 4"),
        (lambda: cut([1, 2, 3], 4, 0), "stride = 0"),
        (lambda: cut([1, 2, 3], 4, 4, bos=0), "at most 3, the tokens of the text in a window of 4"),
        (lambda: cut([], 4), "the text has 0 tokens"),
        (lambda: cut([], 4, bos=1), "the text has 0 tokens"),
        (lambda: cut([1], 4), "the text has 1 tokens, of which none"),
        (lambda: cut(np.ones((2, 3), int), 4), r"shape \(2, 3\) and dtype int64; give a flat list"),
        (lambda: cut(np.ones(3), 4), "dtype float64"),
        (lambda: cut([1, 2, 3], 2).most(0), "most = 0 windows"),
        (lambda: joined([]), r"windows of \[\] tokens"),
        (lambda: check_tokens(np.array([[1, 9]]), 9), "token 9 is not in the vocabulary of 0 to 8"),
        (lambda: check_tokens(np.array([[-1, 0]]), 9), "token -1 is not"),
    ],
)
def test_what_cannot_be_cut_is_said(call, words):
    with pytest.raises(ConfigurationError, match=words):
        call()


def test_line_ends_of_texts_are_made_the_same(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("\ufeffнаïve\r\nline\n\r\nlast\rone".encode())
    assert read_text(path) == "наïve\nline\n\nlast\rone"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is empty"),
        (b" \r\n", "is empty"),
        (b"GGUF\x03\x00\x00\x00", "holds zero bytes, so it is no text"),
        (b"caf\xe9", "is not UTF-8 at byte 3"),
    ],
)
def test_what_is_no_text_is_said(tmp_path, content, words):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_text(path)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_text(tmp_path)
