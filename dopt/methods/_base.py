"""What a method is: a policy and a few pure functions, without a clock, a loop or a print.

One server step of any method:

    on each worker that was asked (`work`):
        memory, vector  <- uplink(models, memory)     what it would send, uncompressed
        code    <- compress(vector)                   or the vector itself where the job is dense
        memory  <- remember(memory, vector, expand(code))
    on the server:
        total   <- sum over arrivals of weight * expand(code)          (`absorb`, `gather`)
        g       <- estimate(total)
        x       <- x - step_size * g                  or another optax transformation (`step`)
        memory  <- publish(memory, x)                 and `broadcast` is what workers read

A concrete method gives `policy`, `init`, `uplink`, `remember` and `estimate`, and where workers
read anything but x, `publish` and `broadcast`; the rest is final. Randomness belongs to the work:
everything a job draws comes from `job_key(run, worker, job)`, and what is drawn once for all
workers or by the server from `round_key(run, version)`.

A *phase* tells kinds of work apart that a policy assigns: MARINA's usual and full rounds.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from compressors import Budgeted, Code, Compressor, Joint, message_key
from compressors.kernels.threefry import fold_in
from dopt.costs import Costs
from dopt.errors import UnsupportedError
from dopt.methods._job import SERVER, Job, streams
from dopt.policies import Policy
from dopt.problems import Constants, Problem


Memory = Any
"""A pytree of arrays that a method keeps between steps; `()` where it keeps nothing."""

Optimizer = Callable[[Any], optax.GradientTransformation]
"""From a step size to the server's optax transformation, such as `optax.sgd`."""


class Server(NamedTuple):
    """The server's state: the model, the optimizer's state, the method's own memory."""

    x: Float[Array, " d"]
    optimizer: Any
    memory: Memory


class Method(abc.ABC):
    """A distributed method: a frozen dataclass of hyperparameters, registered as a pytree.

    `step_size` is its only traced leaf (arrays of step sizes are vmapped over); `compressor` and
    `optimizer` are static. `reads` says how many consecutive model versions a job reads;
    `stateful` that workers keep memory, so that no arrival may be dropped; `idle` in which phases
    the server collects without moving the model.
    """

    # Says to type checkers what is true of every concrete method: `replace` works on it.
    __dataclass_fields__: ClassVar[dict[str, Any]]

    name: ClassVar[str]
    reads: ClassVar[int] = 1
    stateful: ClassVar[bool] = False
    idle: ClassVar[tuple[int, ...]] = ()

    step_size: Any
    compressor: Compressor | Joint | Budgeted
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
        models: tuple[Float[Array, " D"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> tuple[Memory, Float[Array, " d"]]:
        """The worker's memory and the vector to send.

        `models[0]` is the version that it read, `models[1]` the one before.
        """

    @abc.abstractmethod
    def remember(
        self, memory: Memory, vector: Float[Array, " d"], received: Float[Array, " d"], job: Job
    ) -> Memory:
        """The memory after `uplink`, once `vector` was sent and arrived as `received`."""

    @abc.abstractmethod
    def estimate(
        self, memory: Memory, total: Float[Array, " d"], phase: Int[Array, ""]
    ) -> tuple[Float[Array, " d"], Memory]:
        """The gradient estimator g from the weighted sum of a step's messages."""

    def publish(
        self, memory: Memory, x: Float[Array, " d"], budget: Int[Array, ""], *, key: PRNGKeyArray
    ) -> Memory:
        """The server's memory when its model has become `x`; `budget` as in `step`."""
        return memory

    def broadcast(self, server: Server) -> Float[Array, " D"]:
        """What workers read: the model, unless a method sends out something else."""
        return server.x

    def theory_step_size(self, constants: Constants, d: int, n: int) -> float:
        """The largest step size that the method's theorem allows.

        Args:
            constants: those of the problem.
            d: its dimension.
            n: workers.

        Raises:
            UnsupportedError: the theorem's step size depends on more than these.
            ConfigurationError: the problem does not know a constant that it needs.
        """
        raise UnsupportedError(
            f"the step size of {self.name} depends on the noise and the target; see dopt.theory"
        )

    def computing(self) -> "Method":
        """The method without what its policy alone reads: equal ones share a compiled program."""
        return self

    def check(self, d: int, n: int) -> None:
        """Raises `ValueError` where the compressor does not fit the dimension or the workers."""
        if isinstance(self.compressor, Joint):
            self.compressor.check(d, n)
        else:
            self.compressor.check(d)

    def message_bits(self, d: int, dtype: Any, n: int) -> int:
        """Bits of one compressed message of one of n workers; the most, where it has a budget."""
        if isinstance(self.compressor, Budgeted):
            return self.compressor.most_bits(dtype)
        if isinstance(self.compressor, Joint):
            return self.compressor.nbits(d, n, dtype)
        return self.compressor.nbits(d, dtype)

    def sender(self, job: Job, *, coin: PRNGKeyArray) -> Compressor:
        """The compressor of one job.

        Of a joint family it is the worker's member in this round, else what is within its budget.
        """
        if isinstance(self.compressor, Budgeted):
            return self.compressor.within(job.budget)
        if isinstance(self.compressor, Joint):
            return self.compressor.member(coin=coin, rank=job.worker, n=job.n)
        return self.compressor

    def start(self, x: Float[Array, " d"]) -> Server:
        """The server's state before the first step."""
        return Server(x, self.optimizer(self.step_size).init(x), self.init(x)[0])

    def work(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " D"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
        coin: PRNGKeyArray,
    ) -> tuple[Memory, Code]:
        """One job on one worker, from models to a code; `key` is the job's, `coin` the round's."""
        noise, stream = streams(key)
        memory, vector = self.uplink(problem, memory, models, job, key=noise)
        code, received, compressor = vector, vector, self.sender(job, coin=coin)
        if not job.dense and job.most_messages == 1:
            code = compressor.compress(vector, key=message_key(stream, 0))
            received = compressor.expand(code) if self.stateful else vector
        elif not job.dense:
            code = compressor.compress_mean(
                vector, job.messages, key=stream, most=job.most_messages
            )
            received = code
        return self.remember(memory, vector, received, job), code

    def absorb(
        self, codes: Code, jobs: Job, dtype: Any, *, coin: PRNGKeyArray
    ) -> Float[Array, " d"]:
        """The weighted sum of what a batch of codes stands for."""
        weights = jobs.weight.astype(dtype)
        if jobs.dense or jobs.most_messages > 1:
            return jnp.tensordot(weights, codes, axes=1)
        if isinstance(self.compressor, Budgeted):  # codes hold what arrives, whatever the budgets
            return jnp.tensordot(weights, codes.vector, axes=1)
        if isinstance(self.compressor, Joint):
            return self.compressor.expand_sum(
                codes, weights, coin=coin, ranks=jobs.worker, n=jobs.n
            )
        return self.sender(jobs, coin=coin).expand_sum(codes, weights)

    def sums_itself(self, jobs: Job) -> bool:
        """Whether `gather` bounds its own memory: no vector of each job is alive at once."""
        return False

    def gather(
        self,
        problem: Problem,
        memories: Memory,
        models: tuple[Float[Array, " D"], ...],
        jobs: Job,
        *,
        keys: Key[Array, " P"],
        coin: PRNGKeyArray,
    ) -> tuple[Memory, Float[Array, " d"]]:
        """`absorb` of `work` of a batch of jobs that read the same models."""

        def one(memory: Memory, job: Job, key: Any) -> tuple[Memory, Code]:
            return self.work(problem, memory, models, job, key=key, coin=coin)

        memories, codes = jax.vmap(one)(memories, jobs, keys)
        return memories, self.absorb(codes, jobs, models[0].dtype, coin=coin)

    def step(
        self,
        server: Server,
        total: Float[Array, " d"],
        phase: Int[Array, ""],
        budget: Int[Array, ""],
        *,
        coin: PRNGKeyArray,
    ) -> Server:
        """The server moves, given the weighted sum of the step's messages.

        `budget` is what it may send out then, in bits, where the method chooses by it.
        """
        g, memory = self.estimate(server.memory, total, phase)
        updates, state = self.optimizer(self.step_size).update(g, server.optimizer, server.x)
        x = optax.apply_updates(server.x, updates)
        if self.idle:
            still = jnp.isin(phase, jnp.asarray(self.idle, phase.dtype))
            x, state = jax.tree.map(
                lambda old, new: jnp.where(still, old, new),
                (server.x, server.optimizer),
                (x, state),
            )
        return Server(x, state, self.publish(memory, x, budget, key=fold_in(coin, SERVER)))


class Stateless(Method):
    """A method that keeps nothing, and whose estimator is the weighted sum itself."""

    def init(self, x: Float[Array, " d"]) -> tuple[Memory, Memory]:
        """Nothing is kept."""
        return (), ()

    def remember(
        self, memory: Memory, vector: Float[Array, " d"], received: Float[Array, " d"], job: Job
    ) -> Memory:
        """Nothing is kept."""
        return memory

    def estimate(
        self, memory: Memory, total: Float[Array, " d"], phase: Int[Array, ""]
    ) -> tuple[Float[Array, " d"], Memory]:
        """The weighted sum."""
        return total, memory


class GradientMethod(Stateless):
    """A method whose workers send sums of stochastic gradients: its policy sets it apart."""

    def uplink(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " D"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> tuple[Memory, Float[Array, " d"]]:
        """The sum (not the mean) of b stochastic gradients at the model that was read."""
        return memory, problem.grad_sum(
            models[0], job.gradients, key=key, worker=job.worker, most=job.most_gradients
        )

    def sums_itself(self, jobs: Job) -> bool:
        """Dense gradients are summed by the problem."""
        return jobs.dense

    def gather(
        self,
        problem: Problem,
        memories: Memory,
        models: tuple[Float[Array, " D"], ...],
        jobs: Job,
        *,
        keys: Key[Array, " P"],
        coin: PRNGKeyArray,
    ) -> tuple[Memory, Float[Array, " d"]]:
        """As `Method.gather`; dense gradients are summed without a vector per job."""
        if not jobs.dense:
            return super().gather(problem, memories, models, jobs, keys=keys, coin=coin)
        total = problem.weighted_grad_sum(
            models[0],
            jobs.gradients,
            jobs.weight.astype(models[0].dtype),
            keys=jax.vmap(lambda key: streams(key)[0])(keys),
            workers=jobs.worker,
            most=jobs.most_gradients,
        )
        return memories, total
