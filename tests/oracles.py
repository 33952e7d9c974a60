"""Independent references: slow, plain, and sharing nothing with the paths they check.

`event_loop` interleaves everything: a heap of float times, gradients computed when work is handed
out, one job at a time, nothing pruned, kept in slots, vmapped or scanned. The `*_schedule` loops
know one method each and no policy.
"""

import heapq
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from dopt.methods import Job, job_key, round_key
from dopt.policies import Arrival, Assign, Cancel, Count, Timing


@jax.jit
def _work(method, problem, memory, models, job, run, coin):
    key = job_key(run, job.worker, job.job)
    return method.work(problem, memory, models, job, key=key, coin=coin)


@jax.jit
def _absorb(method, total, code, job, coin):
    codes, batch = jax.tree.map(lambda a: a[None], (code, job))
    return total + method.absorb(codes, batch, total.dtype, coin=coin)


@jax.jit
def _step(method, server, total, phase, budget, coin):
    server = method.step(server, total, phase, budget, coin=coin)
    return server, method.broadcast(server)


_coin = jax.jit(round_key)


def event_loop(problem, method, costs, K, *, policy=None, seed=0, timeline_seed=0):
    """Models x⁰..x^K and the times of the server steps; `policy` is by default the method's."""
    method = replace(method, step_size=jnp.asarray(method.step_size))
    run = jax.random.key(seed)
    x = problem.start()
    server = method.start(x)
    memories = [method.init(x)[1] for _ in range(costs.n)]
    models, sent, times = [x], [method.broadcast(server)], [0.0]
    heap, jobs, epochs, now = [], [0] * costs.n, [0] * costs.n, 0.0
    total, phase, job, code, version = jnp.zeros_like(x), 0, None, None, 0

    def coin(version: int):
        return _coin(run, jnp.int32(version))

    def begin(assign: Assign) -> None:
        i = assign.worker
        job = Job(
            *(jnp.asarray(v) for v in (i, jobs[i], *assign[1:3], assign.budget, 1.0)),
            n=costs.n,
            dense=assign.dense or assign.messages == 0,
            phase=assign.phase,
            most_gradients=assign.gradients,
            most_messages=max(assign.messages, 1),
        )
        read = (sent[-1], sent[max(len(sent) - 2, 0)])[: method.reads]
        read_at = len(sent) - 1
        memories[i], code = _work(method, problem, memories[i], read, job, run, coin(read_at))
        seconds = float(costs.job_seconds(i, *assign[1:4], download=False, bits=assign.bits))
        jobs[i] += 1
        # Rounded so that mathematical ties are ties; the tests' clusters have times far apart.
        end, ready = round(now + seconds, 9), now + assign.gradients * costs.h[i]
        timing = Timing(now, now, ready, end, assign.download or 0, assign.bits or 0)
        heapq.heappush(heap, (end, i, epochs[i], len(models) - 1, job, code, timing))

    policy = policy or method.policy(costs, problem.d)
    policy = policy.run(costs.n, timeline_seed)
    actions = next(policy)
    while len(models) <= K:
        for action in actions:
            if isinstance(action, Assign):
                begin(action)
            elif isinstance(action, Cancel):
                epochs[action.worker] += 1
            elif isinstance(action, Count):
                counted = replace(job, weight=jnp.asarray(action.weight))
                total = _absorb(method, total, code, counted, coin(version))
                phase = job.phase
            else:
                numbers = jnp.int32(phase), jnp.int32(action.budget)
                server, out = _step(method, server, total, *numbers, coin(len(models) - 1))
                models.append(server.x)
                sent.append(out)
                times.append(now)
                total = jnp.zeros_like(x)
        while True:
            now, i, epoch, version, job, code, timing = heapq.heappop(heap)
            if epoch == epochs[i]:
                break
        actions = policy.send(Arrival(i, len(models) - 1 - version, timing))
    return models, np.array(times)


def asynchronous_schedule(seconds, K):
    """Asynchronous SGD: (worker, version read, time) of the first K arrivals."""
    heap = [(s, i, 0) for i, s in enumerate(seconds)]
    heapq.heapify(heap)
    rows = []
    for k in range(K):
        t, i, version = heapq.heappop(heap)
        rows.append((i, version, t))
        heapq.heappush(heap, (t + seconds[i], i, k + 1))
    return rows


def rennala_schedule(seconds, B, K):
    """Rennala SGD without stop: the workers of each step, its time, and all gradients so far."""
    heap = [(s, i, 0) for i, s in enumerate(seconds)]
    heapq.heapify(heap)
    steps, batch, computed = [], [], 0
    while len(steps) < K:
        t, i, version = heapq.heappop(heap)
        computed += 1
        if version == len(steps):
            batch.append(i)
        if len(batch) == B:
            steps.append((batch, t, computed))
            batch = []
        heapq.heappush(heap, (t + seconds[i], i, len(steps)))
    return steps
