"""What a method is: a policy and a few pure functions, without a clock, a loop or a print.

One server step of any method:

    on each worker that was asked (`work`):
        vector  <- uplink(models, memory)             what it would send, uncompressed
        code    <- compress(vector)                   or the vector itself where the job is dense
        memory  <- remember(memory, vector, expand(code))
    on the server:
        total   <- sum over arrivals of weight * expand(code)          (`absorb`, `gather`)
        g       <- estimate(total)
        x       <- x - step_size * g                  or another optax transformation (`step`)

A concrete method gives `policy`, `init`, `uplink`, `remember` and `estimate`; the rest is final.
Randomness belongs to the work: everything a job draws comes from `job_key(run, worker, job)`.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, Shaped

from compressors import Code, Compressor, message_key
from compressors.kernels.threefry import fold_in
from dopt.costs import Costs
from dopt.policies import Policy
from dopt.problems import Problem


Memory = Any
"""A pytree of arrays that a method keeps between steps; `()` where it keeps nothing."""

Optimizer = Callable[[Any], optax.GradientTransformation]
"""From a step size to the server's optax transformation, such as `optax.sgd`."""


class Server(NamedTuple):
    """The server's state: the model, the optimizer's state, the method's own memory."""

    x: Float[Array, " d"]
    optimizer: Any
    memory: Memory


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Job:
    """What a worker was asked to do: scalars, or arrays of P jobs for a batch.

    Static: `dense` (the vector itself is sent), and `most_gradients`, `most_messages`, bounds of b
    and m that fix shapes; no result depends on the bounds.
    """

    worker: Int[Array, "*P"]
    job: Int[Array, "*P"]
    gradients: Int[Array, "*P"]
    messages: Int[Array, "*P"]
    weight: Shaped[Array, "*P"]
    dense: bool = field(metadata={"static": True})
    most_gradients: int = field(metadata={"static": True})
    most_messages: int = field(metadata={"static": True})


def job_key(run: PRNGKeyArray, worker: Int[Array, ""], job: Int[Array, ""]) -> PRNGKeyArray:
    """The key of a worker's job; the same in the plain loop, the scan and on a live actor."""
    return fold_in(fold_in(run, worker), job)


def streams(key: PRNGKeyArray) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    """The two uses of a job's key: gradient noise, and messages."""
    return fold_in(key, 0), fold_in(key, 1)


class Method(abc.ABC):
    """A distributed method: a frozen dataclass of hyperparameters, registered as a pytree.

    `step_size` is its only traced leaf (arrays of step sizes are vmapped over); `compressor` and
    `optimizer` are static. `reads` says how many consecutive model versions a job reads;
    `stateful` that workers keep memory, so that no arrival may be dropped.
    """

    # Says to type checkers what is true of every concrete method: `replace` works on it.
    __dataclass_fields__: ClassVar[dict[str, Any]]

    name: ClassVar[str]
    reads: ClassVar[int] = 1
    stateful: ClassVar[bool] = False

    step_size: Any
    compressor: Compressor
    optimizer: Optimizer

    @abc.abstractmethod
    def policy(self, costs: Costs, d: int) -> Policy:
        """Who computes what and when, on a cluster with these costs."""

    @abc.abstractmethod
    def init(self, x: Float[Array, " d"]) -> tuple[Memory, Memory]:
        """The server's memory, and that of one worker, before the first step."""

    @abc.abstractmethod
    def uplink(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " d"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> Float[Array, " d"]:
        """The vector to send; `models[0]` is the version it read, `models[1]` the one before."""

    @abc.abstractmethod
    def remember(
        self, memory: Memory, vector: Float[Array, " d"], received: Float[Array, " d"]
    ) -> Memory:
        """The worker's memory after `vector` was sent and arrived as `received`."""

    @abc.abstractmethod
    def estimate(
        self, memory: Memory, total: Float[Array, " d"], dense: Bool[Array, ""]
    ) -> tuple[Float[Array, " d"], Memory]:
        """The gradient estimator g from the weighted sum of a step's messages."""

    def start(self, x: Float[Array, " d"]) -> Server:
        """The server's state before the first step."""
        return Server(x, self.optimizer(self.step_size).init(x), self.init(x)[0])

    def work(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " d"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> tuple[Memory, Code]:
        """One job on one worker, from models to a code; `key` is the job's."""
        noise, stream = streams(key)
        vector = self.uplink(problem, memory, models, job, key=noise)
        code, received = vector, vector
        if not job.dense and job.most_messages == 1:
            code = self.compressor.compress(vector, key=message_key(stream, 0))
            received = self.compressor.expand(code) if self.stateful else vector
        elif not job.dense:
            code = self.compressor.compress_mean(
                vector, job.messages, key=stream, most=job.most_messages
            )
            received = code
        return self.remember(memory, vector, received), code

    def absorb(self, codes: Code, jobs: Job, dtype: Any) -> Float[Array, " d"]:
        """The weighted sum of what a batch of codes stands for."""
        weights = jobs.weight.astype(dtype)
        if jobs.dense or jobs.most_messages > 1:
            return jnp.tensordot(weights, codes, axes=1)
        return self.compressor.expand_sum(codes, weights)

    def sums_itself(self, jobs: Job) -> bool:
        """Whether `gather` bounds its own memory: no vector of each job is alive at once."""
        return False

    def gather(
        self,
        problem: Problem,
        memories: Memory,
        models: tuple[Float[Array, " d"], ...],
        jobs: Job,
        *,
        keys: Key[Array, " P"],
    ) -> tuple[Memory, Float[Array, " d"]]:
        """`absorb` of `work` of a batch of jobs that read the same models."""

        def one(memory: Memory, job: Job, key: Any) -> tuple[Memory, Code]:
            return self.work(problem, memory, models, job, key=key)

        memories, codes = jax.vmap(one)(memories, jobs, keys)
        return memories, self.absorb(codes, jobs, models[0].dtype)

    def step(self, server: Server, total: Float[Array, " d"], dense: Bool[Array, ""]) -> Server:
        """The server moves, given the weighted sum of the step's messages."""
        g, memory = self.estimate(server.memory, total, dense)
        updates, state = self.optimizer(self.step_size).update(g, server.optimizer, server.x)
        return Server(optax.apply_updates(server.x, updates), state, memory)


class GradientMethod(Method):
    """A method whose workers send sums of stochastic gradients and keep nothing.

    Its estimator is the weighted sum itself: everything that sets it apart is its policy.
    """

    def init(self, x: Float[Array, " d"]) -> tuple[Memory, Memory]:
        """Nothing is kept."""
        return (), ()

    def uplink(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " d"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> Float[Array, " d"]:
        """The sum (not the mean) of b stochastic gradients at the model that was read."""
        return problem.grad_sum(
            models[0], job.gradients, key=key, worker=job.worker, most=job.most_gradients
        )

    def remember(
        self, memory: Memory, vector: Float[Array, " d"], received: Float[Array, " d"]
    ) -> Memory:
        """Nothing is kept."""
        return memory

    def estimate(
        self, memory: Memory, total: Float[Array, " d"], dense: Bool[Array, ""]
    ) -> tuple[Float[Array, " d"], Memory]:
        """The weighted sum."""
        return total, memory

    def sums_itself(self, jobs: Job) -> bool:
        """Dense gradients are summed by the problem."""
        return jobs.dense

    def gather(
        self,
        problem: Problem,
        memories: Memory,
        models: tuple[Float[Array, " d"], ...],
        jobs: Job,
        *,
        keys: Key[Array, " P"],
    ) -> tuple[Memory, Float[Array, " d"]]:
        """As `Method.gather`; dense gradients are summed without a vector per job."""
        if not jobs.dense:
            return super().gather(problem, memories, models, jobs, keys=keys)
        total = problem.weighted_grad_sum(
            models[0],
            jobs.gradients,
            jobs.weight.astype(models[0].dtype),
            keys=jax.vmap(lambda key: streams(key)[0])(keys),
            workers=jobs.worker,
            most=jobs.most_gradients,
        )
        return memories, total
