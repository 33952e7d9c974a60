"""What estimators are in expectation, given the past: over messages, samples, participants, coins.

Workers have been at x and are at x⁺. The estimator g⁺ is drawn in thousands of runs, of other data
seeds and with the participants and coins of other timeline seeds, and E[g⁺ − ∇f(x⁺)] is compared
with what theory says by z-scores.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import D, N, costs_for, least_squares
from rounds import gradients

from compressors import CorrelatedQuantization, PermK, RandK
from dopt.methods import (
    DASHA,
    DIANA,
    MARINA,
    PPMARINA,
    VRMARINA,
    Job,
    job_key,
    round_key,
)
from dopt.policies import Arrival, Assign, Count


K, P, DRAWS = 4, 0.3, 4000
RNG = np.random.default_rng(0)
X, MOVED = RNG.standard_normal((2, D))
G = RNG.standard_normal((N, D))
"""Memories of the workers, as good as any."""


def second_round(policy, seed):
    """Who is asked in it, with which weight, and in which phase."""
    run = policy.run(N, seed)
    actions = next(run)
    for _ in range(2):
        asked = [action for action in actions if isinstance(action, Assign)]
        answers = [run.send(Arrival(assign.worker, 0)) for assign in asked]
        actions = answers[-1]
    (weight,) = {action.weight for some in answers for action in some if isinstance(action, Count)}
    return [assign.worker for assign in asked], weight, asked[0].phase


def estimators(method, memory, workers):
    """g⁺ of all runs, and in which of them the round was full."""
    problem = least_squares()
    policy = method.policy(costs_for(method, problem), D)
    rounds = [second_round(policy, seed) for seed in range(DRAWS)]
    keys = jax.random.split(jax.random.key(1), DRAWS)

    def estimator(key, who, weight, phase):
        P = len(who)
        jobs = Job(
            *(who, jnp.full(P, 5), *jnp.ones((2, P), int), jnp.zeros(P, int)),
            jnp.full(P, weight),
            n=N,
            dense=bool(phase),
            phase=phase,
            most_gradients=1,
            most_messages=1,
        )
        _, total = method.gather(
            problem,
            jax.tree.map(lambda a: a[who], workers),
            (jnp.asarray(MOVED), jnp.asarray(X))[: method.reads],
            jobs,
            keys=jax.vmap(lambda i: job_key(key, i, jnp.int32(5)))(who),
            coin=round_key(key, jnp.int32(7)),
        )
        return method.estimate(memory, total, jnp.int32(phase))[0]

    phases = np.array([phase for *_, phase in rounds])
    drawn = np.zeros((DRAWS, D))
    for phase in np.unique(phases).tolist():
        these = np.flatnonzero(phases == phase)
        who = jnp.array([rounds[run][0] for run in these], jnp.int32)
        (weight,) = {rounds[run][1] for run in these}
        each = jax.vmap(lambda key, who: estimator(key, who, weight, phase))  # noqa: B023
        drawn[these] = jax.jit(each)(keys[these], who)
    return drawn, phases


MEAN = jnp.asarray(G.mean(axis=0))
FAMILY = {
    "diana": (DIANA(0.1, RandK(K)), MEAN, jnp.asarray(G), 0.0),
    "marina-randk": (MARINA(0.1, RandK(K), p=P), MEAN, (), 1 - P),
    "marina-permk": (MARINA(0.1, PermK(), p=P), MEAN, (), 1 - P),
    "marina-correlated": (MARINA(0.1, CorrelatedQuantization(), p=P), MEAN, (), 1 - P),
    "vr-marina": (VRMARINA(0.1, RandK(K), p=P, batch=2), MEAN, (), 1 - P),
    "pp-marina": (PPMARINA(0.1, RandK(K), p=P, participants=2), MEAN, (), 1 - P),
    "dasha": (
        DASHA(0.1, RandK(K)),
        MEAN,
        (jnp.asarray(gradients(X)), jnp.asarray(G)),
        1 - 1 / (2 * (D / K - 1) + 1),
    ),
}
"""The method, memories of the server and of workers, and what is left of the error in the mean."""


@pytest.mark.parametrize("name", FAMILY)
def test_what_is_left_of_the_error_in_expectation(name):
    """E[g⁺ − ∇f(x⁺) | past] = c(g − ∇f(x)): c = 1 − p, or 1 − a, or 0 where g⁺ is unbiased."""
    method, memory, workers, left = FAMILY[name]
    drawn, phases = estimators(method, memory, workers)
    if left == 1 - P:
        assert abs(phases.mean() - P) < 5 * np.sqrt(P * (1 - P) / DRAWS)
    error = drawn - gradients(MOVED).mean(axis=0)
    past = G.mean(axis=0) - gradients(X).mean(axis=0)
    standard_error = error.std(axis=0) / np.sqrt(DRAWS)
    z = (error.mean(axis=0) - left * past) / standard_error
    assert np.abs(z).max() < 5
    # As a test of c alone: the projection on the past error.
    along = error @ past / (past @ past)
    assert abs(along.mean() - left) < 5 * along.std() / np.sqrt(DRAWS) < 0.2
