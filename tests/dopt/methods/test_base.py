"""What all methods share: the server's optimizer, and jobs whose bounds do not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from families import METHODS, STEPS, D, N, least_squares, schedule_for

from dopt.methods import Job, MinibatchSGD, job_key
from dopt.problems import TridiagonalQuadratic
from dopt.replay import replay


def heavy_ball(gamma):
    return optax.sgd(gamma, momentum=0.9)


def test_the_server_may_have_momentum():
    problem = TridiagonalQuadratic(D, mu=0.1)
    method = MinibatchSGD(0.1, optimizer=heavy_ball)
    sizes = [0.1, 0.03]
    schedule = schedule_for(method, problem)
    trace = replay(problem, method, schedule, step_sizes=sizes, records=np.arange(STEPS + 1))
    A = (2 * np.eye(D) - np.eye(D, k=1) - np.eye(D, k=-1)) / 4
    A += (0.1 - np.linalg.eigvalsh(A)[0]) * np.eye(D)
    b = np.zeros(D)
    b[0] = -0.25
    for g, gamma in enumerate(sizes):
        x, velocity, values = np.sqrt(D) * np.eye(D)[0], np.zeros(D), []
        for _ in range(STEPS + 1):
            values.append(x @ A @ x / 2 - b @ x)
            velocity = 0.9 * velocity + A @ x - b
            x = x - gamma * velocity
        np.testing.assert_allclose(trace.value[0, g], values, rtol=1e-11)


def test_bounds_of_gradients_and_messages_change_nothing():
    """Kinds of jobs round b and m up; the work must not notice."""
    problem, method = least_squares(), METHODS["shadowheart"](D, N)
    x = jnp.ones(D)

    @jax.jit(static_argnums=(0, 1))
    def sent(most_gradients, most_messages):
        job = Job(
            *(jnp.int32(v) for v in (2, 5, 3, 2, 0)),
            jnp.float64(1.0),
            n=N,
            dense=False,
            phase=0,
            most_gradients=most_gradients,
            most_messages=most_messages,
        )
        key = job_key(jax.random.key(0), job.worker, job.job)
        return method.work(problem, (), (x,), job, key=key, coin=key)[1]

    exact = sent(3, 2)
    for bounds in ((4, 2), (3, 5), (16, 64)):
        np.testing.assert_allclose(sent(*bounds), exact, rtol=1e-13)
