"""Where processes of live workers go."""

import pytest

from simulators.live.crew import spread


@pytest.mark.parametrize(
    ("cpus", "processes", "places"),
    [
        ([2.0], 3, [0, 0, 0]),
        ([4.0, 2.0], 6, [0, 0, 1, 0, 0, 1]),
        ([0.0, 1.0, 1.0], 3, [1, 2, 1]),
        ([0.0, 0.0], 2, [0, 1]),
    ],
)
def test_processes_are_spread_by_processors(cpus, processes, places):
    assert spread(cpus, processes) == places
