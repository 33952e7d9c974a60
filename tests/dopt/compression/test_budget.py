import itertools
import math

import numpy as np
import pytest
from compressing import CONFIG

from compressors.weights import HIGGS, RoundToNearest
from compressors.weights.choices import candidates, expected_error
from dopt.compression.budget import LARGEST_ERROR, dynamic, uniform
from dopt.errors import ConfigurationError
from dopt.models.parameters import linear_paths, parameter_shapes


PLACES = linear_paths(CONFIG)
SHAPES = {place: parameter_shapes(CONFIG)[place] for place in PLACES}
WEIGHTS = sum(math.prod(shape) for shape in SHAPES.values())
ALPHA = {p: float(a) for p, a in zip(PLACES, np.random.default_rng(0).exponential(size=21))}  # noqa: B905


def few(quantizer):
    """Options that brute force can go through."""
    return isinstance(quantizer, HIGGS) and quantizer.n in (16, 64, 256) and quantizer.p == 2


def predicted(allocation):
    return math.fsum(ALPHA[place] * allocation.errors[place] for place in PLACES)


@pytest.mark.parametrize("bits", [2.3, 3.0, 3.7])
def test_uniform_is_brute_force_over_shapes(bits):
    found = uniform(CONFIG, "higgs", bits, few)
    shapes = list(dict.fromkeys(SHAPES.values()))
    options = [candidates("higgs", *shape, few) for shape in shapes]
    best = math.inf
    for choice in itertools.product(*options):
        how = dict(zip(shapes, choice, strict=True))
        spent = sum(how[shape].nbits(*shape) for shape in SHAPES.values())
        error = sum(math.prod(s) * expected_error(how[s], s[1]) for s in SHAPES.values())
        if spent <= bits * WEIGHTS:
            best = min(best, error)
    assert found.bits_a_weight <= bits
    assert found.weights == WEIGHTS
    assert found.bits == sum(q.nbits(*SHAPES[p]) for p, q in found.quantizers.items())
    ours = sum(math.prod(SHAPES[p]) * error for p, error in found.errors.items())
    assert ours == pytest.approx(best, rel=1e-12)
    assert len({(SHAPES[p], q) for p, q in found.quantizers.items()}) == len(shapes)


def test_dynamic_is_better_than_uniform_and_within_the_budget():
    for bits in (2.5, 3.0, 3.6):
        one, each = uniform(CONFIG, "higgs", bits), dynamic(CONFIG, "higgs", bits, ALPHA)
        assert each.bits_a_weight <= bits
        assert predicted(each) < predicted(one)
        assert max(each.errors.values()) <= LARGEST_ERROR
        assert all(how.unbiased for how in each.quantizers.values())


def test_sensitive_matrices_get_more_bits():
    alpha = dict.fromkeys(PLACES, 1.0) | {("layers", 1, "k"): 1000.0, ("layers", 2, "o"): -1.0}
    found = dynamic(CONFIG, "higgs", 3.0, alpha)
    assert found.errors["layers", 1, "k"] < min(
        error for place, error in found.errors.items() if place != ("layers", 1, "k")
    )
    assert found.errors["layers", 2, "o"] == max(found.errors.values())


def test_exact_bits_are_those_of_the_packed_matrices():
    found = uniform(CONFIG, "rtn", 3.5)
    assert all(isinstance(quantizer, RoundToNearest) for quantizer in found.quantizers.values())
    W = np.random.default_rng(0).normal(size=(96, 64))
    packed = found.quantizers["layers", 0, "up"].quantize(W).weight
    assert packed.nbits == found.quantizers["layers", 0, "up"].nbits(96, 64)


def test_refusals():
    with pytest.raises(ConfigurationError, match="method 'foo' is not known; give rtn"):
        uniform(CONFIG, "foo", 4.0)
    with pytest.raises(ConfigurationError, match=r"nf4 needs 4\.\d+ bits a weight"):
        uniform(CONFIG, "nf4", 3.25)
    with pytest.raises(ConfigurationError, match="higgs has no such settings for a matrix"):
        uniform(CONFIG, "higgs", 3.25, lambda how: how.p == 7)
