import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from weights import gaussian, hessian

from compressors.weights import GPTQ, Clipping, RoundToNearest, proxy_error, relative_error
from dopt.calibration.walk import walk
from dopt.models import load
from dopt.models.decoder import INPUT_OF


OUT, IN = 16, 160
H = hessian(IN)
W = gaussian(OUT, IN)


def codes_of(weight):
    return np.asarray(weight.coding.unpack(weight.words, weight.inputs)).astype(int)


def error_of(how, W=W, H=H):
    return proxy_error(W, how.quantize(W, H).weight.dequantize(), H)


@pytest.mark.parametrize(
    "how",
    [
        GPTQ(3, 32),
        GPTQ(4, 32, symmetric=False),
        GPTQ(3),
        GPTQ(4, 16, act_order=True, static_groups=True, clip=Clipping()),
        GPTQ(3, 32, act_order=True),
    ],
)
def test_without_correlations_it_is_round_to_nearest(how):
    found, plain = how.quantize(W, 3 * np.eye(IN)).weight, how.nearest.quantize(W).weight
    np.testing.assert_array_equal(found.words, plain.words)
    np.testing.assert_array_equal(found.scales, plain.scales)
    if not how.symmetric:
        np.testing.assert_array_equal(found.zeros, plain.zeros)


def one_by_one(W, H, bits, group, damping=0.01, block=128):
    """Steps, codes and weights of the method as it was published: the inverse, column by column.

    Without a Cholesky factor: the inverse of what is left of H is found anew for each column.
    """
    W, half = W.astype(np.float64), 1 << (bits - 1)
    H = H + damping * np.mean(np.diag(H)) * np.eye(len(H))
    scales, codes = np.zeros((len(W), W.shape[1] // group)), np.zeros(W.shape, int)
    whole = W.copy()
    for i in range(W.shape[1]):
        if i % block == 0:
            seen = whole.copy()
        if i % group == 0:
            most = np.abs(seen[:, i : i + group].astype(np.float32)).max(axis=1)
            scales[:, i // group] = (most / np.float32(half - 0.5)).astype(np.float16)
        s = scales[:, i // group]
        q = np.clip(np.round(whole[:, i] / s), -half, half - 1)
        codes[:, i] = q
        inverse = np.linalg.inv(H[i:, i:])
        whole[:, i + 1 :] -= np.outer((whole[:, i] - s * q) / inverse[0, 0], inverse[0, 1:])
        whole[:, i] = s * q
    return scales, codes, whole


@pytest.mark.parametrize("group", [20, 32, 160])
def test_blocked_is_one_by_one(group):
    weight = GPTQ(4, group).quantize(W, H).weight
    scales, codes, whole = one_by_one(W, H, 4, group)
    # Numbers halfway between two integers may differ by rounding.
    assert np.mean(codes_of(weight) - 8 != codes) < 2e-3
    np.testing.assert_allclose(weight.scales, scales, rtol=2e-3)
    np.testing.assert_allclose(
        proxy_error(W, weight.dequantize(), H), proxy_error(W, whole, H), 0.01
    )


def test_it_is_the_nearest_plane_of_babai():
    # The lattice is spanned by the columns of L·diag(steps), H = LᵀL, taken from the last.
    H_damped = H + 0.01 * np.mean(np.diag(H)) * np.eye(IN)
    how = GPTQ(8, static_groups=True)
    weight = how.quantize(W, H).weight
    steps = np.asarray(weight.scales).astype(np.float64)
    order = np.arange(IN)[::-1]
    L = np.linalg.cholesky(H_damped[np.ix_(order, order)]).T
    expected = np.zeros((OUT, IN), int)
    for o in range(OUT):
        rest = L @ W[o, order].astype(np.float64)
        for i in reversed(range(IN)):
            q = np.clip(np.round(rest[i] / (L[i, i] * steps[o, 0])), -128, 127)
            rest -= L[:, i] * steps[o, 0] * q
            expected[o, order[i]] = q
    np.testing.assert_array_equal(codes_of(weight) - 128, expected)


def test_it_is_the_feedback_of_ldlq():
    # H = (I + F)·D·(I + F)ᵀ with F strictly upper: ŵ_k = Q(w_k + (w − ŵ)_{<k}·F_{<k, k}).
    H_damped = H + 0.01 * np.mean(np.diag(H)) * np.eye(IN)
    weight = GPTQ(8).quantize(W, H).weight
    steps = np.asarray(weight.scales).astype(np.float64)[:, 0]
    lower = np.linalg.cholesky(H_damped[::-1, ::-1])
    F = (lower / np.diag(lower))[::-1, ::-1] - np.eye(IN)
    found = np.zeros((OUT, IN))
    for k in range(IN):
        target = W[:, k] + (W[:, :k] - found[:, :k]) @ F[:k, k]
        found[:, k] = steps * np.clip(np.round(target / steps), -128, 127)
    np.testing.assert_allclose(weight.dequantize(), found, atol=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
def test_lower_error_of_the_outputs_and_higher_of_the_weights(symmetric):
    how = GPTQ(3, 32, symmetric)
    gains = []
    for seed in range(5):
        W, H = gaussian(OUT, IN, seed), hessian(IN, seed)
        found, plain = (q.quantize(W, H).weight.dequantize() for q in (how, how.nearest))
        gains.append(proxy_error(W, found, H) / proxy_error(W, plain, H))
        assert relative_error(W, found) > relative_error(W, plain)
    assert max(gains) < 1
    assert np.mean(gains) < 0.9


def test_large_inputs_first():
    for seed in range(2):
        H, W = hessian(IN, seed), gaussian(OUT, IN, seed)
        plain = error_of(GPTQ(3, 32), W, H)
        assert error_of(GPTQ(3, 32, act_order=True), W, H) < plain
        assert error_of(GPTQ(3, 32, act_order=True, static_groups=True), W, H) < plain


def test_order_is_stored_only_where_groups_need_it():
    order = np.argsort(-np.diag(H), kind="stable")
    stored = GPTQ(3, 32, act_order=True).quantize(W, H).weight
    np.testing.assert_array_equal(stored.order, order)
    static = GPTQ(3, 32, act_order=True, static_groups=True).quantize(W, H).weight
    assert static.order is None
    plain = RoundToNearest(3, 32).quantize(W).weight
    np.testing.assert_array_equal(static.scales, plain.scales)
    x = gaussian(2, IN, seed=9)
    expected = x @ np.asarray(stored.dequantize()).T
    np.testing.assert_allclose(stored.times(jnp.asarray(x)), expected, atol=1e-4)


def test_few_samples_and_repeated_inputs():
    X = np.random.default_rng(0).standard_normal((20, IN))
    X[:, 1] = X[:, 0]
    few = X.T @ X
    weight, report = GPTQ(4, 32).quantize(W, few)
    assert (report.damping, report.tries) == (0.01, 1)
    assert proxy_error(W, weight.dequantize(), few) < 0.2 * error_of(RoundToNearest(4, 32), W, few)


def test_damping_grows_until_it_works():
    indefinite = hessian(IN) / np.mean(np.diag(H))
    least = np.linalg.eigvalsh(indefinite)[0]
    weight, report = GPTQ(4, 32).quantize(W, indefinite - (least + 0.05) * np.eye(IN))
    assert report.damping == pytest.approx(0.1)
    assert report.tries == 2
    assert np.isfinite(np.asarray(weight.dequantize())).all()


def test_inputs_that_were_never_seen():
    X = np.random.default_rng(0).standard_normal((400, IN)) * np.exp(gaussian(1, IN))
    X[:, [3, 77]] = 0
    weight, report = GPTQ(4, 32).quantize(W, X.T @ X)
    assert report.dead == 2
    back = np.asarray(weight.dequantize())
    assert not back[:, [3, 77]].any()
    assert (np.delete(back, [3, 77], axis=1) != 0).mean() > 0.8
    nothing, report = GPTQ(4, 32).quantize(W, np.zeros((IN, IN)))
    assert report.dead == IN
    assert not np.asarray(nothing.dequantize()).any()


def test_what_is_refused():
    with pytest.raises(ValueError, match="GPTQ needs H"):
        GPTQ(4).quantize(W)
    with pytest.raises(ValueError, match="H has entries that are NaN or infinite"):
        GPTQ(4).quantize(W, np.full((IN, IN), np.nan))
    with pytest.raises(ValueError, match="is not positive definite, even with"):
        GPTQ(4).quantize(W, H - 3 * np.trace(H) * np.eye(IN))
    with pytest.raises(ValueError, match=r"damping = 0\.0: give a number above 0"):
        GPTQ(4, damping=0.0)
    with pytest.raises(ValueError, match="integers of 1 bits"):
        GPTQ(1)
    with pytest.raises(ValueError, match="groups of 64 do not divide 160 inputs"):
        GPTQ(4, 64).quantize(W, H)


@pytest.mark.data
def test_lower_error_of_the_outputs_of_a_real_model():
    folder = Path(os.environ["DOPT_DATA"])
    model, tokenizer, *_ = load(folder / "stories260K" / "stories260K.bin")
    text = (folder / "text_tinystories" / "tinystories_sample_cs336.txt").read_text()
    tokens = np.array(tokenizer.encode(text)[: 14 * 128]).reshape(14, 128)
    gains = {}

    def visit(i, layer, hessians):
        for name in ("q", "down"):
            weights, H = np.asarray(layer[name]), hessians[INPUT_OF[name]]
            for act_order in (False, True):
                how = GPTQ(3, act_order=act_order, static_groups=True)
                found, plain = (
                    proxy_error(weights, q.quantize(weights, H).weight.dequantize(), H)
                    for q in (how, how.nearest)
                )
                gains[i, name, act_order] = found / plain

    walk(model, tokens, visit)
    assert len(gains) == 20
    assert max(gains.values()) < 1
    assert np.median(list(gains.values())) < 0.7
