import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from compressors import (
    Bernoulli,
    Composed,
    ContractivePerLeaf,
    Identity,
    NaturalCompression,
    PerLeaf,
    RandK,
    RandomDithering,
    RankR,
    ScaledSign,
    TopK,
)


KEY = jax.random.key(24)
PARAMS = {
    "b": jnp.arange(1.0, 5.0),
    "scale": jnp.asarray(3.0),
    "w": jnp.arange(24.0).reshape(4, 6) - 7,
}


def test_every_leaf_goes_through_its_own():
    make = {"b": RandK(2), "scale": Identity(), "w": Composed(RandK(6), NaturalCompression())}
    order = iter(make.values())
    both = PerLeaf.like(PARAMS, lambda leaf: next(order))
    assert both.sizes == (4, 1, 24)
    x, unravel = ravel_pytree(PARAMS)
    got = unravel(both.expand(both.compress(x, key=KEY)))
    for i, (name, one) in enumerate(make.items()):
        key = jax.random.fold_in(KEY, i)
        expected = one.expand(one.compress(PARAMS[name].reshape(-1), key=key))
        np.testing.assert_array_equal(got[name].reshape(-1), expected)
    message = both.encode(x, key=KEY)
    assert len(message) == 3
    np.testing.assert_array_equal(ravel_pytree(got)[0], both.decode(message, key=KEY, d=29))
    sizes = zip(make.values(), (4, 1, 24), strict=True)
    assert both.nbits(29, jnp.float64) == sum(one.nbits(d, jnp.float64) for one, d in sizes)
    assert both.payload_bits(29, jnp.float32) == 2 * 32 + 32 + 6 * 9


def test_matrices_by_rank_and_the_rest_by_sign():
    def make(leaf):
        return RankR(2, leaf.shape) if leaf.ndim == 2 else ScaledSign()

    both = ContractivePerLeaf.like(PARAMS, make)
    assert both.alpha(29).value == 1 / 4
    assert both.nonfinite == "spreads"
    x, unravel = ravel_pytree(PARAMS)
    w = unravel(both.expand(both.compress(x, key=KEY)))["w"]
    assert np.linalg.matrix_rank(np.asarray(w)) == 2
    assert both.nbits(29, jnp.float64) == 64 * 2 * 10 + 2 * (64 + 32)


def test_constants_are_those_of_the_worst_leaf():
    parts, sizes = (RandK(1), RandK(5), NaturalCompression()), (4, 40, 10)
    omega = PerLeaf(parts, sizes).omega(54)
    assert omega.value == 7
    assert omega.kind == "exact"
    assert omega.note == "every vector, in leaf 1, and zero in the others"
    alpha = ContractivePerLeaf((Identity(), TopK(2), TopK(1)), (3, 10, 10)).alpha(23)
    assert alpha.value == 1 / 10
    assert "leaf 2" in alpha.note


def test_leaves_of_one_size_draw_apart():
    both = PerLeaf((RandK(1), RandK(1)), (50, 50))
    y = np.asarray(both.expand(both.compress(jnp.ones(100), key=KEY))).reshape(2, 50)
    assert y[0].argmax() != y[1].argmax()


def test_what_is_refused():
    with pytest.raises(ValueError, match="2 compressors for 1 leaves"):
        PerLeaf((Identity(), Identity()), (3,))
    with pytest.raises(ValueError, match="0 compressors for 0 leaves"):
        PerLeaf.like({}, lambda leaf: Identity())
    with pytest.raises(ValueError, match="leaf 1 of PerLeaf is empty"):
        PerLeaf((Identity(), Identity()), (3, 0))
    with pytest.raises(ValueError, match="K = 4 of d = 3"):
        PerLeaf((RandK(4),), (3,))
    with pytest.raises(TypeError, match=r"an omega, and TopK\(K=1\) declares none"):
        PerLeaf((TopK(1),), (3,))
    with pytest.raises(TypeError, match="an alpha, and RandK"):
        ContractivePerLeaf((RandK(1),), (3,))
    with pytest.raises(TypeError, match="one size, and those of Bernoulli"):
        PerLeaf((Bernoulli(0.5),), (3,))
    for call in (
        lambda both: both.check(6),
        lambda both: both.compress(jnp.ones(6), key=KEY),
        lambda both: both.omega(6),
        lambda both: both.payload_bits(6, jnp.float32),
    ):
        with pytest.raises(ValueError, match="5 entries in all cannot take d = 6"):
            call(PerLeaf((Identity(), RandomDithering(1)), (2, 3)))
