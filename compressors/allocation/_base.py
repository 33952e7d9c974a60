"""What an allocation is: a rule that chooses a rung for every layer under a budget of bits."""

import abc
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32


class Allocation(abc.ABC):
    """A rule that spends a budget on L layers of R rungs each; a frozen dataclass, no array leaves.

    All may be traced and mapped over. Bits are int32, and so must be their sum over the top rungs
    (`Budgeted` sees to it). A rule never spends more than the budget where rung 0 everywhere fits
    in it (`fits`), and gives rung 0 everywhere where it does not. A rule that reads no values gives
    all layers the same rung.
    """

    name: ClassVar[str]
    reads_values: ClassVar[bool] = True
    """Whether the choice depends on the errors, so that the size of a message does."""

    @abc.abstractmethod
    def choose(
        self,
        errors: Float[Array, "L R"] | None,
        bits: Int32[Array, "L R"],
        budget: Int32[Array, ""],
    ) -> Int32[Array, " L"]:
        """The rung of every layer.

        Args:
            errors: ‖C_r(x_l) − x_l‖², not negative; an error that is no number counts as one too
                large. `None` will do for a rule that reads no values.
            bits: of every rung, never declining along a row.
            budget: in bits.
        """


def fits(bits: Int32[Array, "L R"], budget: Int32[Array, ""]) -> Bool[Array, ""]:
    """Whether the budget holds rung 0 of every layer."""
    return bits[:, 0].sum(dtype=jnp.int32) <= budget


def total(
    table: Float[Array, "L R"] | Int32[Array, "L R"], rungs: Int32[Array, " L"]
) -> Float[Array, ""] | Int32[Array, ""]:
    """The sum of the entries of a table at the rungs."""
    return jnp.take_along_axis(table, rungs[:, None], axis=1).sum(dtype=table.dtype)


def better(
    errors: Float[Array, "L R"], rungs: Int32[Array, " L"], than: Int32[Array, " L"]
) -> Int32[Array, " L"]:
    """`rungs` where their total error is below that of the other choice, else the other."""
    return jnp.where(total(errors, rungs) < total(errors, than), rungs, than)


def tamed(errors: Float[Array, "L R"] | None) -> Float[Array, "L R"]:
    """The errors with NaN and infinities replaced by what L times over is still finite.

    Raises:
        ValueError: there are none.
    """
    if errors is None:
        raise ValueError("this rule reads the errors of the rungs, and was given none: give them")
    most = float(jnp.finfo(errors.dtype).max) / (2 * errors.shape[0])
    return jnp.where(errors < most, errors, most)
