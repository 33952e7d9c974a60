import math

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex

from dopt.errors import DataError, DoptError
from dopt.results import Status, canonical_json, run_id
from dopt.results.store import Store
from experiments.curves import WORST, first_at_target, quartiles, read_regimes
from experiments.figures import draw, figures
from experiments.style import PAPER, STYLES, legend_order, style
from experiments.tuned import Goal


N, TARGET = 10, 1e-3
REGIMES = {  # title, seconds a message
    "medium": ("medium speed: τ̇ᵢ = √i/d^(3/4)", 9.0),
    "low": ("low speed: τ̇ᵢ = √i/√d", 90.0),
    "high": ("high speed: τ̇ᵢ = √i/d", 1.0),
}
ORDER = ["high", "medium", "low"]
METHODS = {  # seconds of computation, share of a message, decay and bits of a step
    "Asynchronous SGD": (0.3, 0.03, 0.001, 640),
    "Minibatch SGD": (17.0, 17.0, 0.02, 6400),
    "QSGD": (17.0, 0.6, 0.004, 200),
    "Rennala SGD": (5.0, 9.0, 0.02, 3200),
    "SGD One": (1.0, 0.0, 0.0006, 0),
    "Shadowheart SGD": (6.0, 0.5, 0.015, 700),
    "Shadowheart SGD (S = σ²/ε)": (9.0, 0.8, 0.02, 600),
}


class Results:
    """Rows of both tables, to be written as one batch."""

    def __init__(self):
        self.rows, self.parts = [], []

    def add(
        self,
        time,
        norm2,
        *,
        bits=None,
        gap=math.nan,
        accuracy=math.nan,
        status=Status.FINISHED,
        **config,
    ):
        config = {
            "regime": "high", "method": "QSGD", "variant": "", "phase": "report",
            "step_size": 0.5, "timeline_seed": 0, "data_seed": 0, "target": TARGET,
            "cluster": {"preset": "equal", "n": N},
        } | config  # fmt: skip
        named = ("regime", "method", "variant", "phase", "step_size", "timeline_seed", "data_seed")
        size, name = len(time), run_id(config)
        self.rows.append(
            {key: config[key] for key in named}
            | {"factor": config.get("factor", config["step_size"])}
            | {"theory_step_size": config.get("theory_step_size")}
            | {"run_id": name, "status": status, "config": canonical_json(config)}
            | dict.fromkeys(("study", "compressor", "problem", "cluster", "device"), "")
            | {"seconds": 1.0, "peak_memory": 1, "versions": "{}"}
        )
        self.parts.append(
            {
                "run_id": np.repeat(name, size),
                "record": np.arange(size),
                "time": np.asarray(time, float),
                "step": np.arange(size),
                "gradients": np.arange(size),
                "bits_up": np.arange(size) * 64 if bits is None else bits,
                "bits_down": np.zeros(size, int),
                "value": 0.3 + np.sqrt(norm2),
                "gap": np.broadcast_to(gap, size),
                "grad_norm2": np.asarray(norm2, float),
                "accuracy": np.broadcast_to(accuracy, size),
            }
        )

    def write(self, folder):
        columns = {k: np.concatenate([part[k] for part in self.parts]) for k in self.parts[0]}
        with Store(folder) as store:
            store.write("all", self.rows, columns)
        return folder


def study(folder):
    """Three regimes, seven methods; Asynchronous SGD diverges at `low`, cut where it does."""
    random = np.random.default_rng(0)
    results = Results()
    for regime, (title, message) in REGIMES.items():
        for method, (compute, share, decay, bits) in METHODS.items():
            pace = compute + share * message
            steps = np.unique(np.geomspace(1, 1e5 / pace, 60).astype(int))
            steps = np.concatenate([[0], steps])
            for phase, seeds in (("tune", (0, 1)), ("report", (5, 6, 7, 8, 9))):
                for seed in seeds:
                    norm2 = 2 / (1 + decay * steps) ** 2
                    norm2[1:] *= np.exp(0.2 * random.normal(size=len(steps) - 1))
                    length, status = len(steps), Status.FINISHED
                    if (method, regime) == ("Asynchronous SGD", "low") and seed < 8:
                        norm2 *= np.exp(steps / 100)
                        length, status = int(np.argmax(norm2 > 1e8)) + 2, Status.DIVERGED
                        norm2[length - 1 :] = np.nan
                    if (method, regime) == ("QSGD", "medium"):
                        length, status = 0, Status.NO_PROGRESS
                    if (method, regime) == ("Rennala SGD", "high") and seed == 9:
                        length, status = 3, Status.INTERRUPTED
                    results.add(
                        (steps * pace)[:length], norm2[:length], bits=(steps * bits)[:length],
                        status=status, regime=regime, method=method, phase=phase, data_seed=seed,
                        step_size=2.0 ** -(3 + ORDER.index(regime)), regime_title=title,
                        regime_order=ORDER.index(regime),
                    )  # fmt: skip
    return results.write(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def drawn(folder):
    """The figures, laid out."""
    with mpl.style.context(PAPER, after_reset=True):
        made = figures(read_regimes(folder))
        for figure in made.values():
            figure.draw_without_rendering()
    return made


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def line_of(ax, method):
    [line] = [line for line in ax.lines if line.get_label() == method]
    return line


def test_files(folder):
    paths = draw(folder)
    names = ["gradient_vs_time", "gradient_vs_bits", "loss_vs_time"]
    assert paths == [folder / f"{name}.{end}" for name in names for end in ("png", "pdf")]
    for path in paths:
        data = path.read_bytes()
        if path.suffix == ".png":
            assert data[1:4] == b"PNG"
            assert [int.from_bytes(data[i : i + 4], "big") for i in (16, 20)] == [1398, 580]
            assert len(data) > 30_000
        else:
            assert data.startswith(b"%PDF")
            assert b"/FontFile2" in data  # TrueType, embedded
            assert b"/Type3" not in data


def test_settings_of_the_caller_neither_count_nor_change(tmp_path, monkeypatch):
    results = Results()
    results.add([0.0, 1.0, 2.0], [1.0, 0.1, 1e-4])
    paths = draw(results.write(tmp_path))
    first = [path.read_bytes() for path in paths]
    monkeypatch.setitem(mpl.rcParams, "font.size", 30.0)
    settings = dict(mpl.rcParams)
    assert [path.read_bytes() for path in draw(tmp_path)] == first
    assert dict(mpl.rcParams) == settings


def test_panels_are_the_regimes_in_order(drawn):
    for figure in drawn.values():
        titles = [ax.get_title() for ax in figure.axes]
        expected = "medium speed: τ̇ᵢ = √i/d$^{3/4}$"
        assert titles == [REGIMES["high"][0], expected, REGIMES["low"][0]]
        assert len({ax.get_ylim() for ax in figure.axes}) == 1


def test_nothing_overlaps(drawn):
    for figure in drawn.values():
        boxes = [ax.get_tightbbox() for ax in figure.axes]
        boxes.append(figure.legends[0].get_window_extent())
        for i, box in enumerate(boxes):
            assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
            assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
            assert not any(box.overlaps(other) for other in boxes[:i])


def test_a_method_looks_the_same_everywhere(drawn):
    for figure in drawn.values():
        for ax in figure.axes:
            for line in ax.lines:
                if line.get_label() in METHODS:
                    assert to_hex(line.get_color()).upper() == STYLES[line.get_label()].color
        handles = {h.get_label().partition("\n")[0]: h for h in figure.legends[0].legend_handles}
        for method in METHODS:
            assert to_hex(handles[method].get_color()).upper() == STYLES[method].color


def test_curves_against_time_hold_the_medians(folder, drawn):
    runs = read_regimes(folder)[0].runs["Shadowheart SGD"]
    values = np.stack([run.records["grad_norm2"] for run in runs])
    ax = drawn["gradient_vs_time"].axes[0]
    line = line_of(ax, "Shadowheart SGD")
    np.testing.assert_array_equal(line.get_xdata()[1:], runs[0].records["time"][1:])
    assert line.get_xdata()[0] == min(ax.get_xlim()[0], line.get_xdata()[1])
    np.testing.assert_array_equal(line.get_ydata(), np.median(values, axis=0))


def test_bits_are_those_of_one_worker(folder, drawn):
    runs = read_regimes(folder)[0].runs["Minibatch SGD"]
    line = line_of(drawn["gradient_vs_bits"].axes[0], "Minibatch SGD")
    np.testing.assert_array_equal(line.get_xdata()[1:], runs[0].records["bits_up"][1:] / N)


def test_a_method_that_sends_nothing_is_named_and_not_drawn(drawn):
    figure = drawn["gradient_vs_bits"]
    assert "SGD One\nsends nothing" in legend_texts(figure)
    assert not any(line.get_label() == "SGD One" for ax in figure.axes for line in ax.lines)


def test_legend_gives_step_sizes_and_target(drawn):
    texts = legend_texts(drawn["gradient_vs_time"])
    assert "SGD One\n$\\gamma$ = $2^{-3}$, $2^{-4}$, $2^{-5}$" in texts
    assert texts[-1].startswith("target $10^{-3}$")
    methods = [text.partition("\n")[0] for text in texts[:-1]]
    assert methods == [method for method in STYLES if method in METHODS]
    assert not any("target" in text for text in legend_texts(drawn["loss_vs_time"]))


def test_a_diverged_method_leaves_the_panel_and_spoils_nothing(drawn):
    for figure in drawn.values():
        low = figure.axes[2]
        bottom, top = low.get_ylim()
        values = line_of(low, "Asynchronous SGD").get_ydata()
        assert values[-1] > top
        assert np.isfinite(values).all()
        assert bottom < values[0] < top
    bottom, top = drawn["gradient_vs_time"].axes[2].get_ylim()
    assert 2.0 < top < 10.0
    assert TARGET / 100 < bottom < TARGET


def test_markers_stand_where_the_median_run_meets_the_target(folder, drawn):
    regime = read_regimes(folder)[0]
    marked = {
        line.get_marker(): line.get_xydata()[0]
        for line in drawn["gradient_vs_time"].axes[0].lines
        if line.get_marker() != "None"
    }
    reached = {}
    for method, runs in regime.runs.items():
        firsts = []
        for run in runs:
            pairs = zip(run.records["time"], run.records["grad_norm2"], strict=True)
            firsts.append(next((t for t, g in pairs if g <= TARGET), math.inf))
        first = sorted(firsts)[len(firsts) // 2]
        if first < math.inf:
            reached[STYLES[method].marker] = (first, TARGET)
    assert 0 < len(reached) < len(METHODS)  # some reach it, some do not
    assert marked.keys() == reached.keys()
    for marker, place in reached.items():
        np.testing.assert_array_equal(marked[marker], place)


def test_methods_without_progress_and_unfinished_runs(folder, drawn, caplog):
    regimes = read_regimes(folder)
    assert "1 interrupted or failed runs are left out" in caplog.text
    assert len(regimes[0].runs["Rennala SGD"]) == 4
    assert "QSGD" not in regimes[1].runs
    assert any("QSGD\n$\\gamma$" in text for text in legend_texts(drawn["loss_vs_time"]))


def test_quartiles_of_runs_with_different_times(tmp_path):
    random = np.random.default_rng(1)
    results = Results()
    for seed in range(6):
        time = np.concatenate([[0.0], np.cumsum(random.uniform(0.5, 2.0, 9 + seed))])
        norm2 = random.uniform(1.0, 2.0, len(time))
        if seed == 0:
            norm2[3:] = np.nan
        results.add(time, norm2, data_seed=seed, timeline_seed=seed)
    [regime] = read_regimes(results.write(tmp_path))
    runs = regime.runs["QSGD"]
    curve = quartiles(runs, "time", "grad_norm2")
    assert curve.x[-1] == min(run.records["time"].max() for run in runs)
    for at, *found in zip(curve.x, curve.low, curve.median, curve.high, strict=True):
        held = [run.records[run.records["time"] <= at]["grad_norm2"].iloc[-1] for run in runs]
        ordered = sorted(math.inf if math.isnan(value) else value for value in held)
        expected = [
            ordered[1] + 0.25 * (ordered[2] - ordered[1]),
            (ordered[2] + ordered[3]) / 2,
            ordered[3] + 0.75 * (ordered[4] - ordered[3]),
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_quartiles_end_where_the_median_run_has_diverged(tmp_path):
    results = Results()
    time = np.arange(6.0)
    for seed, last in enumerate((5, 3, 2)):
        norm2 = np.where(time <= last, 1.0 + seed, np.nan)
        kept = slice(None) if seed < 2 else slice(last + 2)
        status = Status.FINISHED if seed == 0 else Status.DIVERGED
        results.add(time[kept], norm2[kept], data_seed=seed, status=status)
    [regime] = read_regimes(results.write(tmp_path))
    curve = quartiles(regime.runs["QSGD"], "time", "grad_norm2")
    np.testing.assert_array_equal(curve.x, [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(curve.median, [2, 2, 2, 2, WORST])
    np.testing.assert_array_equal(curve.low[:4], [1.5, 1.5, 1.5, 1.5])


@pytest.mark.parametrize(
    ("reached_at", "expected"), [((2, 4, 3), 3.0), ((2, None, 4), 4.0), ((2, None, None), math.inf)]
)
def test_first_at_target(tmp_path, reached_at, expected):
    results = Results()
    for seed, record in enumerate(reached_at):
        norm2 = np.ones(6)
        if record is not None:
            norm2[record] = TARGET  # and away from it again
        results.add(np.arange(6.0), norm2, data_seed=seed)
    [regime] = read_regimes(results.write(tmp_path))
    assert first_at_target(regime.runs["QSGD"], "time", Goal(TARGET)) == expected


def test_the_gap_is_drawn_where_it_says_more_than_the_value(tmp_path):
    time, norm2 = np.arange(1.0, 5.0) - 1, np.array([4.0, 1.0, 0.5, 0.2])
    for name, gap, label, scale in (
        ("known", np.sqrt(norm2), r"$f(x) - f^\ast$", "log"),
        ("bound", 0.3 + np.sqrt(norm2), "$f(x)$", "linear"),
        ("unknown", math.nan, "$f(x)$", "linear"),
    ):
        results = Results()
        results.add(time, norm2, gap=gap)
        ax = figures(read_regimes(results.write(tmp_path / name)))["loss_vs_time"].axes[0]
        assert (ax.get_ylabel(), ax.get_yscale()) == (label, scale)


def test_studies_without_target_title_or_messages(tmp_path):
    results = Results()
    for method in ("mine", "yours"):
        results.add([0.0, 1.0, 2.0], [1.0, 0.0, 0.0], bits=[0, 0, 0], method=method, target=None)
    made = figures(read_regimes(results.write(tmp_path)))
    assert list(made) == ["gradient_vs_time", "loss_vs_time"]
    assert made["gradient_vs_time"].axes[0].get_title() == "high"
    assert legend_texts(made["gradient_vs_time"]) == [
        "mine\n$\\gamma$ = $2^{-1}$", "yours\n$\\gamma$ = $2^{-1}$"
    ]  # fmt: skip


def test_a_single_server_step_is_visible(tmp_path):
    results = Results()
    results.add([0.0, 5.0], [1.0, 0.5])
    ax = figures(read_regimes(results.write(tmp_path)))["gradient_vs_time"].axes[0]
    assert line_of(ax, "QSGD").get_xydata().tolist() == [[ax.get_xlim()[0], 1.0], [5.0, 0.5]]


def test_a_grid_that_grew_shows_the_best_step_size_only(tmp_path):
    results = Results()
    for phase in ("tune", "report"):
        for step_size, last in ((0.5, 1e-4), (1.0, 1e-5)):
            results.add(np.arange(3.0), [1.0, last * 100, last], phase=phase, step_size=step_size)
    [regime] = read_regimes(results.write(tmp_path))
    assert regime.step_sizes == {"QSGD": 1.0}
    assert len(regime.runs["QSGD"]) == 1


def test_refusals(tmp_path):
    with pytest.raises(DataError, match=r"no results in .*run a study: `dopt sweep"):
        draw(tmp_path / "absent")
    time, norm2 = [0.0, 1.0], [1.0, 0.5]
    tuned = Results()
    tuned.add(time, norm2, phase="tune")
    with pytest.raises(DataError, match=r"no finished report run .* run its study to the end"):
        draw(tuned.write(tmp_path / "tuned"))
    still = Results()
    still.add([], [], status=Status.NO_PROGRESS)
    with pytest.raises(DataError, match="no finished report run with a server step"):
        draw(still.write(tmp_path / "still"))
    mixed = Results()
    mixed.add(time, norm2)
    mixed.add(time, norm2, data_seed=1, gradients=400)
    with pytest.raises(DataError, match=r"QSGD in regime high differ in gradients, .* folder"):
        draw(mixed.write(tmp_path / "mixed"))
    alone = Results()
    alone.add(time, norm2, cluster="equal")
    with pytest.raises(DataError, match=r"has no cluster.n in its config"):
        draw(alone.write(tmp_path / "alone"))
    grown = Results()
    grown.add(time, norm2, phase="tune", step_size=2.0)
    for step_size in (0.5, 1.0):
        grown.add(time, norm2, step_size=step_size)
    with pytest.raises(DataError, match=r"best step size of QSGD .* 2, has no report run yet"):
        draw(grown.write(tmp_path / "grown"))
    assert not list(tmp_path.rglob("*.png"))


def test_a_disk_that_refuses_gives_a_sentence(tmp_path):
    results = Results()
    results.add([0.0, 1.0], [1.0, 0.5])
    folder = results.write(tmp_path)
    (folder / "gradient_vs_time.png").mkdir()
    with pytest.raises(DoptError, match=r"cannot write .*gradient_vs_time.png: Is a directory"):
        draw(folder)


def test_styles():
    looks = [STYLES[method] for method in METHODS]
    for part in ("color", "marker"):
        assert len({getattr(look, part) for look in looks}) == len(looks)
    unknown = style("Ringmaster ASGD")
    assert unknown == style("Ringmaster ASGD")
    assert unknown != style("Ringleader ASGD")
    assert unknown.color not in {look.color for look in STYLES.values()}
    assert sorted(["b", "SGD One", "a", "QSGD"], key=legend_order) == ["QSGD", "SGD One", "a", "b"]


def test_multiples_of_theory_are_told_in_the_legend(tmp_path):
    results = Results()
    for place, factors in enumerate([(1.0, 8.0), (1.0, 2.0)]):
        for method, factor in zip(("mine", "yours"), factors, strict=True):
            results.add(
                [0.0, 1.0, 2.0], [1.0, 0.1, 1e-4], method=method, regime=f"r{place}",
                regime_order=place, theory_step_size=0.3, factor=factor, step_size=0.3 * factor,
            )  # fmt: skip
    made = figures(read_regimes(results.write(tmp_path)))
    assert legend_texts(made["gradient_vs_time"])[:2] == [
        "mine\n$\\gamma$ = theory",
        "yours\n$\\gamma$ = theory × $2^{3}$, $2^{1}$",
    ]


def test_many_panels_tell_the_range_of_step_sizes(tmp_path):
    results = Results()
    for place in range(5):
        results.add(
            [0.0, 1.0], [1.0, 0.1], regime=f"r{place}", regime_order=place, regime_row=place // 3,
            step_size=2.0**place,
        )  # fmt: skip
    figure = figures(read_regimes(results.write(tmp_path)))["gradient_vs_time"]
    assert legend_texts(figure)[0] == "QSGD\n$\\gamma$ = $2^{0}$ … $2^{4}$"
    # Two rows: three panels, and two; the lowest panel of each column is labelled.
    figure.draw_without_rendering()
    rows = sorted({round(ax.get_position().y0, 2) for ax in figure.axes}, reverse=True)
    assert [sum(round(ax.get_position().y0, 2) == y for ax in figure.axes) for y in rows] == [3, 2]
    labels = [ax.get_xlabel() for ax in figure.axes]
    assert labels == ["", "", "virtual time [s]", "virtual time [s]", "virtual time [s]"]


def test_bits_come_first_where_bits_are_counted(tmp_path):
    results = Results()
    results.add([0.0, 1.0, 2.0], [1.0, 0.1, 1e-4], axis="bits")
    made = figures(read_regimes(results.write(tmp_path)))
    assert list(made) == ["gradient_vs_bits", "gradient_vs_time", "loss_vs_bits"]
    ax = made["gradient_vs_bits"].axes[0]
    marks = [line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() == "D"]
    assert marks == [[2 * 64 / N, TARGET]]


def test_accuracy_is_drawn_where_it_was_measured(tmp_path):
    results = Results()
    for seed, last in enumerate((0.8, 0.9, math.nan)):
        accuracy = np.array([0.1, 0.5, last])
        status = Status.FINISHED if seed < 2 else Status.DIVERGED
        results.add(
            [0.0, 1.0, 2.0], [1.0, 0.5, math.nan if seed == 2 else 0.1], accuracy=accuracy,
            data_seed=seed, status=status, measure="value", axis="bits", target=0.9,
        )  # fmt: skip
    made = figures(read_regimes(results.write(tmp_path)))
    assert list(made) == [
        *("loss_vs_bits", "loss_vs_time", "accuracy_vs_bits", "accuracy_vs_time"),
        *("gradient_vs_bits", "gradient_vs_time"),
    ]
    ax = made["accuracy_vs_time"].axes[0]
    # A run that diverged has the worst accuracy.
    assert line_of(ax, "QSGD").get_ydata().tolist() == [0.1, 0.5, 0.8]
    bottom, top = ax.get_ylim()
    assert 0 < bottom < 0.1
    assert 0.85 < top < 1
    # The target is one of the loss: it is met by f(x) = 0.3 + √norm2, and marked there alone.
    met = [line for line in made["loss_vs_bits"].axes[0].lines if line.get_marker() == "D"]
    assert len(met) == 0 or met[0].get_ydata()[0] == 0.9
    assert not [line for line in ax.lines if line.get_marker() == "D"]
