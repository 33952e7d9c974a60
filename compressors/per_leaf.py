"""A compressor of its own for every leaf of a pytree."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from compressors._base import Code, Compressor, Constant, Contractive, Message, Nonfinite, Unbiased
from compressors._wrapped import check_size, contractive, nonfinite_of, unbiased


T = TypeVar("T", bound="_PerLeaf")


@dataclass(frozen=True)
class _PerLeaf(Compressor):
    """The mechanics; the promise is that of a subclass.

    Leaf i draws from `fold_in(key, i)`; codes and messages are tuples, one entry a leaf.
    """

    compressors: tuple[Compressor, ...] = field(metadata={"static": True})
    sizes: tuple[int, ...] = field(metadata={"static": True})

    def __post_init__(self) -> None:
        if len(self.compressors) != len(self.sizes) or not self.sizes:
            raise ValueError(
                f"{self.name} has {len(self.compressors)} compressors for {len(self.sizes)} "
                "leaves: give one for each leaf, and at least one"
            )
        if min(self.sizes) < 1:
            leaf = self.sizes.index(min(self.sizes))
            raise ValueError(f"leaf {leaf} of {self.name} is empty: leave it out of the parameters")
        for part, size in zip(self.compressors, self.sizes, strict=True):
            check_size(self.name, part)
            part.check(size)

    @classmethod
    def like(cls: type[T], params: Any, make: Callable[[Any], Compressor]) -> T:
        """The compressor of the leaves of `params`, in the order of `ravel_pytree`.

        Args:
            params: a pytree of arrays, or of their shapes.
            make: from a leaf to its compressor, which takes vectors of as many entries.
        """
        leaves = jax.tree.leaves(params)
        sizes = tuple(math.prod(np.shape(leaf)) for leaf in leaves)
        return cls(tuple(make(leaf) for leaf in leaves), sizes)

    @property
    def nonfinite(self) -> Nonfinite:
        """That of the leaves; "spreads" is within a leaf."""
        return nonfinite_of(self.compressors)

    def check(self, d: int) -> None:
        """Raises `ValueError` unless d is the sum of the sizes."""
        if d != sum(self.sizes):
            raise ValueError(
                f"{self.name} of leaves with {sum(self.sizes)} entries in all cannot take "
                f"d = {d}: make it with like(params, ...) of the same parameters"
            )

    def compress(self, x: Float[Array, " d"], *, key: PRNGKeyArray) -> tuple[Code, ...]:
        """The codes of the leaves."""
        self.check(x.shape[0])
        leaves = jnp.split(x, np.cumsum(self.sizes)[:-1])
        return tuple(
            part.compress(leaf, key=jax.random.fold_in(key, i))
            for i, (part, leaf) in enumerate(zip(self.compressors, leaves, strict=True))
        )

    def expand(self, code: tuple[Code, ...]) -> Float[Array, " d"]:
        """The leaves in a row."""
        parts = zip(self.compressors, code, strict=True)
        return jnp.concatenate([part.expand(one) for part, one in parts])

    def pack(self, code: tuple[Code, ...]) -> tuple[Message, ...]:
        """The messages of the leaves."""
        return tuple(part.pack(one) for part, one in zip(self.compressors, code, strict=True))

    def unpack(
        self, message: tuple[Message, ...], *, key: PRNGKeyArray, d: int
    ) -> tuple[Code, ...]:
        """The codes of the leaves."""
        self.check(d)
        return tuple(
            part.unpack(one, key=jax.random.fold_in(key, i), d=size)
            for i, (part, one, size) in enumerate(
                zip(self.compressors, message, self.sizes, strict=True)
            )
        )

    def payload_bits(self, d: int, dtype: Any) -> int:
        """The sum of those of the leaves."""
        self.check(d)
        parts = zip(self.compressors, self.sizes, strict=True)
        return sum(part.payload_bits(size, dtype) for part, size in parts)

    def expand_sum(
        self, codes: tuple[Code, ...], weights: Float[Array, " P"]
    ) -> Float[Array, " d"]:
        """The weighted sums of the leaves in a row."""
        parts = zip(self.compressors, codes, strict=True)
        return jnp.concatenate([part.expand_sum(one, weights) for part, one in parts])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PerLeaf(_PerLeaf, Unbiased):
    """Every leaf of a pytree by an unbiased compressor of its own, on vectors of `ravel_pytree`.

    E‖Cx − x‖² = Σ_i E‖C_i x_i − x_i‖² ≤ max_i ω_i·‖x‖².

    Attributes:
        compressors: one for each leaf.
        sizes: entries of each leaf.
    """

    name: ClassVar[str] = "PerLeaf"

    def __post_init__(self) -> None:
        for part in self.compressors:
            unbiased(self.name, part)
        super().__post_init__()

    def omega(self, d: int) -> Constant:
        """max_i ω_i, attained where the other leaves are zero."""
        self.check(d)
        parts = zip(self.compressors, self.sizes, strict=True)
        constants = [unbiased(self.name, part).omega(size) for part, size in parts]
        return _in_leaf(constants, max(constants, key=lambda omega: omega.value))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ContractivePerLeaf(_PerLeaf, Contractive):
    """Every leaf of a pytree by a contractive compressor of its own; α = min_i α_i.

    Attributes:
        compressors: one for each leaf.
        sizes: entries of each leaf.
    """

    name: ClassVar[str] = "ContractivePerLeaf"

    def __post_init__(self) -> None:
        for part in self.compressors:
            contractive(self.name, part)
        super().__post_init__()

    def alpha(self, d: int) -> Constant:
        """min_i α_i, attained where the other leaves are zero."""
        self.check(d)
        parts = zip(self.compressors, self.sizes, strict=True)
        constants = [contractive(self.name, part).alpha(size) for part, size in parts]
        return _in_leaf(constants, min(constants, key=lambda alpha: alpha.value))


def _in_leaf(constants: list[Constant], worst: Constant) -> Constant:
    leaf = constants.index(worst)
    return worst._replace(note=f"{worst.note}, in leaf {leaf}, and zero in the others")
