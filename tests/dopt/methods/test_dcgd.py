"""DCGD against its algorithm in plain numpy."""

import numpy as np
import pytest
from families import D, N
from rounds import NUMBER, ROUNDS, check_totals, gradients, played, same, sent

from compressors import CorrelatedQuantization, NaturalCompression
from dopt.methods import DCGD


@pytest.mark.parametrize(
    ("C", "bits"),
    [
        # Sign and exponent of 20 entries, 12 bits each, in whole words.
        (NaturalCompression(), 256),
        # One bit each in one word, and the norm.
        (CorrelatedQuantization(), 32 + NUMBER),
    ],
)
def test_it_is_its_algorithm(C, bits):
    schedule, models = played(DCGD(0.1, C))
    x = np.zeros(D)
    expected = [x]
    for k in range(ROUNDS):
        x = x - 0.1 * sent(C, gradients(x), k, version=k).mean(axis=0)
        expected.append(x)
    same(models, expected)
    check_totals(schedule, gradients=N, bits_up=N * bits)
