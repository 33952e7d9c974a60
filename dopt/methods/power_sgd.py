"""PowerSGD with error feedback: low-rank gradients by one step of power iteration a round.

Leaf M of the model is a matrix (its first axis against all others), or a vector that is sent whole.

    e_i^0 = 0, Q^0 Gaussian
    for k = 0, 1, ..., in two server steps:
        1. worker i computes Δ_i = e_i + ∇f_i(x^k; ξ) and sends P_i = Δ_i Q
        2. the server broadcasts P̂ = the orthonormal columns of the mean of the P_i
        3. worker i sends Q_i = Δ_iᵀ P̂ and keeps e_i = Δ_i − P̂ Q_iᵀ
        4. the server broadcasts Q = the mean of the Q_i, and x^{k+1} = x^k − γ P̂ Qᵀ

Messages are the factors, r·(rows + cols) numbers a leaf in both directions; workers move their
model themselves, so that after the first no model travels.

| letter | meaning |
|---|---|
| γ | `step_size`; no theorem gives one |
| r | rank, at most min(rows, cols) of every leaf |
| e_i | the error of worker i, its memory, and Δ_i between its two messages |
| P̂, Q | factors of the last round, memory of the server, sent out behind the model |
| b | `batch`: stochastic gradients in the mean; exact where it is `None` |

Source: Vogels, Karimireddy, Jaggi, "PowerSGD", 2019 (arXiv 1905.13727), Algorithms 1 and 2. As
there, a worker's error is what its own factors left out; with full rank it is gradient descent.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from compressors import Compressor, Message
from dopt.costs import Costs
from dopt.errors import UnsupportedError
from dopt.methods._base import Memory, Method, Optimizer, Server
from dopt.methods._job import Job
from dopt.methods._local import check_batch, local_gradient
from dopt.policies import Cycle, Policy, pattern
from dopt.problems import Constants, Problem


LEFT, RIGHT = 0, 1
"""The phases of an iteration: which factor the workers send."""


class Leaf(NamedTuple):
    """A leaf of the model: where it begins in the flat vector, and its matrix."""

    start: int
    rows: int
    cols: int
    r: int

    def matrix(self, x: Float[Array, " d"]) -> Float[Array, "rows cols"]:
        """The leaf of a flat vector."""
        return x[self.start : self.start + self.rows * self.cols].reshape(self.rows, self.cols)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Factors(Compressor):
    """The message of a worker: factors, which stand at the head of a vector of d numbers.

    Attributes:
        r: rank of every leaf that is a matrix; at most its smaller side.
        shapes: of the leaves of the model, in the order of `ravel_pytree`.
        side: LEFT for P_i and the leaves that are vectors, RIGHT for Q_i.
    """

    r: int = field(metadata={"static": True})
    shapes: tuple[tuple[int, ...], ...] = field(metadata={"static": True})
    side: int = field(default=LEFT, metadata={"static": True})
    name: ClassVar[str] = "low-rank factors"

    def __post_init__(self) -> None:
        if self.r < 1:
            raise ValueError(f"{self.name} of rank r = {self.r}: give a rank of at least 1")

    @classmethod
    def like(cls, params: Any, r: int) -> "Factors":
        """The factors of the leaves of `params`, a pytree of arrays."""
        return cls(r, tuple(np.shape(leaf) for leaf in jax.tree.leaves(params)))

    def check(self, d: int) -> None:
        """Raises `ValueError` unless d is the size of all leaves."""
        total = sum(math.prod(shape) for shape in self.shapes)
        if total != d:
            raise ValueError(
                f"{self.name} of leaves with {total} entries in all cannot take d = {d}: make them "
                "with like(params, r) of the same parameters"
            )

    def leaves(self) -> Iterator[Leaf]:
        """The leaves; a vector is a matrix of one column and rank 0."""
        start = 0
        for shape in self.shapes:
            rows = shape[0] if shape else 1
            cols = math.prod(shape[1:])
            r = min(self.r, rows, cols) if cols > 1 and rows > 1 else 0
            yield Leaf(start, rows, cols, r)
            start += rows * cols

    @property
    def size(self) -> int:
        """Numbers in a message."""
        if self.side == RIGHT:
            return sum(leaf.r * leaf.cols for leaf in self.leaves())
        return sum(leaf.rows * (leaf.r or leaf.cols) for leaf in self.leaves())

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Float[Array, " d"]:
        """The vector: it is zero behind its head."""
        return x

    def expand(self, code: Float[Array, " d"]) -> Float[Array, " d"]:
        """The vector."""
        return code

    def pack(self, code: Float[Array, " d"]) -> Message:
        """`{"values": [size]}`."""
        return {"values": code[: self.size]}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Float[Array, " d"]:
        """The vector; the key is not used."""
        return jnp.pad(message["values"], (0, d - self.size))

    def payload_bits(self, d: int, dtype: Any) -> int:
        """All numbers of the factors."""
        return 8 * jnp.dtype(dtype).itemsize * self.size


class Sent(NamedTuple):
    """The server's memory: both factors in flat form, the left one with the leaves sent whole."""

    left: Float[Array, " left"]
    right: Float[Array, " right"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PowerSGD(Method):
    """Low-rank gradients with error feedback; an iteration takes two server steps."""

    name: ClassVar[str] = "PowerSGD"
    stateful: ClassVar[bool] = True
    idle: ClassVar[tuple[int, ...]] = (LEFT,)
    step_size: Any
    compressor: Factors = field(metadata={"static": True})
    batch: int | None = field(default=None, metadata={"static": True})
    optimizer: Optimizer = field(default=optax.sgd, metadata={"static": True})

    def __post_init__(self) -> None:
        check_batch(self.batch)

    def policy(self, costs: Costs, d: int) -> Policy:
        """Two rounds of all workers in turn, one a factor."""
        self.check(d, costs.n)
        coordinate, everyone, weight = costs.dense_bits // d, range(costs.n), 1.0 / costs.n
        left, right = (coordinate * self._factors(side).size for side in (LEFT, RIGHT))
        whole = coordinate * sum(leaf.rows * leaf.cols for leaf in self._leaves if not leaf.r)
        first = pattern(
            everyone,
            gradients=self.batch or 1,
            weight=weight,
            bits=left,
            download=right + whole,
        )
        second = pattern(everyone, gradients=0, weight=weight, bits=right, download=left - whole)
        return Cycle((first, second))

    def init(self, x: Float[Array, " d"]) -> tuple[Memory, Memory]:
        """On the server a Gaussian Q, on every worker e_i = Δ_i = 0."""
        left, right = (self._factors(side).size for side in (LEFT, RIGHT))
        Q = jax.random.normal(jax.random.key(0), (right,), x.dtype)
        return Sent(jnp.zeros(left, x.dtype), Q), (jnp.zeros_like(x), jnp.zeros_like(x))

    def uplink(
        self,
        problem: Problem,
        memory: Memory,
        models: tuple[Float[Array, " D"], ...],
        job: Job,
        *,
        key: PRNGKeyArray,
    ) -> tuple[Memory, Float[Array, " d"]]:
        """P_i and the leaves sent whole, then Q_i."""
        x, sent = self._received(models[0], problem.d)
        error, delta = memory
        if job.phase == LEFT:
            delta = error + local_gradient(problem, x, job.worker, self.batch, key)
            right = iter(self._split(sent.right, RIGHT))
            parts = [
                leaf.matrix(delta) @ next(right) if leaf.r else leaf.matrix(delta)
                for leaf in self._leaves
            ]
            return (error, delta), _head(parts, x)
        parts, left_out = [], []
        for leaf, P in zip(self._leaves, self._split(sent.left, LEFT), strict=True):
            M = leaf.matrix(delta)
            if leaf.r:
                parts.append(M.T @ P)
                M = M - P @ parts[-1].T
            else:
                M = jnp.zeros_like(M)
            left_out.append(M.reshape(-1))
        return (jnp.concatenate(left_out), delta), _head(parts, x)

    def remember(
        self, memory: Memory, vector: Float[Array, " d"], received: Float[Array, " d"], job: Job
    ) -> Memory:
        """As `uplink` left it."""
        return memory

    def estimate(
        self, memory: Memory, total: Float[Array, " d"], phase: Int[Array, ""]
    ) -> tuple[Float[Array, " d"], Memory]:
        """Nothing and the new P̂, then P̂ Qᵀ and the new Q."""

        def left() -> tuple[Float[Array, " d"], Sent]:
            parts = self._split(total, LEFT)
            ready = [
                jnp.linalg.qr(part)[0] if leaf.r else part
                for leaf, part in zip(self._leaves, parts, strict=True)
            ]
            return jnp.zeros_like(total), memory._replace(left=_flat(ready, total.dtype))

        def right() -> tuple[Float[Array, " d"], Sent]:
            factors = self._split(total, RIGHT)
            moved = memory._replace(right=_flat(factors, total.dtype))
            Q = iter(factors)
            parts = zip(self._leaves, self._split(memory.left, LEFT), strict=True)
            whole = [P @ next(Q).T if leaf.r else P for leaf, P in parts]
            return _flat(whole, total.dtype), moved

        return jax.lax.cond(phase == LEFT, left, right)

    def broadcast(self, server: Server) -> Float[Array, " D"]:
        """The model, and the factors behind it."""
        return jnp.concatenate([server.x, *server.memory])

    def sender(self, job: Job, *, coin: PRNGKeyArray) -> Factors:
        """The factor of the phase."""
        return self._factors(job.phase)

    def theory_step_size(self, constants: Constants, d: int, n: int) -> float:
        """There is none."""
        raise UnsupportedError(f"no theorem gives a step size of {self.name}; tune it")

    @property
    def _leaves(self) -> tuple[Leaf, ...]:
        return tuple(self.compressor.leaves())

    def _factors(self, side: int) -> Factors:
        return replace(self.compressor, side=side)

    def _received(self, sent: Float[Array, " D"], d: int) -> tuple[Float[Array, " d"], Sent]:
        left = self._factors(LEFT).size
        return sent[:d], Sent(sent[d : d + left], sent[d + left :])

    def _split(self, flat: Float[Array, " size"], side: int) -> list[Float[Array, "rows cols"]]:
        """The parts of a message: of all leaves on the left side, of matrices on the right."""
        parts, start = [], 0
        for leaf in self._leaves:
            rows = leaf.rows if side == LEFT else leaf.cols
            cols = leaf.r or (leaf.cols if side == LEFT else 0)
            if rows * cols:
                parts.append(flat[start : start + rows * cols].reshape(rows, cols))
            start += rows * cols
        return parts


def _flat(parts: list[Array], dtype: Any) -> Float[Array, " size"]:
    return jnp.concatenate([jnp.zeros(0, dtype), *(part.reshape(-1) for part in parts)])


def _head(parts: list[Array], like: Float[Array, " d"]) -> Float[Array, " d"]:
    """The parts at the head of a vector of zeros; without matrices there are none on the right."""
    flat = _flat(parts, like.dtype)
    return jnp.pad(flat, (0, len(like) - len(flat)))
