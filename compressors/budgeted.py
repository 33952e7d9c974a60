"""A vector in layers, a ladder for each, and a rule that spends a budget of bits on them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32, Int64, Key, PRNGKeyArray

from compressors._base import Compressor, Constant, Contractive, Message, Nonfinite
from compressors._dtype import wide
from compressors._float import largest
from compressors._sparse import index_bits, pack_indices, unpack_indices
from compressors._wrapped import contractive, nonfinite_of
from compressors.allocation import Allocation
from compressors.ladders import Ladder


WORD = 32
MOST = 2**31 - 1
"""Bits are counted in int32, with or without 64-bit arrays."""


FARTHEST = 126
"""Powers of two that float32 has as normal numbers, both ways."""


SMALL = (1 << 13) - 1
"""Layers of at most one more entry are padded to one width."""


class Chosen(NamedTuple):
    """The rung of every layer, and the d-vector that arrives."""

    rungs: Int32[Array, "*batch L"]
    vector: Float[Array, "*batch d"]


class Alike(NamedTuple):
    """Layers that are worked on together: rows of one width, with zeros behind the shorter ones."""

    ladder: Ladder
    layers: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def width(self) -> int:
        """Entries of a row."""
        return max(self.sizes)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Budgeted:
    """Compressors of a d-vector in layers, one for every budget: `within(budget)`.

    The choice of a rung for each layer is the communication part of Kimad (Xin, Ilin, Zhang,
    Canini, Richtárik 2023, arXiv 2312.08053). The chosen rungs travel with the message and their
    bits are part of the budget: one word where all layers have the same, else ⌈log2 R⌉ bits a layer
    in whole words.

    Attributes:
        ladders: one for each layer, all of as many rungs.
        sizes: entries of each layer; d is their sum.
        allocation: the rule.
    """

    ladders: tuple[Ladder, ...] = field(metadata={"static": True})
    sizes: tuple[int, ...] = field(metadata={"static": True})
    allocation: Allocation = field(metadata={"static": True})
    name: ClassVar[str] = "Budgeted"

    def __post_init__(self) -> None:
        if len(self.ladders) != len(self.sizes) or not self.sizes:
            raise ValueError(
                f"{self.name} has {len(self.ladders)} ladders for {len(self.sizes)} layers: give "
                "one for each layer, and at least one"
            )
        if min(self.sizes) < 1:
            layer = self.sizes.index(min(self.sizes))
            raise ValueError(f"layer {layer} of {self.name} is empty: leave it out")
        counts = sorted({ladder.rungs for ladder in self.ladders})
        if len(counts) > 1:
            raise ValueError(
                f"{self.name} has ladders of {counts} rungs: give all layers as many, of which "
                "some may coincide in a small one"
            )
        for ladder, size in set(zip(self.ladders, self.sizes, strict=True)):
            ladder.check(size)

    @classmethod
    def like(
        cls, params: Any, make_ladder: Callable[[Any], Ladder], allocation: Allocation
    ) -> "Budgeted":
        """A layer for each of the leaves of `params`, in the order of `ravel_pytree`.

        Args:
            params: a pytree of arrays, or of their shapes.
            make_ladder: from a leaf to its ladder, which takes vectors of as many entries.
            allocation: the rule.
        """
        leaves = jax.tree.leaves(params)
        sizes = tuple(math.prod(np.shape(leaf)) for leaf in leaves)
        return cls(tuple(make_ladder(leaf) for leaf in leaves), sizes, allocation)

    @property
    def rungs(self) -> int:
        """R, the number of rungs of every ladder."""
        return self.ladders[0].rungs

    @property
    def padded(self) -> bool:
        """Whether a message is charged its whole budget, because its real size depends on values.

        What really travels is no more, and `packed_bits` of the message tells it.
        """
        return self.allocation.reads_values

    @property
    def header_bits(self) -> int:
        """Bits of the words that the chosen rungs travel in."""
        if not self.allocation.reads_values:
            return WORD
        return WORD * -(-len(self.sizes) * index_bits(self.rungs) // WORD)

    @property
    def alike(self) -> tuple[Alike, ...]:
        """The layers in groups, each of one ladder and one size.

        Where the ladder `pads` they are of one size up to a factor of 2, or all small: a program of
        fewer groups is compiled sooner.
        """
        groups: dict[tuple[Ladder, int], list[int]] = {}
        for layer, (ladder, size) in enumerate(zip(self.ladders, self.sizes, strict=True)):
            about = max(SMALL, size - 1).bit_length() if ladder.pads else size
            groups.setdefault((ladder, about), []).append(layer)
        return tuple(
            Alike(ladder, tuple(layers), tuple(self.sizes[layer] for layer in layers))
            for (ladder, _), layers in groups.items()
        )

    def check(self, d: int) -> None:
        """Raises `ValueError` unless d is the sum of the sizes."""
        if d != sum(self.sizes):
            raise ValueError(
                f"{self.name} of layers with {sum(self.sizes)} entries in all cannot take "
                f"d = {d}: make it with like(params, ...) of the same parameters"
            )

    def table(self, dtype: Any) -> Int64[np.ndarray, "L R"]:
        """Bits of every layer on every rung, without the header.

        Raises:
            ValueError: a message of the top rungs has more than 2³¹ − 1 bits.
        """
        return _table(self, jnp.dtype(dtype)).copy()

    def least_bits(self, dtype: Any) -> int:
        """Bits of a message of rung 0 throughout, which is sent even where the budget is less."""
        return self.header_bits + int(self.table(dtype)[:, 0].sum())

    def most_bits(self, dtype: Any) -> int:
        """Bits of a message of the top rung throughout: no budget buys more."""
        return self.header_bits + int(self.table(dtype)[:, -1].sum())

    def bits_within(
        self, budget: int | Int[np.ndarray, "*shape"], dtype: Any
    ) -> int | Int64[np.ndarray, "*shape"]:
        """Bits that a message is charged under a budget; many budgets at once.

        The real size, header and all, where the rule reads no values. Where it does the message is
        `padded`: it is charged the budget, at least `least_bits` and at most `most_bits`.
        """
        if self.padded:
            charged = np.clip(budget, self.least_bits(dtype), self.most_bits(dtype))
        else:
            sizes = self.header_bits + self.table(dtype).sum(axis=0)
            rung = np.searchsorted(sizes, budget, side="right") - 1
            charged = sizes[np.maximum(rung, 0)]
        return int(charged) if np.ndim(budget) == 0 else charged.astype(np.int64)

    def contraction(self, d: int) -> Constant:
        """An α that every choice of rungs has: the least of any layer and rung.

        Raises:
            TypeError: a ladder has a member that is not contractive.
        """
        self.check(d)
        alphas = {
            (ladder, size): min(
                contractive(self.name, ladder.member(rung, size)).alpha(size).value
                for rung in range(self.rungs)
            )
            for ladder, size in dict.fromkeys(zip(self.ladders, self.sizes, strict=True))
        }
        each = [alphas[kind] for kind in zip(self.ladders, self.sizes, strict=True)]
        worst = min(each)
        return Constant(worst, "bound", f"the least of any rung, in layer {each.index(worst)}")

    def within(self, budget: Int[Array, ""] | int) -> "Within":
        """The compressor whose messages have at most `budget` bits, if `least_bits` are no more."""
        if isinstance(budget, int):
            return Within(jnp.asarray(min(max(budget, 0), MOST), jnp.int32), self)
        most = min(MOST, int(jnp.iinfo(budget.dtype).max))
        return Within(jnp.clip(budget, 0, most).astype(jnp.int32), self)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Within(Contractive):
    """What `Budgeted` sends under one budget, which may be traced and mapped over.

    Layer l draws from `fold_in(key, l)`. A choice that reads values is made from the errors of
    `near_one(x)`, so that small numbers do not vanish when they are squared; where two choices are
    equal but for rounding, programs compiled apart may choose apart.

    A code holds what arrives and not what it was made of, so that a message is made by `encode`
    alone, on the host: its arrays have the sizes of the rungs.

    Attributes:
        budget: bits, header included; below `least_bits`, these are sent.
        budgeted: the layers and the rule.
    """

    budget: Int32[Array, "*batch"]
    budgeted: Budgeted = field(metadata={"static": True})
    name: ClassVar[str] = "Within"

    @property
    def nonfinite(self) -> Nonfinite:
        """That of all members; "spreads" is within a layer."""
        return nonfinite_of(
            ladder.member(rung, size)
            for ladder, size in set(zip(self.budgeted.ladders, self.budgeted.sizes, strict=True))
            for rung in range(self.budgeted.rungs)
        )

    def check(self, d: int) -> None:
        """Raises `ValueError` unless d is the sum of the sizes."""
        self.budgeted.check(d)

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Chosen:
        """The rungs and what arrives by them."""
        self.check(x.shape[0])
        rungs = self._choose(x, key)
        parts: dict[int, Array] = {}
        for group, rows, keys in self._rows(x, key):
            mine = rungs[np.asarray(group.layers)]
            got = group.ladder.received_of_rows(rows, group.sizes, mine, keys=keys)
            for layer, size, row in zip(group.layers, group.sizes, got, strict=True):
                parts[layer] = row[:size]
        return Chosen(rungs, jnp.concatenate([parts[layer] for layer in range(len(parts))]))

    def expand(self, code: Chosen) -> Float[Array, " d"]:
        """What arrives."""
        return code.vector

    def pack(self, code: Chosen) -> Message:
        """Refused: the messages of a layer are made of its values, and a code has them no more.

        Raises:
            ValueError: always.
        """
        raise ValueError("a code of Within is what arrives, not what was sent: call encode(x, key)")

    def encode(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> Message:
        """`{"rungs": words, "layers": the members' own messages, "dtype": empty}`, on the host.

        The empty array costs nothing: its dtype tells the receiver that of the vector, and with it
        which rungs are dense.

        Raises:
            ValueError: under `jit`, where the sizes of the arrays cannot depend on values.
        """
        if any(isinstance(leaf, jax.core.Tracer) for leaf in (x, key, self.budget)):
            raise ValueError(
                "messages within a budget vary in size, and compiled arrays cannot: call encode "
                "outside jit and vmap, or compress, whose code has one shape"
            )
        self.check(x.shape[0])
        rungs = _rungs(self, x, key)
        parts = jnp.split(x, np.cumsum(self.budgeted.sizes)[:-1])
        members = self._members(np.asarray(rungs), x.dtype)
        layers = tuple(
            _encode(member, part, jax.random.fold_in(key, layer))
            for layer, (member, part) in enumerate(zip(members, parts, strict=True))
        )
        return {"rungs": self._pack(rungs), "layers": layers, "dtype": jnp.zeros(0, x.dtype)}

    def unpack(self, message: Message, *, key: PRNGKeyArray, d: int) -> Chosen:
        """The code; on the host. The budget is not read: the rungs are in the message."""
        self.check(d)
        rungs = self._unpack(message["rungs"])
        members = self._members(np.asarray(rungs), message["dtype"].dtype)
        parts = zip(members, message["layers"], self.budgeted.sizes, strict=True)
        vector = jnp.concatenate(
            [
                _decode(member, part, jax.random.fold_in(key, layer), size)
                for layer, (member, part, size) in enumerate(parts)
            ]
        )
        return Chosen(rungs, vector)

    def payload_bits(self, d: int, dtype: Any) -> int:
        """As many as `nbits`: what is left of the last words is not told apart."""
        return self.nbits(d, dtype)

    def nbits(self, d: int, dtype: Any, *, key: PRNGKeyArray | None = None) -> int:
        """What a message is charged, `bits_within` of the budget, which must not be traced.

        That is the size of the packed arrays where the rule reads no values, else no less.
        """
        self.check(d)
        return int(self.budgeted.bits_within(int(self.budget), dtype))

    def alpha(self, d: int) -> Constant:
        """`contraction(d)`, whatever the budget."""
        return self.budgeted.contraction(d)

    def expand_sum(self, codes: Chosen, weights: Float[Array, " P"]) -> Float[Array, " d"]:
        """The weighted sum of what arrives."""
        return jnp.tensordot(weights, codes.vector, axes=1)

    def _choose(self, x: Float[Array, " d"], key: PRNGKeyArray) -> Int32[Array, " L"]:
        allocation = self.budgeted.allocation
        bits = jnp.asarray(self.budgeted.table(x.dtype), jnp.int32)
        left = self.budget - self.budgeted.header_bits
        if not allocation.reads_values:
            return allocation.choose(None, bits, left)
        errors = jnp.zeros(bits.shape, wide(x))
        for group, rows, keys in self._rows(near_one(x), key):
            found = group.ladder.errors_of_rows(rows, group.sizes, keys=keys)
            errors = errors.at[np.asarray(group.layers)].set(found)
        return allocation.choose(errors, bits, left)

    def _rows(
        self, x: Float[Array, " d"], key: PRNGKeyArray
    ) -> Iterator[tuple[Alike, Float[Array, "n width"], Key[Array, " n"]]]:
        """Each group of layers, its rows of `x`, and their keys."""
        ends = np.cumsum(self.budgeted.sizes).tolist()
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(ends), dtype=jnp.int32))
        for group in self.budgeted.alike:
            rows = [
                jnp.pad(x[ends[layer] - size : ends[layer]], (0, group.width - size))
                for layer, size in zip(group.layers, group.sizes, strict=True)
            ]
            # Without the barrier XLA compiles the slices into every pass over the rows.
            together = jax.lax.optimization_barrier(jnp.stack(rows))
            yield group, together, keys[np.asarray(group.layers)]

    def _members(self, rungs: Int[np.ndarray, " L"], dtype: Any) -> list[Compressor]:
        layers = zip(self.budgeted.ladders, rungs.tolist(), self.budgeted.sizes, strict=True)
        return [ladder.member(rung, size, dtype) for ladder, rung, size in layers]

    def _pack(self, rungs: Int32[Array, " L"]) -> Array:
        if not self.budgeted.allocation.reads_values:
            return rungs[:1].astype(jnp.uint32)
        return pack_indices(rungs, self.budgeted.rungs)

    def _unpack(self, words: Array) -> Int32[Array, " L"]:
        L = len(self.budgeted.sizes)
        if not self.budgeted.allocation.reads_values:
            return jnp.broadcast_to(words[0].astype(jnp.int32), (L,))
        return unpack_indices(words, L, self.budgeted.rungs)


def near_one(x: Float[Array, " d"]) -> Float[Array, " d"]:
    """`x` times the power of two that brings max|x_j| near 1, so that nothing is rounded."""
    most = largest(x).astype(wide(x))
    exponent = jnp.clip(jnp.frexp(most)[1], -FARTHEST, FARTHEST)
    return (x.astype(wide(x)) * jnp.ldexp(jnp.ones_like(most), -exponent)).astype(x.dtype)


@cache
def _table(budgeted: Budgeted, dtype: Any) -> Int64[np.ndarray, "L R"]:
    table = np.zeros((len(budgeted.sizes), budgeted.rungs), np.int64)
    for layer, (ladder, size) in enumerate(zip(budgeted.ladders, budgeted.sizes, strict=True)):
        table[layer] = ladder.bits(size, dtype)
    if budgeted.header_bits + table[:, -1].sum() > MOST:
        raise ValueError(
            f"a message of {table[:, -1].sum()} bits exceeds {MOST}, the most that a budget can "
            "name: leave out the top rungs, compress a narrower dtype, or split the vector"
        )
    return table


@jax.jit
def _rungs(within: Within, x: Float[Array, " d"], key: PRNGKeyArray) -> Int32[Array, " L"]:
    return within._choose(x, key)


@partial(jax.jit, static_argnums=0)
def _encode(member: Compressor, x: Float[Array, " d"], key: PRNGKeyArray) -> Message:
    return member.encode(x, key=key)


@partial(jax.jit, static_argnums=(0, 3))
def _decode(member: Compressor, message: Message, key: PRNGKeyArray, d: int) -> Float[Array, " d"]:
    return member.decode(message, key=key, d=d)
