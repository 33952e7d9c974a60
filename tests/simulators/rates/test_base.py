"""What holds for every rate: integral and inverse belong together, at any start."""

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dopt.errors import ConfigurationError
from simulators.rates import Constant, Noisy, RandomWalk, Recorded, Sine


def gappy(seed, samples=200):
    """Irregular steps, a first time that is not 0, outages, gaps."""
    rng = np.random.default_rng(seed)
    steps = rng.exponential(1.0, samples)
    steps[:: samples // 7] = 30.0
    values = rng.uniform(0.0, 4e6, samples)
    values[rng.random(samples) < 0.25] = 0.0
    return 5.0 + np.cumsum(steps), values


RATES = {
    "constant": Constant(2.5e6),
    "sine": Sine(3e6, 0.37, 2e5, phase=1.0),
    "sine that touches zero": Sine(3e6, 0.37, 0.0),
    "recorded, repeats": Recorded(*gappy(0), longest_gap=10.0),
    "recorded, holds": Recorded(*gappy(1), end="hold"),
    "recorded, stops": Recorded(*gappy(2), end="stop"),
    "noisy sine": Noisy(Sine(3e6, 0.37, 2e5), 0.5, every=0.7, seed=3),
    "noisy recording": Noisy(Recorded(*gappy(4)), 0.3, every=2.0, seed=5),
    "random walk": RandomWalk(1e5, 1e7, 0.2, every=0.9, seed=6),
}

starts = st.one_of(st.just(0.0), st.floats(0.0, 3e3))
times = st.one_of(st.just(0.0), st.floats(1e-4, 3e3))
amounts = st.one_of(st.just(0.0), st.floats(1e-3, 3e8))


@pytest.fixture(params=RATES.values(), ids=RATES.keys())
def rate(request):
    return request.param


def slack(rate, *times):
    """What the last bits of the times can bring, at ten times the average rate or more."""
    return 4 * math.ulp(max(times)) * 5e7


@settings(max_examples=30, deadline=None)
@given(start=starts, amount=amounts)
@pytest.mark.parametrize("name", RATES)
def test_the_end_is_the_earliest_time_at_which_so_much_has_passed(name, start, amount):
    rate = RATES[name]
    end = rate.end(start, amount)
    assert end >= start
    if end == math.inf:
        assert rate.between(start, 1e6) < amount * (1 + 1e-12)
        return
    passed = rate.between(start, end)
    assert passed == pytest.approx(amount, rel=1e-12, abs=slack(rate, end))
    before = start + (end - start) * (1 - 1e-9)
    assert rate.between(start, before) < amount or end - before <= math.ulp(end)


@settings(max_examples=20, deadline=None)
@given(t=times, u=times)
@pytest.mark.parametrize("name", RATES)
def test_amount_and_when_are_inverse_where_something_passes(name, t, u):
    rate = RATES[name]
    amount = rate.amount(t)
    back = rate.when(amount)
    # The last bit of an amount in an outage may lie behind it.
    assert back <= t or rate.between(t, back) <= 1e-12 * amount + slack(rate, t)
    assert rate.amount(back) == pytest.approx(amount, rel=1e-12, abs=slack(rate, t))
    early, late = sorted((t, u))
    assert rate.amount(early) <= rate.amount(late) * (1 + 1e-15)
    parts = rate.amount(early) + rate.between(early, late)
    assert parts == pytest.approx(rate.amount(late), rel=1e-12, abs=slack(rate, late))


@settings(max_examples=20, deadline=None)
@given(start=starts, first=amounts, second=amounts)
@pytest.mark.parametrize("name", RATES)
def test_one_message_after_the_other_takes_as_long_as_both(name, start, first, second):
    rate = RATES[name]
    between = rate.end(start, first)
    both, chained = rate.end(start, first + second), rate.end(between, second)
    if math.inf in (both, chained):
        # What a stopping link still brings is met to rounding only.
        left = rate.between(start, 1e6)
        assert both == chained or first + second == pytest.approx(left, rel=1e-9)
        return
    passed = [rate.between(start, end) for end in (both, chained)]
    assert passed[0] == pytest.approx(passed[1], rel=1e-12, abs=slack(rate, both))


@pytest.mark.parametrize(("start", "seconds"), [(0.0, 40.0), (13.7, 90.0), (171.3, 61.0)])
def test_the_integral_is_a_fine_riemann_sum_of_the_rate(rate, start, seconds):
    pieces = 10_000
    width = seconds / pieces
    heights = [rate.at(start + (i + 0.5) * width) for i in range(pieces)]
    # A jump within a piece costs at most its height times the width.
    jumps = np.abs(np.diff(heights)).sum()
    assert rate.between(start, start + seconds) == pytest.approx(
        math.fsum(heights) * width, abs=jumps * width + 1e-9 * sum(heights) * width
    )


def test_the_mean_is_the_average_of_a_long_time(rate):
    start, span = 1e3, 1e4
    # A period that is cut costs less than 4 %; drawn cells are tested against their standard error.
    average = rate.between(start, start + span) / span
    assert average == pytest.approx(rate.mean(), rel=0.5 if isinstance(rate, RandomWalk) else 0.04)


@pytest.mark.parametrize("amount", [1e4, 1e6, 1e8])
def test_a_million_seconds_later_nothing_is_lost_but_the_last_bits_of_the_time(rate, amount):
    for start in (1e6, 1e6 + 0.123, 3.7e6):
        end = rate.end(start, amount)
        if end == math.inf:
            assert rate.mean() == 0
            continue
        passed = rate.between(start, end)
        fastest = 5e7
        # Two times are rounded, to 2^-33 s and less.
        assert passed == pytest.approx(amount, rel=1e-12, abs=2 * math.ulp(end) * fastest)


def test_nothing_passes_at_once_and_infinity_never(rate):
    assert rate.end(7.25, 0) == 7.25
    assert rate.end(7.25, math.inf) == rate.end(math.inf, 1.0) == math.inf
    assert rate.end(math.inf, 0.0) == math.inf
    assert rate.between(3.0, 3.0) == rate.amount(0) == rate.when(0) == 0
    assert rate.end(1.0, 1e5, 17) == rate.end(1.0, 1e5)


@pytest.mark.parametrize(
    ("start", "amount"), [(-1.0, 1.0), (1.0, -1.0), (math.nan, 1.0), (1.0, math.nan)]
)
def test_negative_times_and_amounts_are_refused(rate, start, amount):
    with pytest.raises(ConfigurationError, match="both must be numbers >= 0"):
        rate.end(start, amount)


@pytest.mark.parametrize(
    ("start", "end"), [(-1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0), (1.0, math.nan)]
)
def test_spans_that_are_none_are_refused(rate, start, end):
    with pytest.raises(ConfigurationError, match="not a span of time"):
        rate.between(start, end)


def test_configs_tell_rates_apart():
    configs = {json.dumps(rate.to_config(), allow_nan=False) for rate in RATES.values()}
    assert len(configs) == len(RATES)


def test_rates_are_values(rate):
    copy = pickle.loads(pickle.dumps(rate))
    assert copy == rate
    assert hash(copy) == hash(rate)
    assert copy.to_config() == rate.to_config()
    assert copy.end(11.0, 1e6) == rate.end(11.0, 1e6)
    assert isinstance(rate.at(3), float)
    assert "object at" not in repr(rate)
