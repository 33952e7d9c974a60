"""Rounds, driven by hand."""

import numpy as np
import pytest

from dopt.errors import ConfigurationError
from dopt.policies import (
    Arrival,
    Assign,
    Count,
    Cycle,
    Rounds,
    SampledRounds,
    Step,
    pattern,
)


def test_a_pattern_is_one_row_a_worker():
    rows = pattern(np.array([3, 1]), gradients=2, messages=np.array([1, 4]), weight=0.5)
    np.testing.assert_array_equal(rows.worker, [3, 1])
    np.testing.assert_array_equal(rows.gradients, [2, 2])
    np.testing.assert_array_equal(rows.messages, [1, 4])
    np.testing.assert_array_equal(rows.dense, [False, False])
    np.testing.assert_array_equal(rows.weight, [0.5, 0.5])
    assert [column.dtype for column in rows[:5]] == [
        np.int32,
        np.int64,
        np.int64,
        np.bool_,
        np.float64,
    ]


def test_a_round_needs_a_worker():
    with pytest.raises(ConfigurationError, match="at least one worker, got none"):
        pattern([], weight=1.0)


def test_the_server_moves_when_the_last_worker_has_answered():
    run = Rounds(pattern([2, 0], messages=3, weight=np.array([0.25, 0.75]))).run(5, seed=0)
    asked = [Assign(2, 1, 3, False), Assign(0, 1, 3, False)]
    assert next(run) == asked
    assert run.send(Arrival(0, 0)) == [Count(0.75)]
    assert run.send(Arrival(2, 0)) == [Count(0.25), Step(), *asked]
    assert run.send(Arrival(2, 0)) == [Count(0.25)]
    assert run.send(Arrival(0, 0)) == [Count(0.75), Step(), *asked]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_coins_are_those_that_the_closed_form_reads(seed):
    policy = Rounds(pattern([0], weight=1.0), pattern([0], dense=True, weight=1.0), p=0.4)
    run = policy.run(1, seed)
    seen, actions = [], next(run)
    for _ in range(50):
        seen.append(actions[-1].dense)
        actions = run.send(Arrival(0, 0))
    coins = policy.choices(50, seed)
    np.testing.assert_array_equal(seen, coins)
    assert coins[0]
    np.testing.assert_array_equal(policy.choices(10, seed), coins[:10])


def test_coins_have_their_probability_and_differ_between_seeds():
    policy = Rounds(pattern([0], weight=1.0), pattern([0], dense=True, weight=1.0), p=0.3)
    coins = np.stack([policy.choices(2000, seed)[1:] for seed in range(5)])
    assert abs(coins.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / coins.size)
    assert np.all(np.any(coins[0] != coins[1:], axis=1))


def test_without_a_dense_pattern_there_are_no_coins():
    assert not Rounds(pattern([0], weight=1.0)).choices(20, 0).any()


def test_a_cycle_takes_its_patterns_in_turn():
    turns = tuple(pattern([1, 0], gradients=b, weight=0.5, bits=8 * b) for b in (3, 0, 1))
    policy = Cycle(turns)
    np.testing.assert_array_equal(policy.choices(7, seed=3), [0, 1, 2, 0, 1, 2, 0])
    run = policy.run(2, seed=0)
    actions = next(run)
    for phase, b in ((0, 3), (1, 0), (2, 1), (0, 3)):
        asked = [Assign(worker, b, 1, False, phase, bits=8 * b) for worker in (1, 0)]
        assert actions[-2:] == asked
        run.send(Arrival(0, 0))
        actions = run.send(Arrival(1, 0))


def rounds_of(policy, n, seed, count):
    """The workers and phases of the first rounds, and the weights that count."""
    run, rounds, weights = policy.run(n, seed), [], []
    actions = next(run)
    for _ in range(count):
        asked = [action for action in actions if isinstance(action, Assign)]
        rounds.append(([a.worker for a in asked], {a.phase for a in asked}))
        counted = []
        for worker in reversed(rounds[-1][0]):
            actions = run.send(Arrival(worker, 0))
            counted += [action.weight for action in actions if isinstance(action, Count)]
        weights.append(counted)
    return rounds, weights


def test_sampled_rounds_ask_everyone_equally_often_and_full_ones_everyone():
    n, r, count = 6, 2, 3000
    policy = SampledRounds(
        pattern(range(n), weight=1 / r), r, pattern(range(n), dense=True, weight=1 / n), p=0.2
    )
    rounds, weights = rounds_of(policy, n, 4, count)
    coins = Rounds(policy.usual, policy.full, 0.2).choices(count, 4)
    pairs = np.zeros((n, n))
    for (workers, phases), counted, coin in zip(rounds, weights, coins, strict=True):
        assert phases == {coin}
        assert sum(counted) == pytest.approx(1)
        if coin:
            assert workers == list(range(n))
            continue
        assert len(set(workers)) == r
        assert workers == sorted(workers)
        pairs[tuple(workers)] += 1
    usual = count - coins.sum()
    counts = pairs[np.triu_indices(n, 1)]
    expected = usual / len(counts)
    chi2 = np.sum((counts - expected) ** 2) / expected
    assert abs(chi2 - (len(counts) - 1)) < 5 * np.sqrt(2 * (len(counts) - 1))
    again, _ = rounds_of(policy, n, 4, 50)
    other, _ = rounds_of(policy, n, 5, 50)
    assert again == rounds[:50] != other


@pytest.mark.parametrize("r", [0, 4])
def test_a_sample_of_nobody_or_of_too_many_is_refused(r):
    with pytest.raises(ConfigurationError, match=f"r = {r} of 3 workers"):
        SampledRounds(pattern(range(3), weight=1.0), r)
