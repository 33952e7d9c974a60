"""Rounds of the least squares in plain numpy: what independent versions of methods are made of.

Keys name what a run draws. The functions here give a job's samples and messages from its key and
know nothing of the method that asked for them.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from families import D, N, costs_for, least_squares, listed

from compressors import Joint, message_key
from compressors.kernels.threefry import fold_in
from dopt.methods import job_key, round_key, streams
from dopt.replay.plain import plain_replay
from simulators import timeline


ROUNDS = 11
WORKERS = np.arange(N, dtype=np.int32)
NUMBER = 64
"""Bits of a number."""


def played(method, *, rounds=ROUNDS, workers=None, timeline_seed=0):
    """A schedule of the method on the least squares, and its models x⁰..x^K, for data seed 0."""
    problem = least_squares()
    costs = costs_for(method, problem, workers)
    schedule = timeline(method.policy(costs, D), costs, steps=rounds, seed=timeline_seed)
    return listed(schedule), np.stack(plain_replay(problem, method, listed(schedule)))


def same(models, expected):
    np.testing.assert_allclose(models, np.stack(expected), rtol=1e-12, atol=1e-13)


def check_totals(schedule, *, gradients, bits_up):
    """What each server step adds to the totals: one number for all steps, or one for each."""
    for column, added in ((schedule.steps.gradients, gradients), (schedule.steps.bits_up, bits_up)):
        np.testing.assert_array_equal(np.diff(column), np.broadcast_to(added, schedule.K))


def check_step_seconds(schedule, seconds):
    """How long each server step takes, on the cluster of the family."""
    seconds = np.broadcast_to(seconds, schedule.K)
    np.testing.assert_allclose(np.diff(schedule.time), seconds, rtol=0, atol=1e-5)


def coins(p, timeline_seed=0):
    """Which rounds are full: the first, and later ones with probability p."""
    full = np.random.default_rng(timeline_seed).random(ROUNDS) < p
    full[0] = True
    assert 2 <= full.sum() <= ROUNDS - 4
    return full


def gradients(x):
    """∇f_i(x) of all workers, or of worker i at x[i]."""
    a, y = (np.asarray(part) for part in least_squares().data)
    a, y = a.reshape(N, -1, D), y.reshape(N, -1)
    x = np.broadcast_to(x, (N, D))
    return np.einsum("nrd,nr->nd", a, np.einsum("nrd,nd->nr", a, x) - y) / y.shape[1]


def sampled(x, jobs, batch, *, local_step=0):
    """The mean of `batch` stochastic gradients of every worker at x, or at x[i]: its own job."""
    jobs = np.broadcast_to(jobs, N).astype(np.int32)
    return np.asarray(_sampled(np.broadcast_to(x, (N, D)), jobs, batch, local_step))


@partial(jax.jit, static_argnums=(2, 3))
def _sampled(x, jobs, batch, local_step):
    problem = least_squares()

    def one(x, worker, job):
        noise, _ = streams(job_key(jax.random.key(0), worker, job))
        key = fold_in(noise, local_step) if local_step else noise
        return problem.grad_sum(x, jnp.int32(batch), key=key, worker=worker, most=batch) / batch

    return jax.vmap(one)(x, WORKERS, jobs)


def sent(compressor, vectors, jobs, *, version=0):
    """What arrives of a vector of every worker, sent in its own job; of a joint one in a round."""
    jobs = np.broadcast_to(jobs, N).astype(np.int32)
    return np.asarray(_sent(compressor, vectors, jobs, np.int32(version)))


@partial(jax.jit, static_argnums=0)
def _sent(compressor, vectors, jobs, version):
    run = jax.random.key(0)

    def one(vector, worker, job):
        _, stream = streams(job_key(run, worker, job))
        sender = compressor
        if isinstance(compressor, Joint):
            sender = compressor.member(coin=round_key(run, version), rank=worker, n=N)
        return sender.expand(sender.compress(vector, key=message_key(stream, 0)))

    return jax.vmap(one)(vectors, WORKERS, jobs)


def top(vector, K):
    """The K largest entries of a vector, in their places."""
    kept = np.zeros_like(vector)
    largest = np.argsort(np.abs(vector))[-K:]
    kept[largest] = vector[largest]
    return kept


def tops(vectors, K):
    return np.stack([top(vector, K) for vector in vectors])
