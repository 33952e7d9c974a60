import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressors.allocation import exact


def by_hand(errors, costs, budget):
    """The least error and its choice: all choices, ties by the costs from the last layer on."""
    found = []
    for choice in itertools.product(range(errors.shape[1]), repeat=errors.shape[0]):
        error = sum(float(row[k]) for row, k in zip(errors, choice, strict=True))
        spent = [int(row[k]) for row, k in zip(costs, choice, strict=True)]
        if sum(spent) <= budget and np.isfinite(error):
            found.append((error, spent[::-1], choice))
    return min(found, default=None)


@st.composite
def problems(draw):
    """Errors in quarters, so that sums are exact and ties are frequent, costs of one unit."""
    L, K = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    unit = draw(st.sampled_from([1, 7, 3072]))
    numbers = st.integers(0, 12)
    errors = [[draw(numbers) / 4 for _ in range(K)] for _ in range(L)]
    costs = [[draw(numbers) * unit for _ in range(K)] for _ in range(L)]
    errors, costs = np.array(errors), np.array(costs)
    for _ in range(draw(st.integers(0, 2))):
        errors[draw(st.integers(0, L - 1)), draw(st.integers(0, K - 1))] = np.inf
    return errors, costs, draw(st.integers(0, 14 * L)) * unit + draw(st.integers(0, 3))


@settings(max_examples=300, deadline=None)
@given(problems())
def test_it_is_brute_force_with_its_ties(problem):
    errors, costs, budget = problem
    expected = by_hand(errors, costs, budget)
    if expected is None:
        with pytest.raises(ValueError, match=r"no option that is allowed|give at least"):
            exact(errors, costs, budget)
        return
    choice = exact(errors, costs, budget)
    rows = np.arange(len(errors))
    assert errors[rows, choice].sum() == expected[0]
    assert costs[rows, choice][::-1].tolist() == expected[1]


def test_eight_layers_of_random_numbers():
    rng = np.random.default_rng(0)
    errors, costs = rng.exponential(size=(8, 4)), rng.integers(1, 50, (8, 4))
    for budget in (110, 150, 10_000):
        choice = exact(errors, costs, budget)
        error, _, _ = by_hand(errors, costs, budget)
        assert costs[np.arange(8), choice].sum() <= budget
        np.testing.assert_allclose(errors[np.arange(8), choice].sum(), error, rtol=1e-14)


def test_210_matrices_and_400_million_bits_take_a_second():
    shapes = [(576, 576), (192, 576), (192, 576), (576, 576), (1536, 576), (1536, 576), (576, 1536)]
    size = np.array([out * inputs for out, inputs in shapes] * 30)
    scales = np.array([16 * out * (9 if inputs == 576 else 3) for out, inputs in shapes] * 30)
    widths = np.array([2, 2.5, 3, 3.5, 4, 5, 6, 8])
    costs = (size[:, None] * widths).astype(np.int64) + scales[:, None]
    errors = np.random.default_rng(0).exponential(size=210)[:, None] * 4.0**-widths
    budget = int(3.25 * size.sum())
    begun = time.process_time()
    choice = exact(errors, costs, budget)
    assert time.process_time() - begun < 5
    spent = costs[np.arange(210), choice].sum()
    # No single step up fits into what is left, and no pair of steps, one up and one down, pays.
    assert budget - 3072 * 100 < spent <= budget
    ups, downs = np.minimum(choice + 1, 7), np.maximum(choice - 1, 0)
    rows = np.arange(210)
    saved = (errors[rows, choice] - errors[rows, ups])[:, None]
    lost = (errors[rows, downs] - errors[rows, choice])[None]
    more = (costs[rows, ups] - costs[rows, choice])[:, None]
    less = (costs[rows, choice] - costs[rows, downs])[None]
    fits = spent + more - less <= budget
    np.fill_diagonal(fits, False)
    assert (fits & (saved > 0)).any()
    assert (saved - lost)[fits].max() <= 1e-15


def test_refusals():
    errors, costs = np.zeros((2, 2)), np.array([[5, 6], [7, 8]])
    with pytest.raises(ValueError, match="the cheapest options take 12 bits, the budget is 11"):
        exact(errors, costs, 11)
    with pytest.raises(ValueError, match="layer 1 has no option"):
        exact(np.array([[0.0, 1.0], [np.inf, np.nan]]), costs, 100)
    with pytest.raises(ValueError, match="a cost of -1 bits"):
        exact(errors, np.array([[5, -1], [7, 8]]), 100)
    with pytest.raises(ValueError, match="257 options"):
        exact(np.zeros((1, 257)), np.zeros((1, 257), int), 100)
    huge = np.array([[0, 10**12], [0, 10**12 + 1]])
    with pytest.raises(ValueError, match=r"needs .* GiB, and may take 2.0"):
        exact(np.array([[1.0, 0.0]] * 2), huge, 2 * 10**12)


def test_without_layers_nothing_is_chosen():
    assert exact(np.zeros((0, 3)), np.zeros((0, 3), int), 0).shape == (0,)
