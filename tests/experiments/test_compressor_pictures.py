"""`dopt plot compressors`: what it measures is true, and what it draws is what it measured."""

import math

import numpy as np
import pandas as pd
import pytest

from compressors import EDEN, Bernoulli, RandK, ScaledSign, TopK
from experiments import compressor_errors, compressor_pictures
from experiments.compressor_errors import CURVES, Curve, measure
from experiments.compressor_vectors import VECTORS, vectors


FEW = (
    Curve("RandK, Bernoulli, PermK", "RandK", {"K/d = 0.25": lambda d: RandK(d // 4)}),
    Curve("RandK, Bernoulli, PermK", "Bernoulli", {"p = 0.5": lambda d: Bernoulli(0.5)}),
    Curve("TopK", "TopK", {"K/d = 0.25": lambda d: TopK(d // 4)}),
    Curve("EDEN", "EDEN", {"bits = 2": lambda d: EDEN(2), "bits = 1": lambda d: EDEN(1)}),
    Curve("scaled sign", "ScaledSign", {"": lambda d: ScaledSign()}),
)
X = np.random.default_rng(5).standard_normal((VECTORS, 512)).astype(np.float32)
KINDS = {"Gaussian": X, "of another size": X[:, :256] ** 3}


@pytest.fixture
def few(monkeypatch):
    """Few operators on short vectors."""
    monkeypatch.setattr(compressor_errors, "CURVES", FEW)
    monkeypatch.setattr(compressor_errors, "vectors", lambda data: KINDS)
    monkeypatch.setattr(compressor_errors, "SECONDS", 0.05)


@pytest.fixture
def table(few):
    lines = []
    found = measure(None, lines.append)
    assert len(lines) == 1 + len(FEW)
    return found


def of(table, kind, operator, parameter):
    chosen = (table["vectors"] == kind) & (table["operator"] == operator)
    (row,) = table[chosen & (table["parameter"] == parameter)].itertuples()
    return row


def test_errors_and_bits_are_those_of_theory(table):
    assert len(table) == 2 * 6
    for kind, x in KINDS.items():
        d = x.shape[1]
        randk = of(table, kind, "RandK", "K/d = 0.25")
        assert abs(randk.error - 3) <= 5 * randk.standard_error + 1e-5
        assert (randk.bits, randk.promise, randk.d) == (8.0, "unbiased", d)
        lazy = of(table, kind, "Bernoulli", "p = 0.5")
        assert abs(lazy.error - 1) <= 5 * lazy.standard_error + 1e-5
        assert lazy.bits == pytest.approx(16.0, abs=32 / d)
        squares = np.sort(x.astype(float) ** 2)
        left = squares[:, : d - d // 4].sum(axis=1) / squares.sum(axis=1)
        topk = of(table, kind, "TopK", "K/d = 0.25")
        assert left.min() <= topk.error <= left.max()
        assert topk.promise == "contractive"
        index = math.ceil(math.log2(d))
        assert topk.bits == pytest.approx((32 + index) / 4, abs=32 / d)
        sign = of(table, kind, "ScaledSign", "")
        flat = 1 - np.abs(x).sum(axis=1) ** 2 / (d * (x**2).sum(axis=1))
        assert flat.min() <= sign.error <= flat.max()
    assert of(table, "Gaussian", "EDEN", "bits = 1").promise == "unbiased as d → ∞"


def test_all_draws_go_round_the_vectors(table):
    assert table["draws"].between(1, compressor_errors.MOST).all()
    assert (table.loc[table["draws"] > 1, "standard_error"] >= 0).all()


def test_nothing_beats_shannon_on_gaussian_vectors(table):
    gaussian = table[table["vectors"] == "Gaussian"]
    assert (gaussian["error"] > 4.0 ** -gaussian["bits"]).all()


def test_real_gradients_differ_from_each_other():
    found = vectors(None)
    assert len(found) == 4
    for x in found.values():
        assert x.shape[0] == VECTORS
        assert x.dtype == np.float32
        assert np.isfinite(x).all()
        assert (x != 0).any(axis=1).all()
        assert len(np.unique(x, axis=0)) == VECTORS


def test_the_figure_shows_every_row(table):
    shown = compressor_pictures.figure(table)
    panels = [ax for ax in shown.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == ["Gaussian, d = 512", "of another size, d = 256"]
    for ax, kind in zip(panels, KINDS, strict=True):
        rows = table[table["vectors"] == kind]
        bound, *curves = ax.lines
        np.testing.assert_allclose(bound.get_ydata(), 4.0 ** -np.asarray(bound.get_xdata()))
        points = [point for curve in curves for point in zip(*curve.get_data(), strict=True)]
        assert sorted(points) == sorted(zip(rows["bits"], rows["error"], strict=True))
        assert [curve.get_linestyle() == "None" for curve in curves] == [0, 1, 0, 0, 0]
        assert all((np.diff(curve.get_xdata()) > 0).all() for curve in curves)
    (legend,) = shown.legends
    labels = [text.get_text() for text in legend.get_texts() if text.get_text().strip()]
    families = list(dict.fromkeys(curve.family for curve in FEW))
    assert sorted(labels[: len(families)]) == sorted(families)
    assert labels[len(families) : -1] == ["unbiased", "contractive", "unbiased as d → ∞"]


def test_every_family_has_a_look_of_its_own():
    assert {curve.family for curve in CURVES} == compressor_pictures.LOOKS.keys()
    looks = list(compressor_pictures.LOOKS.values())
    assert len(set(looks)) == len(looks)


def test_the_command_writes_picture_and_table(few, dopt_says, tmp_path):
    folder = tmp_path / "new"
    code, out, err = dopt_says("plot", "compressors", "--out", folder)
    assert code == 0
    assert len(err.splitlines()) == 1 + len(FEW)
    names = ["compressors.png", "compressors.pdf"]
    names += ["compressor_errors.parquet", "compressor_errors.csv"]
    assert out == f"In {folder}: {', '.join(names)}\n"
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    written = pd.read_parquet(folder / names[2])
    assert len(written) == 12
    pd.testing.assert_frame_equal(written, pd.read_csv(folder / names[3]).fillna({"parameter": ""}))


def test_wrong_usage_is_refused(few, dopt_says, tmp_path):
    code, out, err = dopt_says("plot", tmp_path, "--out", tmp_path)
    assert (code, out) == (2, "")
    assert "--data belongs to `dopt plot compressors`, --out to that and" in err
    (tmp_path / "file").touch()
    code, out, err = dopt_says("plot", "compressors", "--out", tmp_path / "file")
    assert (code, out) == (1, "")
    assert err.startswith("dopt: cannot write") or "File exists" in err
