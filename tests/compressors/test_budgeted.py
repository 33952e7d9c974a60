from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressors import (
    Budgeted,
    ErrorAxis,
    Knapsack,
    Lagrangian,
    LowRankLadder,
    MinimalBits,
    QuantizationLadder,
    RandKLadder,
    TopKLadder,
    Uniform,
)
from compressors._base import packed_bits


KEY = jax.random.key(7)
RATIOS = (0.02, 0.1, 0.3, 0.6, 1.0)
TOPK, RANDK = TopKLadder(RATIOS), RandKLadder(RATIOS)
QUANTIZED = QuantizationLadder((1, 2, 4, 8))
SIZES = (7, 40, 40, 1, 12, 40)
D = sum(SIZES)
MIXED = (TOPK, RANDK, RANDK, QUANTIZED, LowRankLadder((1, 2, 3, 4), (4, 3)), QUANTIZED)
SENDERS = {
    "kimad": Budgeted((TOPK,) * 6, SIZES, Uniform()),
    "kimad+": Budgeted((TOPK,) * 6, SIZES, Knapsack(100)),
    "seeds": Budgeted((TOPK, RANDK, TOPK, RANDK, TOPK, RANDK), SIZES, Knapsack(100)),
    "mixed": Budgeted(MIXED, SIZES, Lagrangian()),
}
DETERMINISTIC = ("kimad", "kimad+")
COPIES = (*DETERMINISTIC, "seeds")


@partial(jax.jit, static_argnums=0)
def compressed(budgeted, budget, x, key):
    within = budgeted.within(budget)
    code = within.compress(x, key=key)
    return code, within.expand(code)


def vector(seed):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.standard_t(2, D) * np.repeat(10.0 ** rng.normal(0, 1, 6), SIZES))


def ask(budget):
    return jnp.asarray(budget, jnp.int32)


@pytest.mark.parametrize("name", SENDERS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), share=st.floats(-0.1, 1.2))
def test_a_message_is_within_its_budget_and_says_what_the_code_says(name, seed, share):
    sender, x = SENDERS[name], vector(seed)
    least, most = sender.least_bits(x.dtype), sender.most_bits(x.dtype)
    budget = max(0, int(least + share * (most - least)))
    key = jax.random.fold_in(KEY, seed)
    within = sender.within(budget)
    code, arrived = compressed(sender, ask(budget), x, key)
    message = within.encode(x, key=key)
    bits, charged = packed_bits(message), sender.bits_within(budget, x.dtype)
    assert bits <= max(budget, least)
    assert bits == sender.header_bits + sender.table(x.dtype)[np.arange(6), code.rungs].sum()
    assert bits <= charged <= max(budget, least)
    assert within.nbits(D, x.dtype) == charged
    if not sender.padded:
        assert bits == charged
    received = within.unpack(message, key=key, d=D)
    np.testing.assert_array_equal(received.rungs, code.rungs)
    decoded = within.decode(message, key=key, d=D)
    if name in DETERMINISTIC:
        lost = float(jnp.sum((arrived - x) ** 2) / jnp.sum(x**2))
        assert lost <= 1 - sender.contraction(D).value
    if name in COPIES:
        np.testing.assert_array_equal(decoded, arrived, strict=True)
    else:
        np.testing.assert_allclose(decoded, arrived, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SENDERS)
def test_unlimited_bandwidth_is_uncompressed(name):
    sender, x = SENDERS[name], vector(3)
    _, arrived = compressed(sender, ask(2**31 - 1), x, KEY)
    np.testing.assert_array_equal(arrived, x, strict=True)
    message = sender.within(10**12).encode(x, key=KEY)
    assert packed_bits(message) == sender.most_bits(x.dtype) == 64 * D + sender.header_bits


def test_layers_are_worked_on_apart():
    sender, x = SENDERS["seeds"], vector(5)
    budget = (sender.least_bits(x.dtype) + sender.most_bits(x.dtype)) // 2
    code, arrived = compressed(sender, ask(budget), x, KEY)
    parts = np.split(np.asarray(arrived), np.cumsum(SIZES)[:-1])
    given = np.split(np.asarray(x), np.cumsum(SIZES)[:-1])
    assert len(set(code.rungs.tolist())) > 1
    for layer, (ladder, size) in enumerate(zip(sender.ladders, SIZES, strict=True)):
        member = ladder.member(int(code.rungs[layer]), size, x.dtype)
        key = jax.random.fold_in(KEY, layer)
        sent = member.expand(member.compress(jnp.asarray(given[layer]), key=key))
        np.testing.assert_array_equal(parts[layer], sent)
    assert len({tuple(parts[layer] != 0) for layer in (3, 5)}) == 2


def test_kimad_plus_has_no_more_error_than_kimad():
    for seed in range(20):
        x = vector(seed)
        for share in (0.05, 0.2, 0.5):
            most = SENDERS["kimad"].most_bits(x.dtype)
            errors = {}
            for name in ("kimad", "kimad+"):
                # The headers may differ in size; the bits of the layers are the same.
                budget = int(share * most) + SENDERS[name].header_bits
                _, arrived = compressed(SENDERS[name], ask(budget), x, KEY)
                errors[name] = float(jnp.sum((arrived - x) ** 2))
            assert errors["kimad+"] <= errors["kimad"] * (1 + 1e-12)


def test_the_choice_does_not_change_with_the_unit():
    sender, x = SENDERS["kimad+"], vector(1)
    budget = ask(sender.most_bits(x.dtype) // 4)
    expected = compressed(sender, budget, x, KEY)[0].rungs
    for exponent in (-300, -70, 60, 300):
        scaled = compressed(sender, budget, x * 2.0**exponent, KEY)[0]
        np.testing.assert_array_equal(scaled.rungs, expected)


@pytest.mark.parametrize("ladder", [TOPK, RANDK])
def test_a_batch_of_budgets_and_vectors_is_a_loop(ladder):
    sender = Budgeted((ladder, ladder), (7, 40), Knapsack(100))
    xs = jnp.stack([vector(seed)[:47] for seed in range(3)])
    budgets = jnp.asarray([500, 1500, 2**31 - 1], jnp.int32)
    keys = jax.random.split(KEY, 3)

    @jax.jit
    def batch(within, xs, keys):
        codes = jax.vmap(lambda w, x, k: w.compress(x, key=k))(within, xs, keys)
        return codes, within.expand_sum(codes, jnp.asarray([1.0, -2.0, 0.5]))

    codes, weighted = batch(jax.vmap(sender.within)(budgets), xs, keys)
    loop = [compressed(sender, budgets[i], xs[i], keys[i])[0] for i in range(3)]
    for i in range(3):
        np.testing.assert_array_equal(codes.rungs[i], loop[i].rungs)
        np.testing.assert_allclose(codes.vector[i], loop[i].vector, rtol=1e-12, atol=1e-12)
    expected = np.asarray([1.0, -2.0, 0.5]) @ np.stack([code.vector for code in loop])
    np.testing.assert_allclose(weighted, expected, rtol=1e-12, atol=1e-12)


def test_bits_within_many_budgets():
    for sender in SENDERS.values():
        budgets = np.asarray([[0, 700], [3000, 10**12]])
        charged = sender.bits_within(budgets, np.float32)
        assert charged.dtype == np.int64
        singly = [[sender.bits_within(int(b), np.float32) for b in row] for row in budgets]
        np.testing.assert_array_equal(charged, singly)
        assert sender.bits_within(0, np.float32) == sender.least_bits(np.float32)
        assert np.all(np.diff(sender.bits_within(np.arange(0, 9000, 50), np.float32)) >= 0)
    exact = SENDERS["kimad"].header_bits + int(SENDERS["kimad"].table(np.float32)[:, 2].sum())
    assert SENDERS["kimad"].bits_within(exact, np.float32) == exact
    assert SENDERS["kimad"].bits_within(exact - 1, np.float32) < exact


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_random_layers_ladders_and_rules(seed):
    rng = np.random.default_rng(seed)
    sizes = tuple(rng.integers(1, 200, rng.integers(1, 9)).tolist())
    ladders = tuple((TOPK, RANDK, QUANTIZED)[i] for i in rng.integers(0, 3, len(sizes)))
    rules = (Uniform(), Knapsack(50), ErrorAxis(50), Lagrangian(), MinimalBits(1, 50))
    sender = Budgeted(ladders, sizes, rules[seed % len(rules)])
    for _ in range(10):
        x = jnp.asarray(rng.standard_t(1, sum(sizes)), (jnp.float32, jnp.bfloat16)[seed % 2])
        most = sender.most_bits(x.dtype)
        budget = int(rng.integers(0, 1.1 * most))
        _, arrived = compressed(sender, ask(budget), x, KEY)
        message = sender.within(budget).encode(x, key=KEY)
        assert packed_bits(message) <= max(budget, sender.least_bits(x.dtype))
        decoded = sender.within(budget).decode(message, key=KEY, d=sum(sizes))
        np.testing.assert_allclose(*(np.asarray(y, np.float64) for y in (decoded, arrived)), 0.02)
        if rng.random() < 0.2:
            every = compressed(sender, ask(2**31 - 1), x, KEY)[1]
            assert not isinstance(sender.allocation, Uniform) or bool((every == x).all())


def test_header_and_constants():
    assert [sender.padded for sender in SENDERS.values()] == [False, True, True, True]
    assert SENDERS["kimad"].header_bits == 32
    assert SENDERS["kimad+"].header_bits == 32
    assert Budgeted((TOPK,) * 11, (3,) * 11, Knapsack()).header_bits == 64
    alpha = SENDERS["kimad"].contraction(D)
    assert alpha.value == 1 / 40
    assert alpha.kind == "bound"
    assert "layer 1" in alpha.note
    assert SENDERS["mixed"].within(0).alpha(D) == SENDERS["mixed"].contraction(D)
    assert SENDERS["kimad"].within(0).nonfinite == "in place"
    assert SENDERS["mixed"].within(0).nonfinite == "spreads"
    assert hash(SENDERS["mixed"]) == hash(Budgeted(MIXED, SIZES, Lagrangian()))
    assert jax.tree.leaves(SENDERS["mixed"]) == []


def test_like_takes_the_leaves_in_order():
    params = {"w": jnp.ones((3, 4)), "b": jnp.ones(4), "a": jnp.asarray(1.0)}
    sender = Budgeted.like(params, lambda leaf: LowRankLadder((1, 2), leaf.shape), Knapsack())
    assert sender.sizes == (1, 4, 12)
    assert [ladder.shape for ladder in sender.ladders] == [(), (4,), (3, 4)]
    assert sender.table(np.float32).tolist() == [[32] * 3, [128] * 3, [7 * 32, 384, 384]]


def test_what_is_refused():
    with pytest.raises(ValueError, match="1 ladders for 2 layers"):
        Budgeted((TOPK,), (1, 2), Uniform())
    with pytest.raises(ValueError, match="layer 1 of Budgeted is empty"):
        Budgeted((TOPK, TOPK), (1, 0), Uniform())
    with pytest.raises(ValueError, match=r"ladders of \[2, 5\] rungs"):
        Budgeted((TOPK, TopKLadder((0.1, 1.0))), (1, 2), Uniform())
    with pytest.raises(ValueError, match="cannot take d = 12"):
        Budgeted((LowRankLadder((1,), (3, 3)),), (12,), Uniform())
    with pytest.raises(ValueError, match="exceeds 2147483647"):
        Budgeted((TOPK,), (1 << 26,), Uniform()).table(np.float32)
    within, x = SENDERS["kimad"].within(900), vector(0)
    with pytest.raises(ValueError, match="140 entries in all cannot take d = 9"):
        within.compress(x[:9], key=KEY)
    with pytest.raises(ValueError, match=r"call encode\(x, key\)"):
        within.pack(compressed(SENDERS["kimad"], ask(900), x, KEY)[0])
    with pytest.raises(ValueError, match="outside jit and vmap, or compress"):
        jax.jit(lambda x: within.encode(x, key=KEY))(x)
    with pytest.raises(ValueError, match="outside jit and vmap, or compress"):
        jax.jit(lambda budget: SENDERS["kimad"].within(budget).encode(x, key=KEY))(ask(900))
