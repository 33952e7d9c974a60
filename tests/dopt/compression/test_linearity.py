import dataclasses
import math
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpy_decoder
import pytest
from compressing import CONFIG

from dopt.compression.gradients import by_gradients
from dopt.compression.linearity import Linearity, Noise, groups_of, measure, through_origin
from dopt.compression.streams import Streams
from dopt.errors import ConfigurationError, DataError, InterruptedRunError
from dopt.evaluation import cut, rows
from dopt.models import Model, load_llama2c, random_parameters
from dopt.models.parameters import leaf, linear_paths, replaced


TINY = dataclasses.replace(CONFIG, vocabulary=17, layers=2, d_model=16, heads=2, kv_heads=2,
                           head_size=8, d_ff=16)  # fmt: skip
WINDOWS = cut(np.random.default_rng(0).integers(0, 17, 40), 16)
FEW = Noise(levels=(0.01, 0.02), draws=1)


def tiny():
    params = random_parameters(TINY, jax.random.key(1), jnp.float32)
    larger = {p: 8 * leaf(params, p) for p in [*linear_paths(TINY), ("embedding",)]}
    return Model(replaced(params, larger), TINY)


def log_probabilities(params, tokens):
    found = numpy_decoder.logits(params, TINY, tokens)
    return found - np.log(np.exp(found).sum(1, keepdims=True))


def losses_by_hand(model, changed):
    """KL a token, and the perplexity, of a changed model by the decoder of plain loops."""
    kl, nll = 0.0, 0.0
    for tokens, scored in zip(WINDOWS.tokens, WINDOWS.scored, strict=True):
        at = np.flatnonzero(scored) - 1
        p, q = (log_probabilities(params, tokens)[at] for params in (model.params, changed))
        kl += float(np.sum(np.exp(p) * (p - q)))
        nll -= float(np.sum(q[np.arange(at.size), tokens[at + 1]]))
    return kl / WINDOWS.counts.sum(), math.exp(nll / WINDOWS.counts.sum())


@pytest.mark.parametrize("i", [0, 1])
def test_losses_from_a_layer_on_are_those_of_the_whole_model(i):
    model = tiny()
    W = model.params["layers"][i]["up"]
    other = W + jnp.float32(0.1) * jax.random.normal(jax.random.key(5), W.shape, jnp.float32)
    streams = Streams(model, WINDOWS)
    kl, value = losses_by_hand(model, replaced(model.params, {("layers", i, "up"): other}))
    assert streams.loss(i, {"up": other}, "kl") == pytest.approx(kl, rel=1e-4)
    assert streams.loss(i, {"up": other}, "perplexity") == pytest.approx(value, rel=1e-5)
    assert streams.loss(i, {}, "kl") == 0


def test_shares_are_of_products():
    streams = Streams(tiny(), WINDOWS)
    assert streams.share(0) == 1
    layer, head = 4 * 16 * 16 + 3 * 16 * 16 + 32, 17 * 16
    assert streams.share(1) == pytest.approx((layer + 2 * head) / (2 * layer + 2 * head))


def test_alpha_of_small_noise_is_that_of_the_fisher_matrix():
    model = tiny()
    found = measure(model, WINDOWS, Noise(levels=(1e-4,), draws=48))
    expected = by_gradients(Streams(model, WINDOWS), 200)
    ratios = np.array([found.alpha[place] / expected[place] for place in linear_paths(TINY)])
    assert abs(ratios.mean() - 1) < 0.1
    assert ratios.min() > 0.6
    assert ratios.max() < 1.6


def test_the_line_through_the_origin():
    t2 = np.array([0.01, 0.02, 0.04])
    assert through_origin(t2, 3 * t2) == pytest.approx((3, 1))
    x, y = np.random.default_rng(0).uniform(size=(2, 9))
    slope, r2 = through_origin(x, y)
    assert slope == pytest.approx(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0])
    left, spread = np.sum((y - slope * x) ** 2), np.sum((y - y.mean()) ** 2)
    assert r2 == pytest.approx(1 - left / spread)
    assert math.isnan(through_origin(t2[:1], t2[:1])[1])


def test_what_gets_noise_together():
    assert [len(groups_of(TINY, t)) for t in ("matrix", "input", "layer")] == [14, 8, 2]
    assert groups_of(TINY, "input")[0] == tuple(("layers", 0, name) for name in "qkv")
    together = measure(tiny(), WINDOWS, dataclasses.replace(FEW, together="layer"))
    assert together.alpha.keys() == set(linear_paths(TINY))
    # All matrices of the tiny model are [16, 16]: their shares are equal.
    assert len({together.alpha["layers", 1, name] for name in ("q", "up", "down")}) == 1


def test_predictions_add_up():
    found = Linearity({("layers", 0, "q"): 2.0, ("layers", 0, "k"): 3.0}, {}, "kl")
    assert found.predicted({("layers", 0, "q"): 0.1, ("layers", 0, "k"): 0.01}) == 0.23


def test_a_stopped_measurement_goes_on(tmp_path):
    model, file, count = tiny(), tmp_path / "alpha.jsonl", 0

    def stopping():
        nonlocal count
        count += 1
        return count == 5

    whole = measure(model, WINDOWS, FEW)
    with pytest.raises(InterruptedRunError, match="what was measured is kept"):
        measure(model, WINDOWS, FEW, file=file, stopping=stopping)
    lines = file.read_text().splitlines()
    assert len(lines) == 6
    # A kill may cut the last line.
    file.write_text("\n".join(lines)[:-7])
    estimates = []
    again = measure(
        model, WINDOWS, FEW, file=file, on_estimate=lambda *told: estimates.append(told)
    )
    assert again == whole
    assert estimates[0][0] == 28 - 4
    assert measure(model, WINDOWS, FEW, file=file, on_estimate=pytest.fail) == whole
    assert len(file.read_text().splitlines()) == 29


def test_files_of_another_measurement_or_damaged_ones_are_refused(tmp_path):
    file = tmp_path / "alpha.jsonl"
    measure(tiny(), WINDOWS, dataclasses.replace(FEW, together="layer"), file=file)
    before = file.read_bytes()
    with pytest.raises(ConfigurationError, match="holds another measurement"):
        measure(tiny(), WINDOWS, FEW, file=file)
    assert file.read_bytes() == before
    file.write_bytes(before.replace(b"[[", b"[", 1))
    with pytest.raises(DataError, match="is damaged"):
        measure(tiny(), WINDOWS, dataclasses.replace(FEW, together="layer"), file=file)


def test_refusals():
    with pytest.raises(ConfigurationError, match=r"levels of t² = \(0\.0, 0\.1\)"):
        Noise(levels=(0.0, 0.1))
    with pytest.raises(ConfigurationError, match="draws = 0"):
        Noise(draws=0)
    with pytest.raises(ConfigurationError, match="token 99 is not in the vocabulary"):
        measure(tiny(), rows(np.full((1, 8), 99)))


@pytest.mark.data
def test_lines_of_single_matrices_are_straight_on_stories260k():
    folder = Path(os.environ["DOPT_DATA"]) / "stories260K"
    model = load_llama2c(next(folder.glob("*.bin")), jnp.float32)
    tokens = np.random.default_rng(0).integers(3, 512, (2, 48)).astype(np.int32)
    noise = Noise(levels=(0.005, 0.01, 0.02, 0.03), draws=2)
    some = [("layers", 1, "gate"), ("layers", 0, "o"), ("layers", 2, "k")]
    found = measure(model, rows(tokens), noise)
    assert all(alpha > 0 for alpha in found.alpha.values())
    assert np.median([found.fit[place] for place in some]) > 0.9
