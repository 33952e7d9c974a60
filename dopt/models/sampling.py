"""How the next token is drawn from logits."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from dopt.errors import ConfigurationError


@dataclass(frozen=True)
class Sampling:
    """Draws from softmax(logits / temperature), cut to the likeliest tokens.

    First to the `top_k` likeliest, then to the fewest of these whose probability, among these,
    reaches `top_p`. A temperature of 0 takes the likeliest token.

    Raises:
        ConfigurationError: a temperature below 0, top_k < 1, or top_p outside of (0, 1].
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ConfigurationError(f"temperature = {self.temperature}; it must be at least 0")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigurationError(f"top_k = {self.top_k}; it must be at least 1")
        if not 0 < self.top_p <= 1:
            raise ConfigurationError(f"top_p = {self.top_p}; it must be above 0 and at most 1")

    def __call__(self, logits: Float[Array, " vocabulary"], key: PRNGKeyArray) -> Int[Array, ""]:
        """The drawn token."""
        if self.temperature == 0:
            return jnp.argmax(logits).astype(jnp.int32)
        if self.top_k is None and self.top_p == 1:
            return jax.random.categorical(key, logits / self.temperature).astype(jnp.int32)
        kept = min(self.top_k or logits.size, logits.size)
        values, tokens = jax.lax.top_k(logits / self.temperature, kept)
        probabilities = jax.nn.softmax(values)
        before = jnp.cumsum(probabilities) - probabilities
        values = jnp.where(before < self.top_p, values, -jnp.inf)
        # Rounding may not cut the likeliest: nothing is before it.
        return tokens[jax.random.categorical(key, values)].astype(jnp.int32)


GREEDY = Sampling(temperature=0.0)
