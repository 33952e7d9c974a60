"""The status and the first record below a target of hand-made runs."""

import numpy as np

from dopt.results import Status
from dopt.trace import Trace


def test_status_and_first_record_below_the_target():
    norm2 = np.array([[[4.0, 1.0, 0.5], [4.0, np.nan, np.nan]], [[4.0, 3.0, 2.0], [1.0, 5.0, 9.0]]])
    counts = np.arange(3)
    trace = Trace(
        np.arange(2),
        np.ones(2),
        counts / 2,
        *(counts,) * 4,
        *(norm2,) * 4,
        np.zeros((2, 2, 1)),
    )
    np.testing.assert_array_equal(trace.diverged, [[False, True], [False, False]])
    np.testing.assert_array_equal(trace.first_below(1.0), [[1, -1], [-1, 0]])
    expected = [
        [Status.TARGET_REACHED, Status.DIVERGED],
        [Status.FINISHED, Status.TARGET_REACHED],
    ]
    assert trace.status(1.0).tolist() == expected
    assert trace.status()[0, 0] is Status.FINISHED
