"""What decides the forward pass of a Llama-family decoder."""

import math
from dataclasses import dataclass

from dopt.errors import ConfigurationError


@dataclass(frozen=True)
class LinearScaling:
    """Positions divided by a factor (Chen et al., "Position interpolation", arXiv 2306.15595)."""

    factor: float

    def __post_init__(self) -> None:
        _at_least_one("the factor of linear RoPE scaling", self.factor)


@dataclass(frozen=True)
class Llama3Scaling:
    """Slow rotations divided by a factor, fast ones kept, a ramp between them (Llama 3.1).

    A rotation is slow where its wavelength is over `original_context / low` tokens, and fast where
    it is under `original_context / high`.
    """

    factor: float
    low: float
    high: float
    original_context: int

    def __post_init__(self) -> None:
        _at_least_one("the factor of llama3 RoPE scaling", self.factor)
        if not 0 < self.low < self.high < math.inf:
            raise ConfigurationError(
                f"the bounds of llama3 RoPE scaling are low = {self.low} and high = {self.high}; "
                "they must be positive and low below high"
            )
        _positive("the original context of llama3 RoPE scaling", self.original_context)


Scaling = LinearScaling | Llama3Scaling


@dataclass(frozen=True)
class Config:
    """The shape of a model and the constants of its forward pass; hashable, so static under jit.

    Raises:
        ConfigurationError: sizes that fit no model; the message names them.
    """

    vocabulary: int
    layers: int
    d_model: int
    heads: int
    kv_heads: int
    """Heads of keys and values; each serves heads / kv_heads heads of queries."""
    head_size: int
    d_ff: int
    context: int
    """Most tokens that the model was made for."""
    rope_theta: float = 10_000.0
    scaling: Scaling | None = None
    norm_eps: float = 1e-5
    tied: bool = False
    """Whether the embedding is also the head."""
    qk_norm: bool = False
    """RMSNorm of every head's queries and keys (Qwen3)."""
    qkv_bias: bool = False
    """Biases of queries, keys and values (Qwen2)."""
    sliding_window: int | None = None
    """Tokens that a token sees where a layer is windowed; longer inputs are refused."""

    def __post_init__(self) -> None:
        for name in (
            "vocabulary",
            "layers",
            "d_model",
            "heads",
            "kv_heads",
            "head_size",
            "d_ff",
            "context",
        ):
            _positive(name, getattr(self, name))
        if self.sliding_window is not None:
            _positive("sliding_window", self.sliding_window)
        if self.heads % self.kv_heads:
            raise ConfigurationError(
                f"{self.heads} heads are no multiple of {self.kv_heads} kv heads"
            )
        if self.head_size % 2:
            raise ConfigurationError(
                f"head_size = {self.head_size}; rotations go by pairs, so it must be even"
            )
        if not 0 < self.rope_theta < math.inf:
            raise ConfigurationError(f"rope_theta = {self.rope_theta}; it must be positive")
        if not 0 <= self.norm_eps < 1:
            raise ConfigurationError(f"norm_eps = {self.norm_eps}; it must be in [0, 1)")

    @property
    def longest(self) -> int:
        """Most tokens that go through the model: the context, or the window where it is shorter."""
        return min(self.context, self.sliding_window or self.context)

    def check_length(self, tokens: int) -> None:
        """Refuses inputs that the model was not made for.

        Raises:
            ConfigurationError: more tokens than `longest`.
        """
        if tokens <= self.longest:
            return
        if self.longest == self.context:
            raise ConfigurationError(
                f"{tokens} tokens, but the model was made for {self.context}; cut them into windows"
            )
        raise ConfigurationError(
            f"{tokens} tokens, but the model's sliding window is {self.sliding_window}, beyond "
            f"which attention is not full; give at most {self.sliding_window}"
        )


def _positive(name: str, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{name} = {value!r}; it must be a positive integer")


def _at_least_one(name: str, value: float) -> None:
    if not 1 <= value < math.inf:
        raise ConfigurationError(f"{name} is {value}; it must be at least 1")
