"""The figure of correlated against independent quantizers: its numbers, limits and files."""

import math

import matplotlib as mpl
import numpy as np
import pytest

from dopt.errors import DoptError
from experiments import quantizers
from experiments.style import PAPER


@pytest.fixture(scope="module")
def rows():
    return quantizers.table()


def by_hand(n, d, scale):
    """The least (p + (1−p)c)(1 + √((1−p)A/p)) of both, over a fine grid of p."""
    p = np.geomspace(1e-9, 1, 2_000_001)
    c = (32 + d) / (32 * d)

    def least(A):
        return np.min((p + (1 - p) * c) * (1 + np.sqrt((1 - p) * A / p)))

    independent = (d - 1) / n if scale == 1 else scale * d / n
    correlated = scale * d / n**2
    return least(independent) / least(min(correlated, independent) if scale == 1 else correlated)


def test_the_gain_is_that_of_a_grid_search(rows):
    for constants, scale in (("exact", 1), ("published", 0.25)):
        mine = rows[(rows["constants"] == constants) & (rows["n"] == rows["d"])]
        for n, d, gain in mine[["n", "d", "gain"]].iloc[[20, 100, 180]].itertuples(index=False):
            assert gain == pytest.approx(by_hand(int(n), int(d), scale), rel=1e-6)
    free = rows[(rows["n"] == 100) & (rows["d"] > 5000)].iloc[0]
    assert free["gain"] == pytest.approx(by_hand(100, int(free["d"]), 1), rel=1e-6)


def test_every_curve_is_there_once(rows):
    assert not rows.duplicated(["constants", "n", "d"]).any()
    together = rows[rows["n"] == rows["d"]]
    assert set(together.groupby("constants").size()) >= {len(quantizers.grid())}
    different = rows[rows["constants"] == "different"]
    assert (different["gain"] == 1).all()
    assert rows["gain"].min() >= 1


def test_the_limits_are_named_and_not_passed(rows):
    with mpl.style.context(PAPER, after_reset=True):
        shown = quantizers.figure(rows)
        shown.draw_without_rendering()
    left = shown.axes[0]
    assert [text.get_text() for text in left.texts] == ["12.86", "7.29"]
    levels = {
        round(float(line.get_ydata()[0]), 2) for line in left.lines if len(line.get_xdata()) == 2
    }
    assert levels == {12.86, 7.29}
    together = rows[rows["n"] == rows["d"]].groupby("constants")["gain"].max()
    assert 12 < together["exact"] < 12.86
    assert 7 < together["published"] < 7.29
    for ax in shown.axes:
        curves = [line for line in ax.lines if len(line.get_xdata()) > 2]
        assert len(curves) == len(ax.get_legend().get_texts())
        highest = max(float(np.max(line.get_ydata())) for line in curves)
        assert highest < ax.get_ylim()[1]


def test_files(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(quantizers, "table", lambda: rows)
    paths = quantizers.draw(tmp_path / "new")
    assert [path.name for path in paths] == ["quantizers.png", "quantizers.pdf", "quantizers.csv"]
    assert paths[0].read_bytes()[1:4] == b"PNG"
    assert b"/FontFile2" in paths[1].read_bytes()
    assert math.isclose(
        float(paths[2].read_text().splitlines()[-1].split(",")[-1]), rows["gain"].iloc[-1]
    )
    (tmp_path / "file").touch()
    with pytest.raises(DoptError, match=r"cannot write .*file: File exists"):
        quantizers.draw(tmp_path / "file")
