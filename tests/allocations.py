"""Small problems of allocation, drawn and traced the same way for every rule."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from compressors.allocation import ErrorAxis, Knapsack, Lagrangian, MinimalBits, Uniform


L, R = 4, 5
RULES = {
    "uniform": Uniform(),
    "knapsack": Knapsack(),
    "error axis": ErrorAxis(),
    "lagrangian": Lagrangian(),
    "minimal bits": MinimalBits(2),
}
READERS = [name for name, rule in RULES.items() if rule.reads_values and name != "minimal bits"]
"""The rules that ask for the least error."""


@partial(jax.jit, static_argnums=0)
def _chosen(rule, errors, bits, budget):
    return rule.choose(errors, bits, budget)


def chosen(rule, errors, bits, budget):
    """The rungs, by one compiled program a rule."""
    errors, bits = jnp.asarray(errors, jnp.float64), jnp.asarray(bits, jnp.int32)
    return np.asarray(_chosen(rule, errors, bits, jnp.asarray(budget, jnp.int32)))


def total(table, rungs):
    """The sum over layers, without int32 or float32."""
    return np.asarray(table)[np.arange(len(rungs)), rungs].sum()


@st.composite
def instances(draw):
    """Errors from heavy tails to ties, bits of a few to 2³⁰, budgets from too little to too much.

    Errors need not decline nor be convex.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    errors = rng.pareto(draw(st.sampled_from([0.3, 1.0, 5.0])), (L, R)) + 1e-9
    if draw(st.booleans()):
        errors = -np.sort(-errors, axis=1)
    if draw(st.booleans()):
        errors = np.minimum(np.floor(errors * 2), 8)
    scale = draw(st.sampled_from([3, 1000, 2**29 - 1]))
    bits = np.sort(rng.integers(0, scale, (L, R), endpoint=True), axis=1)
    least, most = int(bits[:, 0].sum()), int(bits[:, -1].sum())
    spare = draw(st.sampled_from([-1, 0, 1, 7]) | st.integers(0, max(1, most - least)))
    return errors, bits, min(max(least + spare, 0), 2**31 - 1)
