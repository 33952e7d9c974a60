import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from dopt.errors import ConfigurationError
from simulators.cluster import Cluster


def test_a_message_takes_latency_and_its_coordinates():
    cluster = Cluster([1.0, 2.0], [0.5, 0.25], downlink=[0.125, 0.0], latency=[10.0, 20.0])
    costs = cluster.costs(d=100, dtype=np.float32, message_bits=3 * 32)
    assert costs.h.tolist() == [1.0, 2.0]
    assert costs.tau.tolist() == [10 + 3 * 0.5, 20 + 3 * 0.25]
    assert costs.tau_dense.tolist() == [10 + 100 * 0.5, 20 + 100 * 0.25]
    assert costs.tau_down.tolist() == [10 + 100 * 0.125, 20.0]
    assert (costs.message_bits, costs.dense_bits) == (96, 3200)


@pytest.mark.parametrize(
    ("dtype", "bits"), [(np.float32, 32), (np.float64, 64), (jnp.bfloat16, 16), ("float16", 16)]
)
def test_a_coordinate_is_one_number_of_the_dtype(dtype, bits):
    costs = Cluster([1.0], [1.0]).costs(d=7, dtype=dtype, message_bits=2 * bits)
    assert costs.tau.tolist() == [2.0]
    assert costs.tau_dense.tolist() == [7.0]
    assert costs.dense_bits == 7 * bits


def test_bits_and_coordinates_agree():
    coordinates = Cluster([1.0, 3.0], [32.0, 64.0], downlink=16.0, latency=0.5)
    bits = Cluster([1.0, 3.0], [1.0, 2.0], downlink=0.5, latency=0.5, unit="bit")
    for dtype, factor in ((np.float32, 1.0), (np.float64, 2.0)):
        a = coordinates.costs(d=10, dtype=dtype, message_bits=128)
        b = bits.costs(d=10, dtype=dtype, message_bits=128)
        for name in ("tau", "tau_dense", "tau_down"):
            in_coordinates, in_bits = getattr(a, name) - 0.5, getattr(b, name) - 0.5
            np.testing.assert_allclose(factor * in_coordinates, in_bits, rtol=1e-15)


def test_one_number_serves_every_worker():
    cluster = Cluster([1.0, 2.0, 3.0], 0.5)
    assert cluster.uplink.tolist() == [0.5, 0.5, 0.5]
    assert cluster.downlink.tolist() == cluster.latency.tolist() == [0.0, 0.0, 0.0]


def test_a_silent_worker_is_allowed_and_costs_infinity():
    cluster = Cluster([1.0, np.inf, 2.0], [0.5, 0.5, np.inf])
    costs = cluster.costs(d=3, dtype=np.float64, message_bits=64)
    assert costs.h.tolist() == [1.0, np.inf, 2.0]
    assert costs.tau_dense.tolist() == [1.5, 1.5, np.inf]
    assert cluster.describe().endswith("2 never answer")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, -2.0], 0.0), r"h\[1\] = -2.0 of worker 1 is not a time"),
        (([1.0, 1.0], [0.0, np.nan]), r"uplink\[1\] = nan of worker 1"),
        (([1.0], 0.0, -1.0), r"downlink\[0\] = -1.0 of worker 0"),
        (([1.0], 0.0, 0.0, [-np.inf]), r"latency\[0\] = -inf of worker 0"),
        (([], 0.0), "h is empty; a cluster needs at least one worker"),
        (([1.0, 2.0], [1.0]), "uplink has 1 workers and h has 2"),
        ((np.ones((1, 1)), 0.0), r"h has shape \(1, 1\); give a flat array"),
        ((np.array(1.0), 0.0), r"h has shape \(\); give a flat array"),
        ((np.array(["fast"]), 0.0), "h must hold one number of seconds for each worker"),
        (([1.0], 0.0, 0.0, 0.0, "byte"), "unit = 'byte'; it must be 'coordinate' or 'bit'"),
        (([np.inf, np.inf], 0.0), "none of the 2 workers ever answers"),
        (([np.inf, 1.0], [0.0, np.inf]), "none of the 2 workers ever answers"),
    ],
)
def test_bad_clusters_are_refused_with_a_sentence(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        Cluster(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"d": 0, "message_bits": 32}, "d = 0"), ({"d": 1, "message_bits": 0}, "message_bits = 0")],
)
def test_costs_of_nothing_are_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        Cluster([1.0], 0.0).costs(dtype=np.float32, **arguments)


def test_config_differs_where_the_cluster_differs():
    one = Cluster([1.0, 2.0], [0.5, np.inf], downlink=0.0, latency=0.0)
    others = [
        dataclasses.replace(one, h=np.array([1.0, np.nextafter(2.0, 3.0)])),
        dataclasses.replace(one, latency=np.array([0.0, 1.0])),
        dataclasses.replace(one, unit="bit"),
        Cluster([1.0, 2.0], 0.0, downlink=[0.5, np.inf]),
    ]
    configs = [json.dumps(c.to_config(), allow_nan=False) for c in (one, *others)]
    assert len(set(configs)) == 5
    assert Cluster([1, 2], [0.5, np.inf], -0.0).to_config() == one.to_config()


def test_a_changed_cluster_loses_its_recipe():
    one = Cluster([1.0, 2.0], 0.0, recipe={"preset": "mine"})
    assert one.to_config() == {"preset": "mine"}
    assert "preset" not in dataclasses.replace(one, h=np.array([1.0, 3.0])).to_config()


def test_description_and_repr_are_one_line():
    cluster = Cluster([1.0, 2.0], 0.25, latency=[0.0, 0.5], recipe={"preset": "mine"})
    assert cluster.describe() == (
        "2 workers: h 1..2 s/gradient, uplink 0.25 s/coordinate, downlink 0, "
        "latency 0..0.5 s/message"
    )
    assert repr(cluster) == "Cluster({'preset': 'mine'}, " + cluster.describe() + ")"
