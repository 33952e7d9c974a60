import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import (
    Bernoulli,
    Composed,
    ContractiveComposed,
    Identity,
    NaturalCompression,
    RandK,
    RandomDithering,
    Scaled,
    ScaledRandK,
    ScaledSign,
    TopK,
)


KEY = jax.random.key(21)
X = jax.random.normal(jax.random.key(1), (40,), jnp.float32)


def test_kept_values_are_those_of_the_second_stage():
    both = Composed(RandK(5), NaturalCompression())
    code = both.compress(X, key=KEY)
    kept = RandK(5).compress(X, key=jax.random.fold_in(KEY, 0))
    values = NaturalCompression().compress(kept.values, key=jax.random.fold_in(KEY, 1))
    dense = np.zeros(40, np.float32)
    dense[np.asarray(kept.indices)] = NaturalCompression().expand(values)
    np.testing.assert_array_equal(both.expand(code), dense)
    assert np.isin(np.log2(np.abs(dense[dense != 0])) % 1, 0).all()


def test_messages_are_as_small_as_the_kept_values():
    """Nine bits a value, ⌈log2 d⌉ an index where it is sent."""
    seed = Composed(RandK(64), NaturalCompression())
    assert seed.payload_bits(1000, jnp.float32) == 9 * 64
    assert seed.nbits(1000, jnp.float32) == 9 * 64
    sent = Composed(RandK(64, indices="sent"), NaturalCompression())
    assert sent.payload_bits(1000, jnp.float32) == (9 + 10) * 64
    assert sent.nbits(1000, jnp.float32) == (9 + 10) * 64
    top = ContractiveComposed(TopK(64), ScaledSign())
    assert top.nbits(1000, jnp.float32) == 64 * 10 + 64 + 32
    assert set(sent.encode(X[:, None].repeat(25, 1).reshape(-1), key=KEY)) == {"indices", "values"}


def test_omega_is_the_product():
    outer, inner = RandK(4), RandomDithering(1)
    both = Composed(outer, inner)
    expected = (1 + outer.omega(40).value) * (1 + inner.omega(4).value) - 1
    assert both.omega(40).value == pytest.approx(expected, rel=1e-15)
    assert both.omega(40).kind == "bound"
    assert Composed(outer, Identity()).omega(40) == outer.omega(40)


def test_the_second_moment_by_enumeration_of_both_stages():
    """d = 3, K = 2: all pairs, and all roundings of their values, for 1 + ω = (1 + ω₁)(1 + ω₂)."""
    # 1.5 x = 4/3, the worst value of natural compression, for every kept coordinate.
    x = np.full(3, 8 / 9)
    second, mean = 0.0, np.zeros(3)
    for pair in itertools.combinations(range(3), 2):
        for up in itertools.product((0, 1), repeat=2):
            t = 1.5 * 8 / 9
            chance = np.prod([t - 1 if u else 2 - t for u in up]) / 3
            y = np.zeros(3)
            y[list(pair)] = [2.0 if u else 1.0 for u in up]
            mean, second = mean + chance * y, second + chance * y @ y
    np.testing.assert_allclose(mean, x)
    omega = Composed(RandK(2), NaturalCompression()).omega(3).value
    assert second / (x @ x) == pytest.approx(1 + omega)
    draw = jax.jit(jax.vmap(lambda key: both_of(jnp.asarray(x), key)))
    draws = np.asarray(draw(jax.random.split(KEY, 4000)))
    squares = (draws**2).sum(axis=1) / (x @ x)
    assert abs(squares.mean() - 1 - omega) <= 5 * squares.std() / 4000**0.5


def both_of(x, key):
    both = Composed(RandK(2), NaturalCompression())
    return both.expand(both.compress(x, key=key))


@pytest.mark.parametrize(
    ("quantize", "share"),
    [(NaturalCompression(), 7 / 8), (ScaledSign(), 1 / 4), (Scaled(NaturalCompression()), 8 / 9)],
)
@pytest.mark.parametrize("select", [TopK(4), ScaledRandK(4)])
def test_alpha_is_the_product(select, quantize, share):
    both = ContractiveComposed(select, quantize)
    assert both.alpha(40).value == pytest.approx(share / 10)
    assert both.alpha(40).kind == "bound"
    assert ContractiveComposed(select, Identity()).alpha(40) == select.alpha(40)


def test_an_error_of_the_values_as_large_as_they_are_is_refused():
    coarse = ContractiveComposed(TopK(36), RandomDithering(1))
    with pytest.raises(ValueError, match=r"omega of RandomDithering.* below 1, and is 5 .*Scaled"):
        coarse.check(100)
    ContractiveComposed(TopK(36), Scaled(RandomDithering(1))).check(100)


def test_stages_without_the_promise_are_refused():
    with pytest.raises(TypeError, match=r"Composed derives .* TopK\(K=3\) declares none"):
        Composed(TopK(3), NaturalCompression())
    with pytest.raises(TypeError, match=r"Composed derives .* ScaledSign"):
        Composed(RandK(3), ScaledSign())
    with pytest.raises(TypeError, match=r"ContractiveComposed derives .* RandK\(K=3"):
        ContractiveComposed(RandK(3), ScaledSign())
    with pytest.raises(TypeError, match="one size, and those of Bernoulli"):
        Composed(RandK(3), Bernoulli(0.5))


def test_a_first_stage_that_is_not_sparse_is_refused():
    with pytest.raises(TypeError, match=r"NaturalCompression.* no sparse vectors.* such as RandK"):
        Composed(NaturalCompression(), NaturalCompression()).check(10)


def test_dimensions_are_refused_by_their_stage():
    with pytest.raises(ValueError, match="K = 11 of d = 10"):
        Composed(RandK(11), NaturalCompression()).check(10)
    with pytest.raises(ValueError, match="K = 4 of d = 3"):
        Composed(RandK(3), RandK(4)).check(10)


def test_a_composition_of_sparse_codes():
    """RandK of RandK: 2 of 4 of 8, as RandK(2) has it."""
    twice = Composed(RandK(4), RandK(2))
    assert twice.omega(8).value == RandK(2).omega(8).value
    y = np.asarray(twice.expand(twice.compress(X[:8], key=KEY)))
    assert (y != 0).sum() == 2
    np.testing.assert_allclose(y[y != 0], 4 * np.asarray(X[:8])[y != 0], rtol=1e-6)


def test_where_numbers_go_that_are_none():
    assert Composed(RandK(3), NaturalCompression()).nonfinite == "in place"
    assert Composed(RandK(3), RandomDithering(1)).nonfinite == "spreads"
