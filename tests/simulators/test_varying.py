"""Clusters that vary: as fixed ones where nothing does, as loops over time where it does."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dopt.errors import ConfigurationError, DataError
from simulators.cluster import Cluster
from simulators.rates import Constant, Durations, Noisy, Recorded, Sine
from simulators.varying import VaryingCluster, VaryingCosts


SIZES = {"d": 100, "dtype": np.float32, "message_bits": 96}
LINK = Recorded([0.0, 1.0, 2.0, 5.0], [1000.0, 0.0, 500.0, 2000.0])


def plain_arrival(link, start, bits, step=5e-4):
    """The time at which `bits` have passed, second by second in fine steps of the rate itself."""
    passed, now = 0.0, start
    while passed < bits:
        passed += link.at(now + step / 2) * step
        now += step
    return now


def test_constant_rates_are_a_fixed_cluster():
    h, up, down, latency = [0.5, 2.0], [1e3, 4e3], [2e3, 8e3], [0.25, 0.0]
    fixed = Cluster(h, 1 / np.array(up), 1 / np.array(down), latency, unit="bit").costs(**SIZES)
    varying = VaryingCluster(
        h, [Constant(x) for x in up], [Constant(x) for x in down], latency
    ).costs(**SIZES)
    assert isinstance(varying, VaryingCosts)
    assert varying.varying
    assert not fixed.varying
    for name in ("h", "tau", "tau_dense", "tau_down", "latency"):
        np.testing.assert_allclose(getattr(varying, name), getattr(fixed, name), rtol=1e-15)
    assert (varying.message_bits, varying.dense_bits) == (96, 3200)
    for worker in range(2):
        for start in (0.0, 7.3):
            acts = [
                ("computed", start, 3, 5),
                ("uploaded", start, 960),
                ("downloaded", start, 3200),
                ("up_bits", start, 1.75),
                ("down_bits", start, 1.75),
                ("up_bits", start, 0.2),
            ]
            for name, *arguments in acts:
                found = getattr(varying, name)(worker, *arguments)
                assert found == pytest.approx(getattr(fixed, name)(worker, *arguments), rel=1e-13)


@pytest.mark.parametrize(
    "link", [LINK, Sine(900.0, 1.3, 100.0), Noisy(LINK, 0.4, every=0.3, seed=2)]
)
@pytest.mark.parametrize(("start", "bits"), [(0.0, 700), (0.4, 3000), (1.5, 96), (13.3, 9000)])
def test_messages_take_the_integral_of_their_link_and_the_latency(link, start, bits):
    costs = VaryingCluster([1.0], link, link, latency=0.5).costs(**SIZES)
    expected = plain_arrival(link, start, bits) + 0.5
    assert costs.uploaded(0, start, bits) == pytest.approx(expected, abs=2e-3)
    assert costs.downloaded(0, start, bits) == costs.uploaded(0, start, bits)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 50.0), st.integers(1, 20_000))
def test_the_bits_of_the_time_that_a_message_takes_are_its_own(start, bits):
    costs = VaryingCluster([1.0], LINK, LINK, latency=0.125).costs(**SIZES)
    seconds = costs.uploaded(0, start, bits) - start
    assert costs.up_bits(0, start, seconds) == pytest.approx(bits, rel=1e-9)
    assert costs.down_bits(0, start, seconds) == pytest.approx(bits, rel=1e-9)
    assert costs.up_bits(0, start, 0.125) == costs.up_bits(0, start, 0.0) == 0


def test_gradients_follow_recorded_durations_rates_and_numbers():
    compute = [0.5, Durations([1.0, 2.0, 4.0]), Sine(0.0, 1.0, 8.0), Recorded([0, 2], [0.0, 1.0])]
    costs = VaryingCluster(compute, Constant(1.0)).costs(**SIZES)
    assert [costs.computed(i, 10.0, 4, before=1) for i in range(4)] == [12.0, 19.0, 10.5, 16.0]
    assert [costs.computed(i, 10.0, 0, before=1) for i in range(4)] == [10.0] * 4
    np.testing.assert_allclose(costs.h, [0.5, 7 / 3, 0.125, 2.0], rtol=1e-15)


def test_a_free_broadcast_takes_no_time_at_all():
    costs = VaryingCluster([1.0, 1.0], Constant(1e3), latency=2.0).costs(**SIZES)
    assert costs.downloaded(1, 3.5, 10**9) == 3.5
    assert costs.down_bits(1, 3.5, 0.5) == math.inf
    assert costs.tau_down.tolist() == [0, 0]
    assert float(costs.downlink_seconds(0, 10)) == 0
    assert float(costs.uplink_seconds(0, 500)) == pytest.approx(2.5)


def test_coordinates_are_numbers_of_the_dtype():
    bits = VaryingCluster([1.0], Constant(640.0), Constant(64.0))
    coordinates = VaryingCluster([1.0], Constant(10.0), Constant(1.0), unit="coordinate")
    sizes = {**SIZES, "dtype": np.float64}
    a, b = bits.costs(**sizes), coordinates.costs(**sizes)
    for name in ("tau", "tau_dense", "tau_down"):
        assert getattr(a, name).tolist() == getattr(b, name).tolist()
    assert a.uploaded(0, 2.0, 640) == b.uploaded(0, 2.0, 640) == 3.0
    assert a.up_bits(0, 2.0, 3.0) == b.up_bits(0, 2.0, 3.0) == 1920


def test_averages_plan_and_a_link_that_stops_is_infinite():
    stops = Recorded([0.0, 1.0], [100.0, 100.0], "stop")
    cluster = VaryingCluster([1.0, 1.0], [LINK, stops], [stops, LINK])
    costs = cluster.costs(**SIZES)
    average = (1000 + 0 + 1500 + 2000) / 6
    np.testing.assert_allclose(costs.tau, [96 / average, np.inf])
    np.testing.assert_allclose(costs.tau_down, [np.inf, 3200 / average])
    assert costs.uploaded(1, 0.0, 200) == 2.0
    assert costs.uploaded(1, 0.0, 201) == costs.downloaded(0, 3.0, 1) == math.inf
    assert costs.up_bits(1, 1.5, 1e9) == 50
    assert "uplink 0..750 bit/s" in cluster.describe()


def test_configs_differ_where_clusters_do():
    one = VaryingCluster([1.0, 2.0], LINK)
    others = [
        VaryingCluster([1.0, 2.0], LINK, LINK),
        VaryingCluster([1.0, np.nextafter(2.0, 3.0)], LINK),
        VaryingCluster([1.0, 2.0], [LINK, Constant(750.0)]),
        VaryingCluster([1.0, 2.0], LINK, latency=[0.0, 1e-9]),
        VaryingCluster([1.0, 2.0], LINK, unit="coordinate"),
        VaryingCluster([Constant(1.0), Constant(0.5)], LINK),
    ]
    configs = {json.dumps(c.to_config(), allow_nan=False) for c in (one, *others)}
    assert len(configs) == 7
    assert VaryingCluster((1, Durations([2])), [LINK, LINK]).to_config() == one.to_config()
    named = VaryingCluster([1.0], LINK, recipe={"traces": "mine"})
    assert named.to_config() == {"traces": "mine"}
    assert repr(named) == "VaryingCluster({'traces': 'mine'}, " + named.describe() + ")"


def test_description_is_one_line():
    cluster = VaryingCluster([0.1, Constant(5)], [Constant(1e6), LINK], LINK, latency=0.01)
    assert cluster.describe() == (
        "2 workers, varying, on average: h 0.1..0.2 s/gradient, uplink 750..1e+06 bit/s, "
        "downlink 750 bit/s, latency 0.01 s/message"
    )
    assert cluster.n == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([], LINK), ConfigurationError, "compute is empty"),
        (([1.0, 1.0], [LINK]), ConfigurationError, "uplink has 1 workers and compute has 2"),
        (([1.0], LINK, [LINK, LINK]), ConfigurationError, "downlink has 2 workers"),
        (([1.0], LINK, None, [0.0, 1.0]), ConfigurationError, "latency has 2 workers"),
        (([1.0], LINK, None, -1.0), ConfigurationError, r"latency\[0\] = -1.0"),
        (([1.0], LINK, None, math.inf), ConfigurationError, "an infinite latency"),
        (([1.0], LINK, None, 0.0, "byte"), ConfigurationError, "unit = 'byte'"),
        (([-1.0], LINK), DataError, r"seconds\[0\] = -1.0 is not a duration"),
        (([math.inf], LINK), DataError, r"seconds\[0\] = inf"),
    ],
)
def test_bad_clusters_are_refused_with_a_sentence(arguments, error, message):
    with pytest.raises(error, match=message):
        VaryingCluster(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"d": 0, "message_bits": 32}, "d = 0"), ({"d": 1, "message_bits": 0}, "message_bits = 0")],
)
def test_costs_of_nothing_are_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        VaryingCluster([1.0], LINK).costs(dtype=np.float32, **arguments)
