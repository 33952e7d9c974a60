import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from small_decoders import CONFIG, changed, drawn, log_probabilities

from dopt.errors import ConfigurationError, InterruptedRunError
from dopt.evaluation import scoring
from dopt.evaluation.divergence import against, compared, divergence, reference
from dopt.evaluation.per_token import paired_difference
from dopt.evaluation.perplexity import perplexity
from dopt.evaluation.windows import cut


TEXT = np.random.default_rng(7).integers(0, 13, 40)


def plain_sums(model, original, windows):
    """Σ KL and agreements of each window, token by token."""
    kl, agree = [], []
    for row, first, end in zip(*windows, strict=True):
        q, p = (log_probabilities(m, row[:end])[first - 1 : end - 1] for m in (model, original))
        kl.append(np.sum(np.exp(p) * (p - q)))
        agree.append(np.sum(p.argmax(axis=1) == q.argmax(axis=1)))
    return kl, agree


def test_sums_are_those_of_plain_loops(monkeypatch):
    monkeypatch.setattr(scoring, "CHUNK", 5)
    original = drawn()
    model = changed(original, 0.5)
    found = divergence(model, original, TEXT, window=8, stride=5, batch=3)
    kl, agree = plain_sums(model, original, cut(TEXT, 8, 5))
    np.testing.assert_allclose(found.kl, kl, rtol=1e-9)
    assert found.agree.tolist() == agree
    assert found.mean == pytest.approx(sum(kl) / 39)
    assert 0 < found.top1 == sum(agree) / 39 < 1


def test_both_perplexities_come_along():
    original = drawn()
    model = changed(original, 0.5)
    found = divergence(model, original, TEXT, window=8)
    for side, alone in ((found.perplexity, model), (found.reference_perplexity, original)):
        np.testing.assert_allclose(side.nll, perplexity(alone, TEXT, window=8).nll, rtol=1e-12)


def test_a_reference_serves_many_models():
    original = drawn()
    once = reference(original, TEXT, window=8, batch=2)
    near, far = (against(changed(original, by), once, batch=2) for by in (0.1, 0.8))
    alone = divergence(changed(original, 0.1), original, TEXT, window=8, batch=2)
    assert near.kl.tobytes() == alone.kl.tobytes()
    assert paired_difference(far.per_token, near.per_token).mean > 0
    same = against(original, once, batch=2)
    assert (same.mean, same.top1) == (0.0, 1.0)


def test_another_shape_can_be_compared():
    config = dataclasses.replace(CONFIG, layers=1, d_model=8, tied=True)
    original, model = drawn(), drawn(1, config)
    found = divergence(model, original, TEXT, window=8)
    kl, _ = plain_sums(model, original, cut(TEXT, 8))
    np.testing.assert_allclose(found.kl, kl, rtol=1e-9)


def of_logits(a, b, dtype):
    """KL through `compared` where logits are nearly the stream: a head of the identity."""
    a, b = np.asarray(a), np.asarray(b)
    d = a.shape[1]
    config = dataclasses.replace(CONFIG, vocabulary=d, d_model=d, norm_eps=0.0)

    def head(rows):
        scale = np.sqrt(np.mean(rows[0] ** 2))
        return {"norm": jnp.full(d, scale, dtype), "head": jnp.eye(d, dtype=dtype)}

    kl, *_ = compared(
        head(a),
        config,
        head(b),
        config,
        jnp.asarray(a, dtype),
        jnp.asarray(b, dtype),
        jnp.zeros(1, jnp.int32),
    )
    log_p, log_q = (x[0] - np.log(np.exp(x[0] - x.max()).sum()) - x.max() for x in (a, b))
    return float(kl[0]), float(np.sum(np.exp(log_p) * (log_p - log_q)))


@pytest.mark.parametrize("size", [1.0, 1e-2, 1e-3])
def test_small_divergences_keep_their_digits_in_float32(size):
    random = np.random.default_rng(0)
    a = 4 * random.normal(size=(1, 300))
    found, expected = of_logits(a, a + size * random.normal(size=(1, 300)), jnp.float32)
    assert found == pytest.approx(expected, rel=3e-3)


def test_a_model_that_rules_out_what_is_likely():
    a, b = np.zeros((1, 4)), np.zeros((1, 4))
    a[0, 0], b[0, 1] = 300.0, 300.0
    found, expected = of_logits(a, b, jnp.float32)
    assert found == pytest.approx(expected, rel=1e-6)
    assert found == pytest.approx(300)


def test_progress_counts_both_models_and_stops_are_heard():
    told = []
    model = drawn()
    divergence(model, model, TEXT, window=8, batch=3, on_progress=lambda *s: told.append(s))
    assert told == [(i + 1, 8) for i in range(8)]
    with pytest.raises(InterruptedRunError):
        divergence(model, model, TEXT, window=8, stopping=lambda: True)


def test_other_vocabularies_are_refused():
    once = reference(drawn(), TEXT, window=8)
    other = drawn(config=dataclasses.replace(CONFIG, vocabulary=14))
    with pytest.raises(ConfigurationError, match="the model has 14 tokens and its reference 13"):
        against(other, once)
