"""Kimad's figures: what is drawn is what the tables hold, read back from the figures."""

import math
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from dopt.errors import DataError, DoptError
from experiments.kimad import BEST_FIXED, KIMAD, KIMAD_PLUS, ORACLE, SAME_BUDGET, UNCOMPRESSED
from experiments.kimad_figures import (
    CHANGES,
    CORNERS,
    DEEPEST,
    bandwidth_figure,
    draw_bandwidth,
    draw_rounds,
    rounds_figure,
)
from experiments.kimad_layers_figure import CELLS, draw_layers, layers_figure
from experiments.kimad_panels import titled
from experiments.style import PAPER, STYLES


METHODS = (UNCOMPRESSED, BEST_FIXED, SAME_BUDGET, KIMAD, KIMAD_PLUS, ORACLE)
LONG = "broadband from trace_10322_http---edition.cnn.com on, round of 44.7 ms"


def rounds(method, durations, *, regime="3g", t=math.nan, ratio=0.25, bandwidth=1e6):
    """Rounds whose last message is that of worker 1: worker 0 is done in three quarters of them.

    Worker 0 begins to send after a quarter; what is given of a round is of that worker alone.
    """
    durations = np.asarray(durations, float)
    start = np.concatenate([[0.0], np.cumsum(durations)[:-1]])
    K = len(durations)
    parts = [
        pd.DataFrame(
            {
                "regime": regime, "method": method, "round": np.arange(K), "worker": worker,
                "start": start, "ready": start, "computed": start + durations / 4,
                "arrived": start + durations * share, "down_bits": 8, "up_bits": 8,
                "down_budget": -1, "up_budget": -1, "seconds": t,
                "ratio": ratio if worker == 0 else 1e-9,
                "bandwidth": bandwidth if worker == 0 else 1e-9,
            }
        )
        for worker, share in ((1, 1.0), (0, 0.75))
    ]  # fmt: skip
    return pd.concat(parts)


def layers(method, ratios, *, regime="3g", names=None):
    """A round a row and a layer a column, in the order of a table that nobody sorted."""
    ratios = np.asarray(ratios, float)
    which, layer = (index.ravel() for index in np.indices(ratios.shape))
    names = names or [f"leaf {j}" for j in range(ratios.shape[1])]
    table = pd.DataFrame(
        {
            "regime": regime, "method": method, "round": which, "layer": layer,
            "name": np.array(names)[layer], "size": 1000 * (layer + 1), "ratio": ratios.ravel(),
        }
    )  # fmt: skip
    return table.sample(frac=1.0, random_state=0)


def store(folder, name, *tables):
    pd.concat(tables).to_parquet(folder / f"{name}.parquet", index=False)
    return folder


def line_of(ax, method):
    (line,) = [line for line in ax.lines if line.get_label() == method]
    return line


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.fixture
def full(tmp_path):
    """All methods in three regimes with long names, and a layer map of 62 layers."""
    rng = np.random.default_rng(3)
    tables = []
    for regime in ("3g, norway_bus_1", "4g from 4g_trace_driving_50031_dr on, 1 ms", LONG):
        for method in METHODS:
            own = {"t": 1.0} if method.startswith("Kimad") else {}
            ratio = 0.2 * np.exp(rng.normal(size=90)) if own else 0.3
            tables.append(
                rounds(method, rng.uniform(0.5, 9, 90), ratio=ratio, regime=regime, **own)
            )
    names = [f"stages[{j // 16}].blocks[{j // 8 % 2}].conv{j % 8}.kernel" for j in range(62)]
    for method in (KIMAD, KIMAD_PLUS):
        ratios = rng.uniform(1e-3, 1, (40, 62))
        store(tmp_path, "layers", layers(method, ratios, regime=LONG, names=names))
    return store(tmp_path, "rounds", *tables)


@pytest.mark.parametrize("make", [bandwidth_figure, rounds_figure, layers_figure])
def test_nothing_overlaps_and_names_are_legible(full, make):
    with mpl.style.context(PAPER, after_reset=True):
        figure = make(full)
        figure.draw_without_rendering()
    boxes = [ax.get_tightbbox() for ax in figure.axes]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    boxes += [figure._suptitle.get_window_extent()] if figure.get_suptitle() else []
    for i, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])
    for ax in figure.axes:
        for axis, ends in ((ax.xaxis, ("x0", "x1")), (ax.yaxis, ("y0", "y1"))):
            labels = [text for text in axis.get_ticklabels() if text.get_text()]
            assert all(text.get_fontsize() >= 5 for text in labels)
            found = [text.get_window_extent() for text in labels if text.get_visible()]
            spans = sorted(tuple(getattr(box, end) for end in ends) for box in found)
            assert all(a[1] <= b[0] + 1 for a, b in pairwise(spans) if a != b)


def test_bandwidth_is_that_of_kimads_messages_of_worker_0(tmp_path):
    levels = np.array([1e6, 2e6, 0.5e6])
    own = rounds(KIMAD, [4.0, 4.0, 8.0], t=5.0, bandwidth=levels)
    store(tmp_path, "rounds", rounds(UNCOMPRESSED, [40.0], bandwidth=7.0), own)
    ax = bandwidth_figure(tmp_path).axes[0]
    (line,) = ax.lines
    # Each from a quarter of its round to three quarters.
    assert line.get_xdata().tolist() == [1, 3, 5, 7, 10, 14]
    assert line.get_ydata().tolist() == np.repeat(levels, 2).tolist()
    assert ax.get_yscale() == "linear"
    assert ax.get_ylim()[0] == 0


def test_outages_have_a_place_on_a_logarithmic_axis(tmp_path):
    levels = np.array([1e6, 1e2, 0.0, math.inf, 1e6 / 21])
    store(tmp_path, "rounds", rounds(KIMAD, [4.0] * 5, t=5.0, bandwidth=levels))
    ax = bandwidth_figure(tmp_path).axes[0]
    (line,) = ax.lines
    deepest = 1e6 * DEEPEST
    assert line.get_ydata()[::2].tolist() == [1e6, 1e2, deepest, 1e6 / 21]
    assert ax.get_yscale() == "log"
    low, high = ax.get_ylim()
    assert low < deepest
    assert high > 1e6


def test_ratios_are_steps_or_levels(tmp_path):
    ratios = np.array([0.01, 0.5, 0.25])
    store(
        tmp_path, "rounds",
        rounds(UNCOMPRESSED, [40.0], ratio=1.0), rounds(SAME_BUDGET, [2.0] * 5, ratio=0.3),
        rounds(KIMAD, [4.0, 4.0, 8.0], t=5.0, ratio=ratios),
        rounds(ORACLE, [1.0, 2.0, 3.0, 4.0], t=5.0, ratio=0.0625),
    )  # fmt: skip
    figure = bandwidth_figure(tmp_path)
    upper, lower = figure.axes
    assert lower.get_yscale() == "log"
    assert lower.get_xlim() == upper.get_xlim()
    assert lower.get_shared_x_axes().joined(upper, lower)
    kimad = line_of(lower, KIMAD)
    assert kimad.get_drawstyle() == "steps-post"
    assert kimad.get_xdata().tolist() == [0, 4, 8, 14]  # until its last message has arrived
    assert kimad.get_ydata().tolist() == [0.01, 0.5, 0.25, 0.25]
    assert line_of(lower, ORACLE).get_xdata().tolist() == [0, 1, 3, 6, 9]
    for method, level in ((UNCOMPRESSED, 1.0), (SAME_BUDGET, 0.3)):
        assert line_of(lower, method).get_xdata() == [0, 1]  # of the panel's width
        assert line_of(lower, method).get_ydata() == [level, level]
        assert to_hex(line_of(lower, method).get_color()).upper() == STYLES[method].color
    # The probe does not count.
    low, high = lower.get_ylim()
    assert 0.01 < low < 0.0625
    assert high > 1
    assert legend_texts(figure) == [UNCOMPRESSED, SAME_BUDGET, KIMAD, ORACLE]
    assert "worker 0" in figure.get_suptitle()
    assert [ax.get_ylabel() for ax in figure.axes] == ["bandwidth [bit/s]", "ratio sent"]


def test_so_many_rounds_are_shown_as_can_be_told_apart(tmp_path):
    changing = rounds(KIMAD, [4.0] * 500, t=5.0, ratio=np.tile([0.1, 0.1, 0.2], 167)[:500])
    store(tmp_path, "rounds", changing)
    upper, _ = bandwidth_figure(tmp_path).axes
    end = upper.get_xlim()[1]
    steps = np.flatnonzero(np.diff(np.tile([0.1, 0.1, 0.2], 167)))
    assert end == 4 * steps[CHANGES] + 3  # the last round before the next change
    store(tmp_path, "rounds", rounds(KIMAD, [4.0] * 500, t=5.0))
    upper, _ = bandwidth_figure(tmp_path).axes
    assert upper.get_xlim()[1] == 4 * 499 + 3


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (4, 4), (5, 3), (80, 3)])
def test_of_many_regimes_the_first_are_shown(tmp_path, count, shown):
    names = [f"trace {9 * k % 80}" for k in range(count)]  # in an order of their own
    tables = [rounds(KIMAD, [1.0, 2.0], t=1.5, regime=name) for name in names]
    store(tmp_path, "rounds", *tables)
    for figure, rows in ((bandwidth_figure(tmp_path), 2), (rounds_figure(tmp_path), 1)):
        assert len(figure.axes) == rows * shown
        assert [ax.get_title() for ax in figure.axes[:shown]] == names[:shown]
        assert (f"first 3 of {count} regimes" in figure.get_suptitle()) == (count > 4)


def share_until(line, x):
    """The value of a drawn distribution function."""
    index = np.searchsorted(line.get_xdata(), x, "right") - 1
    return line.get_ydata()[index] if index >= 0 else 0.0


def test_distributions_are_those_of_the_last_arrivals(tmp_path):
    t = 2.0
    kimad = [2.0, 1.0, 1.0, 3.0, t * (1 + 1e-12), 1.9, 5.0, 2.0, 0.5, 1.0]
    plain = [9.0, 1.0, 8.0, 2.0]
    plus = np.random.default_rng(0).uniform(1, 20, 5000)
    store(
        tmp_path, "rounds", rounds(UNCOMPRESSED, plain), rounds(KIMAD, kimad, t=t),
        rounds(KIMAD_PLUS, plus, t=4.0), rounds(ORACLE, [2.0] * 400 + [3.0], t=t),
        rounds(BEST_FIXED, [3.0] * 400 + [2.0]),
    )  # fmt: skip
    figure = rounds_figure(tmp_path)
    (ax,) = figure.axes
    at = np.geomspace(0.1, 20, 300) * (1 + 1e-6)
    for method, durations, time in ((KIMAD, kimad, t), (UNCOMPRESSED, plain, t)):
        shares = np.array(durations) / time
        line = line_of(ax, method)
        np.testing.assert_allclose(
            [share_until(line, x) for x in at], [(shares <= x).mean() for x in at], atol=1e-12
        )
        assert line.get_drawstyle() == "steps-post"
    line = line_of(ax, KIMAD_PLUS)
    assert len(line.get_xdata()) <= CORNERS + 1
    drawn = [share_until(line, x) for x in at]
    np.testing.assert_allclose(drawn, [(plus / 4 <= x).mean() for x in at], atol=2 / CORNERS)
    assert line.get_ydata()[-1] == 1
    assert ax.get_xscale() == "log"
    assert [line.get_xdata() for line in ax.lines if len(set(line.get_xdata())) == 1] == [[1, 1]]
    late = (plus > 4).mean()
    assert legend_texts(figure) == [
        f"{UNCOMPRESSED}\nlate: 50 %", f"{BEST_FIXED}\nlate: > 99 %", f"{KIMAD}\nlate: 20 %",
        f"{KIMAD_PLUS}\nlate: {100 * late:.0f} %", f"{ORACLE}\nlate: < 1 %",
    ]  # fmt: skip


def test_a_round_that_never_ends_is_late_and_left_out(tmp_path):
    table = rounds(KIMAD, [1.0, 1.0, 2.0, 4.0], t=2.0)
    table.loc[(table["round"] == 3) & (table["worker"] == 1), "arrived"] = math.inf
    figure = rounds_figure(store(tmp_path, "rounds", table))
    line = line_of(figure.axes[0], KIMAD)
    assert line.get_xdata().tolist() == [0.5, 0.5, 0.5, 1.0]
    assert line.get_ydata().tolist() == [0, 0.25, 0.5, 0.75]
    assert legend_texts(figure) == [f"{KIMAD}\nlate: 25 %"]


def test_every_regime_has_its_time_and_its_share(tmp_path):
    tables = [
        rounds(method, [1.0, 3.0], regime=regime, t=t if method == KIMAD else math.nan)
        for regime, t in (("slow", 2.0), ("fast", 0.5))
        for method in (KIMAD, UNCOMPRESSED)
    ]
    figure = rounds_figure(store(tmp_path, "rounds", *tables))
    assert legend_texts(figure) == [
        f"{UNCOMPRESSED}\nlate: 50 %, 100 %", f"{KIMAD}\nlate: 50 %, 100 %"
    ]  # fmt: skip
    assert line_of(figure.axes[1], UNCOMPRESSED).get_xdata().tolist() == [2.0, 2.0, 6.0]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_colours_are_logarithms_of_the_layers_ratios(tmp_path):
    rng = np.random.default_rng(1)
    one, each = rng.uniform(0.01, 0.5, (7, 1)), rng.uniform(1e-3, 1, (7, 3))
    each[2, 1] = 0.0
    store(tmp_path, "layers", layers(KIMAD_PLUS, each), layers(KIMAD, np.tile(one, 3)))
    figure = layers_figure(tmp_path)
    left, right, bar = figure.axes
    assert [left.get_title(), right.get_title()] == [KIMAD, KIMAD_PLUS]
    images = [ax.images[0] for ax in (left, right)]
    np.testing.assert_allclose(images[0].get_array(), np.log10(np.tile(one, 3).T))
    drawn = images[1].get_array()
    assert np.ma.getmaskarray(drawn).sum() == 1
    assert np.ma.getmaskarray(drawn)[1, 2]  # of which nothing was sent
    np.testing.assert_allclose(drawn.filled(0), np.log10(np.where(each > 0, each, 1)).T)
    assert images[0].norm is images[1].norm
    assert images[0].norm.vmax == np.log10(max(one.max(), each.max()))
    assert images[0].norm.vmin == np.log10(min(one.min(), each[each > 0].min()))
    texts = [text.get_text() for text in left.get_yticklabels()]
    assert texts == ["leaf 0  1,000", "leaf 1  2,000", "leaf 2  3,000"]
    assert images[0].get_extent() == [-0.5, 6.5, 2.5, -0.5]
    assert "share of layer sent" in bar.get_ylabel()
    ticks = {
        text.get_text(): at
        for text, at in zip(bar.get_yticklabels(), bar.get_yticks(), strict=True)
    }
    assert ticks["0.02"] == pytest.approx(math.log10(0.02))


def test_many_rounds_are_averaged(tmp_path):
    ratios = np.random.default_rng(2).uniform(0.1, 1, (2 * CELLS, 2))
    image = layers_figure(store(tmp_path, "layers", layers(KIMAD, ratios))).axes[0].images[0]
    expected = np.log10(ratios.reshape(CELLS, 2, 2).mean(axis=1)).T
    np.testing.assert_allclose(image.get_array(), expected)
    assert image.get_extent()[:2] == [-0.5, 2 * CELLS - 0.5]
    uneven = layers(KIMAD, ratios[: 2 * CELLS - 7])
    image = layers_figure(store(tmp_path, "layers", uneven)).axes[0].images[0]
    assert image.get_array().shape == (2, CELLS)
    assert image.get_array().max() <= 0


def test_equal_ratios_have_a_colour(tmp_path):
    figure = layers_figure(store(tmp_path, "layers", layers(KIMAD, np.full((3, 2), 0.1))))
    norm = figure.axes[0].images[0].norm
    assert norm.vmin < -1 < norm.vmax


@pytest.mark.parametrize(("sizes", "shown"), [((6, 6, 6), 3), ((62, 6), 1), ((60, 4, 1), 2)])
def test_as_many_regimes_have_their_layers_shown_as_have_room(tmp_path, sizes, shown):
    tables = [
        layers(method, np.full((3, size), 0.1 * (k + 1)), regime=f"regime {k}")
        for k, size in enumerate(sizes)
        for method in (KIMAD, KIMAD_PLUS)
    ]
    figure = layers_figure(store(tmp_path, "layers", *tables))
    panels = figure.axes[: 2 * shown]
    assert len(figure.axes) == 2 * shown + 1  # and the bar of colours
    for k, ax in enumerate(panels):
        assert ax.images[0].get_array().shape == (sizes[k // 2], 3)
        assert np.unique(ax.images[0].get_array()) == pytest.approx(math.log10(0.1 * (k // 2 + 1)))
        assert f"regime {k // 2}" in (ax.get_title() if shown > 1 else figure.get_suptitle())
    left_out = f"first {shown} of {len(sizes)} regimes" in figure.get_suptitle()
    assert left_out == (shown < len(sizes))


@pytest.mark.parametrize(
    ("draw", "name"), [(draw_bandwidth, "rounds"), (draw_rounds, "rounds"), (draw_layers, "layers")]
)
def test_refusals(tmp_path, draw, name):
    path = tmp_path / f"{name}.parquet"
    with pytest.raises(DataError, match=rf"there is no {name}.parquet in .*run a study of Kimad"):
        draw(tmp_path)
    path.write_bytes(b"PAR1 cut")
    with pytest.raises(DataError, match=rf"{name}.parquet cannot be read: .*`dopt sweep kimad"):
        draw(tmp_path)
    table = rounds(KIMAD, [1.0], t=1.0) if name == "rounds" else layers(KIMAD, [[0.5]])
    store(tmp_path, name, table.drop(columns="round"))
    with pytest.raises(DataError, match=rf"{name}.parquet (has no column|cannot be read: .*)round"):
        draw(tmp_path)
    store(tmp_path, name, table.iloc[:0])
    with pytest.raises(DataError, match=rf"{name}.parquet has no rows to show; run a study"):
        draw(tmp_path)
    assert not list(tmp_path.glob("*.png"))


def test_rounds_without_any_time_are_refused(tmp_path):
    store(tmp_path, "rounds", rounds(UNCOMPRESSED, [1.0], regime="mine"))
    with pytest.raises(DataError, match=r"no method in .* looks at time in regime mine, .* run"):
        draw_rounds(tmp_path)


def test_files(tmp_path, monkeypatch):
    store(tmp_path, "rounds", rounds(KIMAD, [1.0, 2.0], t=1.5))
    store(tmp_path, "layers", layers(KIMAD, [[0.1, 0.2]]))
    for draw, name in (
        (draw_bandwidth, "bandwidth_and_ratio"),
        (draw_rounds, "round_seconds"),
        (draw_layers, "layers"),
    ):
        paths = draw(tmp_path)
        assert paths == [tmp_path / f"{name}.png", tmp_path / f"{name}.pdf"]
        first = [path.read_bytes() for path in paths]
        assert first[0][1:4] == b"PNG"
        assert int.from_bytes(first[0][16:20], "big") == 1398
        assert first[1].startswith(b"%PDF")
        assert b"/Type3" not in first[1]
        assert b"/CreationDate" not in first[1]
    settings = dict(mpl.rcParams) | {"font.size": 30.0}
    monkeypatch.setitem(mpl.rcParams, "font.size", 30.0)
    assert [path.read_bytes() for path in draw_layers(tmp_path)] == first
    assert dict(mpl.rcParams) == settings
    (tmp_path / "layers.png").unlink()
    (tmp_path / "layers.png").mkdir()
    with pytest.raises(DoptError, match=r"cannot write .*layers.png: Is a directory; copy"):
        draw_layers(tmp_path)


def test_titles_are_broken_between_words():
    assert titled("d = 30, n = 4", 36) == "d = 30, n = 4"
    lines = titled(LONG, 36).split("\n")
    assert " ".join(lines) == LONG
    assert len(lines) == 3
    assert titled("a" * 50, 36) == "a" * 50
    assert titled("one two three four", 14) == "one two\nthree four"
    assert titled("", 36) == ""


def test_methods_are_told_apart():
    looks = [STYLES[method] for method in METHODS]
    for part in ("color", "marker", "dashes"):
        assert len({getattr(look, part) for look in looks}) == len(looks)
