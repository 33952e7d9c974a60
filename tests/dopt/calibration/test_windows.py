import numpy as np
import pytest

from dopt.calibration import calibration_windows, random_tokens
from dopt.errors import ConfigurationError


TEXT = np.arange(1000, 1100)


def test_windows_are_pieces_of_the_text_and_none_twice():
    found = calibration_windows(TEXT, 60, 16, seed=3, longest=64)
    assert found.shape == (60, 16)
    np.testing.assert_array_equal(found, found[:, :1] + np.arange(16))
    starts = found[:, 0] - 1000
    assert len(set(starts)) == 60
    assert starts.min() >= 0
    assert found.max() <= 1099
    np.testing.assert_array_equal(found, calibration_windows(TEXT, 60, 16, seed=3, longest=64))
    assert not np.array_equal(found, calibration_windows(TEXT, 60, 16, seed=4, longest=64))


@pytest.mark.parametrize(
    ("count", "length", "longest", "shape"),
    [(200, 16, 64, (85, 16)), (5, 16, 8, (5, 8)), (5, 2048, 4096, (1, 100))],
)
def test_what_is_cut_is_said(caplog, count, length, longest, shape):
    found = calibration_windows(TEXT, count, length, seed=0, longest=longest)
    assert found.shape == shape
    assert f"{shape[0]} windows of {shape[1]} tokens instead of {count} of {length}" in caplog.text


def test_every_window_once_where_all_are_wanted(caplog):
    found = calibration_windows(TEXT, 100, 1, seed=0, longest=4)
    assert sorted(found[:, 0]) == TEXT.tolist()
    assert not caplog.text


def test_random_tokens_are_uniform():
    found = random_tokens(7, 100, 70, seed=1)
    assert found.shape == (100, 70)
    counts = np.bincount(found.ravel(), minlength=7)
    assert len(counts) == 7
    assert np.abs(counts / 7000 - 1 / 7).max() < 5 * np.sqrt(1 / 7 * 6 / 7 / 7000)
    np.testing.assert_array_equal(found, random_tokens(7, 100, 70, seed=1))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: calibration_windows([], seed=0, longest=8), "from a text of 0"),
        (lambda: calibration_windows(TEXT, 0, seed=0, longest=8), "0 windows of 2048 tokens"),
        (lambda: random_tokens(0, 1, 1, seed=0), "1 windows of 1 tokens out of 0"),
    ],
)
def test_what_gives_no_window_is_said(call, words):
    with pytest.raises(ConfigurationError, match=words):
        call()
