"""Live workers on two nodes, one of which goes away."""

import numpy as np
import pytest
from rays import nodes, remove

from dopt.methods import AsynchronousSGD, MinibatchSGD
from dopt.problems import GaussianNoise, TridiagonalQuadratic
from dopt.replay.plain import plain_replay
from dopt.results import Status
from simulators.cluster import Cluster


pytestmark = pytest.mark.ray

PROBLEM = TridiagonalQuadratic(20, mu=1e-3, noise=GaussianNoise(0.05))
COSTS = Cluster(np.ones(4), np.zeros(4)).costs(d=20, dtype=PROBLEM.dtype, message_bits=1280)


@pytest.mark.parametrize(
    ("method", "steps"),
    [
        (AsynchronousSGD(0.1), 400),
        pytest.param(MinibatchSGD(0.1), 20, marks=pytest.mark.slow),
    ],
)
def test_a_node_that_goes_away_takes_its_workers_along(method, steps):
    from simulators.live import live

    with nodes(2) as two:
        (node,) = two.worker_nodes

        def on_step(k):
            if k == 3:
                remove(two, node)

        lived = live(
            *(PROBLEM, method, COSTS), steps=steps, processes=2, patience=120.0, on_step=on_step
        )
    gone = [i for i in range(4) if lived.memory[i % 2] is None]
    assert gone in ([0, 2], [1, 3])
    again = plain_replay(PROBLEM, method, lived.schedule)
    np.testing.assert_array_equal(np.stack(again), np.stack(lived.models))
    if isinstance(method, AsynchronousSGD):
        assert (lived.status, lived.schedule.K) == (Status.FINISHED, steps)
        assert not set(gone) & set(lived.schedule.arrivals.worker[-20:].tolist())
    else:
        assert lived.status is Status.NO_PROGRESS
        assert f"workers {gone[0]} and {gone[1]} died" in lived.reason
        assert 3 <= lived.schedule.K < steps
