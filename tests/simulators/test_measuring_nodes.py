"""Two nodes of one machine measured, and one of them removed in the middle."""

import pytest
import rays

from dopt.problems import GaussianNoise, TridiagonalQuadratic
from simulators.measuring import GRADIENTS, measure


pytestmark = [pytest.mark.ray, pytest.mark.slow]

PROBLEM = TridiagonalQuadratic(100, mu=1e-3, noise=GaussianNoise(0.05))


def test_a_node_that_is_removed_is_left_out(monkeypatch):
    monkeypatch.setattr("simulators.link_times.SIZES", (0, 2**10, 2**18))
    with rays.nodes(2) as cluster:
        both = measure(PROBLEM, seconds=0.5)
        assert both.cluster.n == len(set(both.samples["node"])) == 2
        assert not both.lost
        removed = []

        def on_state(what, share):
            if what == GRADIENTS and share > 0.3 and not removed:
                removed.append(cluster.list_all_nodes()[1].node_id[:6])
                rays.remove(cluster, cluster.list_all_nodes()[1])

        one = measure(PROBLEM, seconds=2.0, patience=40.0, on_state=on_state)
        (sentence,) = one.lost
        assert removed[0] in sentence
        assert "was lost" in sentence
        assert one.cluster.n == 1
        assert removed[0] not in one.workers[0]
