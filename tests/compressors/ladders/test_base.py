"""What every ladder promises, at the ends of its range and in two dtypes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import LowRankLadder, QuantizationLadder, RandKLadder, TopKLadder
from compressors._wrapped import contractive


KEY = jax.random.key(5)
RATIOS = (0.02, 0.1, 0.5, 1.0)
D = 60
LADDERS = {
    "topk": TopKLadder(RATIOS),
    "randk": RandKLadder(RATIOS),
    "quantization": QuantizationLadder((1, 3, 8)),
    "low rank": LowRankLadder((1, 2, 5), (5, 4, 3)),
    "a vector by low rank": LowRankLadder((1, 2, 5), (D,)),
}
COPIES = ("topk", "randk", "a vector by low rank")
DTYPES = (jnp.float64, jnp.bfloat16)


@partial(jax.jit, static_argnums=0)
def received(ladder, x, rungs, key):
    return jax.vmap(lambda rung: ladder.received(x, rung, key=key))(rungs)


@partial(jax.jit, static_argnums=(0, 1))
def roundabout(member, d, x, key):
    return member.decode(member.encode(x, key=key), key=key, d=d)


def heavy(dtype, d=D, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_t(2, d), dtype)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, jnp.float64) for name in LADDERS), ("topk", jnp.bfloat16)],
)
def test_what_arrives_is_what_the_member_sends(name, dtype):
    ladder, x = LADDERS[name], heavy(dtype)
    got = received(ladder, x, jnp.arange(ladder.rungs), KEY)
    for rung in range(ladder.rungs):
        sent = roundabout(ladder.member(rung, D, dtype), D, x, KEY)
        if name in COPIES:
            np.testing.assert_array_equal(got[rung], sent, strict=True)
        else:
            # Sums and products that one program fuses and the other does not.
            eps = float(jnp.finfo(dtype).eps)
            assert got.dtype == dtype
            np.testing.assert_allclose(
                np.asarray(got[rung], np.float64), np.asarray(sent, np.float64), atol=9 * eps
            )
    np.testing.assert_array_equal(got[-1], x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LADDERS)
@pytest.mark.parametrize("d", [1, D])
def test_bits_are_those_of_the_messages_and_never_decline(name, d, dtype):
    ladder = LADDERS[name]
    if isinstance(ladder, LowRankLadder) and d != D:
        ladder = LowRankLadder(ladder.ranks, (1,) * len(ladder.shape))
    bits = ladder.bits(d, dtype)
    assert bits.dtype == np.int64
    assert bits.tolist() == [
        ladder.member(rung, d, dtype).nbits(d, dtype) for rung in range(ladder.rungs)
    ]
    assert np.all(np.diff(bits) >= 0)
    assert bits[-1] == d * 8 * jnp.dtype(dtype).itemsize


@pytest.mark.parametrize("name", LADDERS)
def test_errors_are_what_they_are_called(name):
    ladder, x = LADDERS[name], heavy(jnp.float64)
    errors = np.asarray(jax.jit(ladder.errors)(x, key=KEY))
    assert errors[-1] == 0
    if ladder.errors_are == "expected":
        keys = jax.random.split(jax.random.key(1), 400)
        got = jax.vmap(lambda key: received(ladder, x, jnp.arange(ladder.rungs), key))(keys)
        draws = np.sum((np.asarray(got) - np.asarray(x)) ** 2, axis=-1)
        spread = draws.std(axis=0) / np.sqrt(len(keys))
        z = (draws.mean(axis=0) - errors)[:-1] / spread[:-1]
        assert np.all(np.abs(z) < 4)
        assert np.all(spread[:-1] < errors[:-1] / 10)
    else:
        off = np.asarray(received(ladder, x, jnp.arange(ladder.rungs), KEY)) - np.asarray(x)
        np.testing.assert_allclose(errors, np.sum(off**2, axis=1), rtol=1e-12, atol=1e-28)
    assert ladder.errors(x.astype(jnp.bfloat16), key=KEY).dtype == jnp.float32


@pytest.mark.parametrize("name", LADDERS)
def test_members_are_contractive_and_better_the_higher(name):
    ladder = LADDERS[name]
    alphas = [contractive("a ladder", ladder.member(r, D)).alpha(D).value for r in range(4)]
    assert min(alphas) > 0
    assert alphas == sorted(alphas)
    assert alphas[-1] == 1


def test_what_is_refused():
    for make in (TopKLadder, RandKLadder):
        with pytest.raises(ValueError, match="has no ratios"):
            make(())
        for ratios in ((0.5, 0.1), (0.1, 0.1), (0.0, 0.5), (0.5, 1.5), (float("nan"),)):
            with pytest.raises(ValueError, match="increasing order, above 0 and at most 1"):
                make(ratios)
    for widths in ((), (2, 1), (3, 3)):
        with pytest.raises(ValueError, match="at least one, in increasing order"):
            QuantizationLadder(widths)
    with pytest.raises(ValueError, match="bits = 9: give from 1 to 8"):
        QuantizationLadder((1, 9))
    for ranks in ((), (2, 1), (0, 1)):
        with pytest.raises(ValueError, match="in increasing order from 1"):
            LowRankLadder(ranks, (3, 4))
    with pytest.raises(ValueError, match="cannot take d = 7"):
        LowRankLadder((1,), (3, 4)).check(7)
