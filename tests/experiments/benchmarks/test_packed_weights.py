"""The benchmark of packed products runs, and times what it says."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import packed_weights
from experiments.benchmarks.packed_weights import FORMATS, measure


def test_a_row_has_two_ratios_with_intervals():
    row = measure("p=1 n=16", (32, 64), 2, pairs=9)
    assert row.milliseconds > 0
    for rival in (row.of_float32, row.of_dequantizing):
        assert 0 < rival.low <= rival.median <= rival.high


def test_all_formats_store_at_most_a_third_of_float32():
    for how in FORMATS.values():
        assert how.nbits(576, 576) < 576 * 576 * 32 / 3


def test_a_table_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(packed_weights, "SHAPES", ((32, 64),))
    monkeypatch.setattr(packed_weights, "FORMATS", {"int8": FORMATS["int8"]})
    packed_weights.main(["--pairs", "9", "--rows", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].split()[:3] == ["int8", "32x64", "1"]


def test_too_few_pairs_are_refused(capsys):
    with pytest.raises(SystemExit):
        packed_weights.main(["--pairs", "3"])
    assert "give 9 or more" in capsys.readouterr().err


def test_the_rivals_multiply_the_same_matrix():
    rng = np.random.default_rng(0)
    weight = FORMATS["p=2 n=84"].quantize(rng.normal(size=(16, 64))).weight
    x = jnp.asarray(rng.normal(size=(3, 64)), jnp.float32)
    np.testing.assert_allclose(packed_weights._after(weight, x), weight.times(x), atol=1e-4)
