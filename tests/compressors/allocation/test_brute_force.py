import numpy as np
import pytest

from compressors.allocation import brute_force


def test_a_case_done_by_hand():
    errors = np.asarray([[9.0, 4.0, 0.0], [5.0, 1.0, 0.5]])
    bits = np.asarray([[1, 3, 6], [1, 2, 7]])
    got = {budget: brute_force(errors, bits, budget).tolist() for budget in (1, 2, 3, 5, 7, 8, 13)}
    assert got == {
        1: [0, 0],
        2: [0, 0],
        3: [0, 1],
        5: [1, 1],
        7: [1, 1],
        8: [2, 1],
        13: [2, 2],
    }


def test_too_many_choices_are_refused():
    with pytest.raises(ValueError, match=r"5\^8 choices of rungs are more than 100000"):
        brute_force(np.zeros((8, 5)), np.zeros((8, 5), int), 1)
