"""Recordings against a plain loop over their samples in exact fractions."""

import math
import time
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dopt.data import load_traces
from dopt.errors import ConfigurationError, DataError
from simulators.rates import Recorded


def pieces(t, values, end, longest_gap):
    """(begin, end, rate) one after the other for ever, as the definition says, exactly."""
    t = [Fraction(float(x)) - Fraction(float(t[0])) for x in t]
    steps = [b - a for a, b in pairwise(t)]
    # The median as a double, since that is how long the last sample lasts.
    last = Fraction(float(np.median([float(s) for s in steps]))) if steps else Fraction(1)
    offset = Fraction(0)
    while True:
        for i, (begin, rate) in enumerate(zip(t, values, strict=True)):
            over = begin + (steps[i] if i < len(steps) else last)
            if end == "hold" and i == len(t) - 1:
                yield begin, None, Fraction(float(rate))
                return
            if longest_gap is not None and over - begin > Fraction(longest_gap):
                yield offset + begin, offset + begin + Fraction(longest_gap), Fraction(float(rate))
                yield offset + begin + Fraction(longest_gap), offset + over, Fraction(0)
            else:
                yield offset + begin, offset + over, Fraction(float(rate))
        if end == "stop":
            yield over, None, Fraction(0)
            return
        offset += t[-1] + last


def plain_end(t, values, end, longest_gap, start, amount):
    """Walks from piece to piece until the amount has passed."""
    left, now = Fraction(amount), Fraction(start)
    for begin, over, rate in pieces(t, values, end, longest_gap):
        if over is not None and over <= now:
            continue
        now = max(now, begin)
        if over is None:
            return float(now + left / rate) if rate else math.inf
        if left <= rate * (over - now):
            return float(now + left / rate)
        left -= rate * (over - now)
        now = over
    raise AssertionError("the pieces of a recording have no end")


def plain_amount(t, values, end, longest_gap, until):
    passed = Fraction(0)
    for begin, over, rate in pieces(t, values, end, longest_gap):
        if over is None or over >= until:
            return float(passed + rate * (Fraction(until) - begin))
        passed += rate * (over - begin)
    raise AssertionError("the pieces of a recording have no end")


@st.composite
def recordings(draw):
    count = draw(st.integers(1, 12))
    steps = draw(st.lists(st.floats(0.01, 20.0), min_size=count, max_size=count))
    rate = st.one_of(st.just(0.0), st.floats(1.0, 1e6))
    values = draw(st.lists(rate, min_size=count, max_size=count).filter(any))
    end = draw(st.sampled_from(["repeat", "hold", "stop"] if count > 1 else ["repeat", "hold"]))
    longest = draw(st.one_of(st.none(), st.floats(0.5, 10.0)))
    return np.cumsum(steps).tolist(), values, end, longest


@settings(max_examples=150, deadline=None)
@given(recordings(), st.floats(0.0, 300.0), st.floats(1.0, 1e8))
def test_random_recordings_end_as_the_plain_loop_says(recording, start, amount):
    t, values, end, longest = recording
    rate = Recorded(t, values, end, longest)
    # At most some periods for the loop.
    amount = min(amount, 20 * rate.amount(rate.edges[-1]) + 20 * values[-1])
    expected = plain_end(t, values, end, longest, start, amount)
    found = rate.end(start, amount)
    if math.isclose(found, expected, rel_tol=1e-12):
        return
    # Where an amount is met just before an outage, its last bit decides on which side.
    nearly = [rate.end(start, amount * (1 + sign * 1e-13)) for sign in (-1, 1)]
    assert nearly[0] <= expected * (1 + 1e-12)
    assert expected <= nearly[1] * (1 + 1e-12)


@settings(max_examples=100, deadline=None)
@given(recordings(), st.floats(0.0, 500.0))
def test_random_recordings_bring_what_the_plain_loop_counts(recording, t):
    expected = plain_amount(*recording, t)
    assert Recorded(*recording).amount(t) == pytest.approx(expected, rel=1e-12, abs=1e-6)


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        "fcc_backup_150",
        "fcc_pensieve_59",
        "hsdpa_3g_norway",
        "lumos5g_verizon_4g",
        "lumos5g_verizon_5g",
        "oboe_half_a",
        "puffer_20211017_200",
    ],
)
def test_real_traces_carry_messages_as_the_plain_loop_says(name):
    rng = np.random.default_rng(7)
    for trace in load_traces(name)[::60]:
        for end, longest in (("repeat", None), ("repeat", 8.0), ("hold", None), ("stop", 20.0)):
            recording = trace.t.tolist(), (trace.mbps * 1e6).tolist(), end, longest
            rate = Recorded(*recording)
            period = rate.edges[-1]
            total = rate.between(0, period)
            for amount in (1.0, 1e4, 1e6, 0.3 * total, 1.7 * total):
                start = float(rng.uniform(0, 1.2 * period))
                found, expected = rate.end(start, amount), plain_end(*recording, start, amount)
                assert found == pytest.approx(expected, rel=1e-11)


def test_outages_gaps_and_ends_by_hand():
    rate = Recorded([10, 12, 13, 20], [4.0, 0.0, 2.0, 1.0], longest_gap=3)
    # Shifted to 0; the median step of 2, 1 and 7 is 2; from 6 to 10 is an outage.
    assert rate.edges == (0, 2, 3, 6, 10, 12)
    assert rate.values == (4, 0, 2, 0, 1)
    assert [rate.at(t) for t in (0, 1.99, 2, 3, 5.99, 6, 9.99, 10, 12, 14)] == [
        *(4, 4, 0, 2, 2, 0, 0, 1, 4, 0)
    ]
    assert rate.when(8) == 2  # the earliest time, not the end of the outage
    assert rate.when(9) == 3.5
    assert rate.end(2, 6) == 6
    assert rate.end(7, 1) == 11
    assert rate.amount(12) == 16
    assert rate.when(16 * 1000) == 12_000
    assert rate.when(16 * 1000 + 1) == 12_000.25
    assert rate.mean() == 16 / 12


def test_a_few_bits_are_not_lost_in_what_passed_before():
    t, values = [0.0, 1e9, 2e9, 3e9, 4e9], [1e9, 0.0, 0.0, 1e6, 0.0]
    for end, after in (("repeat", 5e9 + 1e-9), ("stop", math.inf), ("hold", math.inf)):
        rate = Recorded(t, values, end)
        assert rate.end(1e9 - 1.0, 1e9) == 1e9
        assert rate.end(1.5e9, 1.0) == 3e9 + 1e-6
        assert rate.end(1e9, 1e-3) == 3e9 + 1e-9
        assert rate.end(4.5e9, 1.0) == after


def test_holding_and_stopping_by_hand():
    hold = Recorded([0, 2], [4.0, 1.0], "hold", longest_gap=1)
    assert [hold.when(a) for a in (4, 5, 100)] == [1, 3, 98]
    assert hold.mean() == 1
    stop = Recorded([0, 2], [4.0, 1.0], "stop")
    assert [stop.when(a) for a in (8, 9, 10, 10.5)] == [2, 3, 4, math.inf]
    assert (stop.amount(4), stop.amount(1e9), stop.mean(), stop.at(4)) == (10, 10, 0, 0)
    assert stop.end(4, 1e-9) == math.inf
    dead = Recorded([0, 2], [4.0, 0.0], "hold")
    assert [dead.when(a) for a in (8, 9)] == [2, math.inf]
    assert Recorded([3.5], [2.0]).end(1.0, 5.0) == 3.5
    assert Recorded([3.5], [2.0], "hold").end(1.0, 5.0) == 3.5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([], []), DataError, "t is empty"),
        (([0, 1], [1.0]), DataError, "2 times and 1 values"),
        (([0, 1], [1.0, np.nan]), DataError, r"values\[1\] = nan"),
        (([0, 1], [np.inf, np.nan]), DataError, r"values\[0\] = inf \(and 1 more\)"),
        (([0, 1], [1.0, -2.0]), DataError, r"values\[1\] = -2.0 is not a rate a second"),
        (([-1, 1], [1.0, 2.0]), DataError, r"t\[0\] = -1.0 is not seconds"),
        (([0, np.nan], [1.0, 2.0]), DataError, r"t\[1\] = nan"),
        (([0, np.inf], [1.0, 2.0]), DataError, r"t\[1\] = inf"),
        (([0, 2, 1], [1.0, 2.0, 3.0]), DataError, r"t\[2\] = 1.0 does not come after t\[1\] = 2.0"),
        (([0, 2, 2], [1.0, 2.0, 3.0]), DataError, r"t\[2\] = 2.0 .* keep one of those"),
        (([0, 1], [0.0, 0.0]), DataError, "all 2 values are zero: nothing would ever pass"),
        ((np.array([[0, 1]]), [1.0, 2.0]), DataError, r"t has shape \(1, 2\)"),
        ((np.array(["a"]), [1.0]), DataError, "t must be a flat list of numbers"),
        (([0, 1e300], [1e300, 1.0]), DataError, "beyond what a double holds"),
        (([0, 1], [1.0, 2.0], "loop"), ConfigurationError, "end = 'loop'; it must be one of"),
        (([0, 1], [1.0, 2.0], "repeat", 0.0), ConfigurationError, "longest_gap = 0"),
        (([0], [1.0], "stop"), ConfigurationError, "one sample does not say how long"),
    ],
)
def test_what_is_no_recording_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Recorded(*arguments)


def test_recordings_that_differ_have_other_configs():
    t, values = [0.0, 1.0, 5.0], [1.0, 2.0, 0.0]
    rates = [Recorded(t, values, end) for end in ("repeat", "hold", "stop")]
    rates += [Recorded(t, values, longest_gap=3.0), Recorded(t, [1.0, 2.0, 5e-324])]
    assert len({str(rate.to_config()) for rate in rates}) == len(set(rates)) == 5
    same = Recorded(np.array(t) + 3, np.float32(values))
    assert same == rates[0]
    assert same.to_config() == rates[0].to_config()


def test_an_end_in_a_long_recording_takes_no_longer_than_in_a_short_one():
    def seconds(rate):
        began = time.perf_counter()
        for start in starts:
            type(rate)._end(rate, start, 1e9)
        return time.perf_counter() - began

    rng = np.random.default_rng(1)
    starts = rng.uniform(0, 1e5, 1_000).tolist()
    short, long = (
        Recorded(np.cumsum(rng.uniform(0.1, 2, size)), rng.uniform(0, 5e6, size))
        for size in (100, 100_000)
    )
    fastest = np.min([(seconds(short), seconds(long)) for _ in range(5)], axis=0)
    # A linear search takes a thousand times as long.
    assert fastest[1] < 20 * fastest[0]
