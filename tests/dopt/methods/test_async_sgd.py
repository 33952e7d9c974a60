"""The rules of asynchronous SGD for late gradients."""

from types import SimpleNamespace

import numpy as np
import pytest
from families import METHODS, D, N, costs_for, least_squares, run, schedule_for

from dopt.errors import ConfigurationError
from dopt.methods import AsynchronousSGD
from dopt.policies import EveryArrival


@pytest.mark.parametrize(
    ("rule", "policy"),
    [
        ("adaptive", EveryArrival(full_weight_until=N)),
        ("discard", EveryArrival(max_delay=N)),
        ("plain", EveryArrival()),
    ],
)
def test_a_gradient_is_late_after_as_many_steps_as_there_are_workers(rule, policy):
    method = AsynchronousSGD(0.1, rule)
    assert method.policy(costs_for(method, least_squares()), D) == policy


def test_the_first_late_gradient_moves_the_model_by_its_share():
    problem, method = least_squares(), METHODS["async-adaptive"](D, N)
    rows = schedule_for(method, problem).arrivals
    delay = rows.step - rows.version
    late = int(np.flatnonzero(delay > N)[0])
    np.testing.assert_allclose(rows.weight, np.minimum(1, N / np.maximum(delay, 1)))
    adaptive, plain = run("async-adaptive").models, run("async-plain").models
    np.testing.assert_array_equal(adaptive[: late + 1], plain[: late + 1])
    moved, full = adaptive[late + 1] - adaptive[late], plain[late + 1] - plain[late]
    np.testing.assert_allclose(moved, full * N / delay[late], rtol=1e-9)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ConfigurationError, match="'late' is none of adaptive, discard, plain"):
        AsynchronousSGD.__post_init__(SimpleNamespace(rule="late"))
