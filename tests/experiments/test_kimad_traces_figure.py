"""Kimad on many traces: counts, ratios and their quartiles against plain loops."""

import math

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from dopt.errors import DataError
from experiments.kimad import BEST_FIXED, KIMAD, KIMAD_PLUS, SAME_BUDGET, UNCOMPRESSED
from experiments.kimad_traces_figure import (
    draw_traces,
    sentence,
    table_of_traces,
    traces_figure,
)
from experiments.style import PAPER, STYLES


INF = math.inf
HAND = {  # Kimad, EF21 with the same budget, uncompressed
    "3g, 0": (2.0, 3.0, 20.0),
    "3g, 1": (2.0, 1.0, INF),
    "3g, 2": (4.0, 4.0, 40.0),
    "4g, 0": (INF, 5.0, INF),
    "4g, 1": (1.0, INF, 3.0),
    "4g, 2": (1.0, 6.0, 0.5),
}


def summary(times, methods=(KIMAD, SAME_BUDGET, UNCOMPRESSED)):
    """A table of a study, the rows of a regime in order of their times as in the real one."""
    rows = [
        {"regime": regime, "method": method, "time_to_target": time, "seeds": 1}
        for regime, own in times.items()
        for method, time in sorted(zip(methods, own, strict=True), key=lambda pair: pair[1])
    ]
    return pd.DataFrame(rows)


def points(ax):
    """The places and ratios of each marker of a panel."""
    return {
        line.get_marker(): np.array(line.get_xydata())
        for line in ax.lines
        if line.get_marker() != "None"
    }


def test_points_are_the_ratios_in_order():
    figure = traces_figure(summary(HAND))
    assert [ax.get_title() for ax in figure.axes] == [SAME_BUDGET, UNCOMPRESSED]
    budget, plain = figure.axes
    found = points(budget)
    # 0 for the trace that Kimad alone does not reach; then 1/2, a tie, 3/2, 6; then infinity.
    assert found["o"].tolist() == [[2, 0.5], [3, 1.0], [4, 1.5], [5, 6.0]]
    low, high = budget.get_ylim()
    assert found["v"].tolist() == [[1, low]]
    assert found["^"].tolist() == [[6, high]]
    assert low < 0.5
    assert high > 10
    found = points(plain)
    assert found["o"].tolist() == [[1, 0.5], [2, 3.0], [3, 10.0], [4, 10.0]]
    assert found["^"].tolist() == [[5, high]]
    assert "v" not in found
    texts = [ax.texts[0].get_text() for ax in figure.axes]
    assert texts == [
        "Kimad first on 3 of 6",
        "Kimad first on 4 of 6\nneither reaches the target: 1",
    ]
    for ax in figure.axes:
        assert ax.get_yscale() == "log"
        assert ax.lines[0].get_ydata() == [1, 1]
        colors = {to_hex(line.get_color()).upper() for line in ax.lines if line.get_marker() == "o"}
        assert colors == {STYLES[ax.get_title()].color}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "as long as Kimad", "only Kimad reaches the target", "only the other reaches it"
    ]  # fmt: skip


def test_the_reference_is_first():
    figure = traces_figure(summary(HAND), UNCOMPRESSED)
    assert [ax.get_title() for ax in figure.axes] == [UNCOMPRESSED, SAME_BUDGET]


def test_table_against_a_loop():
    rng = np.random.default_rng(4)
    methods = (KIMAD, SAME_BUDGET, BEST_FIXED, UNCOMPRESSED, KIMAD_PLUS)
    times = {}
    for name, count in (("3g", 31), ("fcc, New York", 20)):
        for k in range(count):
            own = np.exp(rng.normal(size=5))
            own[rng.random(5) < 0.2] = INF
            times[f"{name}, {k}"] = tuple(own)
    table = table_of_traces(summary(times, methods))
    assert table["set"].tolist() == ["3g"] * 3 + ["fcc, New York"] * 3 + ["all"] * 3
    assert table["reference"].tolist() == [SAME_BUDGET, BEST_FIXED, UNCOMPRESSED] * 3
    for row in table.itertuples():
        mine = [
            (own[0], own[methods.index(row.reference)])
            for regime, own in times.items()
            if row.set in ("all", regime[: regime.rindex(",")])
        ]
        assert row.traces == len(mine)
        assert row.kimad_first == sum(kimad < other for kimad, other in mine)
        assert row.kimad_never == sum(kimad == INF for kimad, _ in mine)
        assert row.reference_never == sum(other == INF for _, other in mine)
        ratios = sorted(
            0.0 if kimad == INF else other / kimad
            for kimad, other in mine
            if not kimad == other == INF
        )
        for found, q in ((row.lower_quartile, 1), (row.median, 2), (row.upper_quartile, 3)):
            assert found == ratios[(len(ratios) - 1) * q // 4]


def test_one_set_is_all():
    times = {f"3g, {k}": own for k, own in enumerate(HAND.values())}
    table = table_of_traces(summary(times))
    assert table["set"].tolist() == ["all", "all"]
    assert table["median"].tolist() == [1.0, 10.0]  # of an even number the lower
    line = sentence(table)
    assert line.startswith(
        f"Kimad first against {SAME_BUDGET}: 3 of 6 (median of its time / Kimad's 1, quartiles 0.5 "
        "and 1.5; targets missed: 1, by Kimad 1)"
    )
    assert f"{UNCOMPRESSED}: 4 of 6 (" in line
    named = table_of_traces(summary({"d = 30": (1.0, 2.0, 3.0)}))
    assert named["set"].tolist() == ["all", "all"]


def test_traces_on_which_nobody_reaches_the_target():
    times = summary({"3g, 0": (INF, INF, INF)})
    table = table_of_traces(times)
    assert table["traces"].tolist() == [1, 1]
    assert table["kimad_first"].tolist() == [0, 0]
    assert table["median"].isna().all()
    (text, _) = [ax.texts[0].get_text() for ax in traces_figure(times).axes]
    assert text == "Kimad first on 0 of 1\nneither reaches the target: 1"


def test_a_method_counts_where_it_ran():
    rows = summary(HAND)
    rows = rows[(rows["regime"] != "3g, 0") | (rows["method"] != UNCOMPRESSED)]
    table = table_of_traces(rows)
    assert table[table["set"] == "all"]["traces"].tolist() == [6, 5]


def test_refusals(tmp_path):
    others = summary({"3g, 0": (1.0, 2.0)}, (SAME_BUDGET, UNCOMPRESSED))
    alone = summary({"3g, 0": (1.0, 2.0)}, (KIMAD, KIMAD_PLUS))
    for table in (others, alone, others.iloc[:0]):
        with pytest.raises(DataError, match=r"the summary has .*; give that of a study that comp"):
            draw_traces(table, tmp_path)
        with pytest.raises(DataError, match="give that of a study"):
            table_of_traces(table)
    with pytest.raises(
        DataError, match=r"no 'EF21, best fixed ratio' in the summary .* it has EF21"
    ):
        draw_traces(summary(HAND), tmp_path, BEST_FIXED)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("time", [2.0, INF])
def test_a_single_trace_has_panels_as_wide_as_many_have(time):
    with mpl.style.context(PAPER, after_reset=True):
        figure = traces_figure(summary({"3g, 0": (1.0, time, INF)}))
        figure.draw_without_rendering()
    left, right = (ax.get_position().width for ax in figure.axes)
    assert left == pytest.approx(right, rel=0.01)
    assert left > 0.3


def test_files_and_layout(tmp_path):
    rng = np.random.default_rng(5)
    methods = (KIMAD, SAME_BUDGET, BEST_FIXED, UNCOMPRESSED)
    factors = np.array([1.0, 1.3, 0.9, 8.0])
    times = {f"3g, {k}": factors * np.exp(0.5 * rng.normal(size=4)) for k in range(80)}
    times["3g, 3"][3] = times["3g, 4"][0] = INF
    table = summary(times, methods)
    assert draw_traces(table, tmp_path) == [tmp_path / "traces.png", tmp_path / "traces.pdf"]
    assert b"/CreationDate" not in (tmp_path / "traces.pdf").read_bytes()
    with mpl.style.context(PAPER, after_reset=True):
        figure = traces_figure(table)
        figure.draw_without_rendering()
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    boxes.append(figure.legends[0].get_window_extent())
    for i, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])
    for ax in figure.axes:
        text = ax.texts[0].get_window_extent()
        for line in ax.lines:
            inside = text.padded(2).count_contains(ax.transData.transform(line.get_xydata()))
            assert line.get_marker() == "None" or not inside
