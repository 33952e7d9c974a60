"""How a model is trained."""

from dataclasses import dataclass

import jax
import optax

from dopt.errors import ConfigurationError


@dataclass(frozen=True)
class Training:
    """AdamW under a cosine schedule with warm-up, gradients clipped by their global norm.

    Sources: Loshchilov, Hutter, arXiv 1711.05101 (AdamW) and arXiv 1608.03983 (cosine).

    Raises:
        ConfigurationError: a setting out of its bounds; the message names both.
    """

    steps: int = 600
    batch: int = 4
    """Windows of a step."""
    window: int = 512
    """Tokens of a window."""
    rate: float = 2e-3
    """The highest step size, reached when the warm-up ends; it falls to a tenth of that."""
    warmup: int = 50
    """Steps over which the step size grows from 0, at most a tenth of all."""
    decay: float = 0.1
    """Weight decay of the matrices."""
    clip: float = 1.0
    """The longest gradient."""
    every: int = 50
    """Steps from one measurement on the held-out text, and checkpoint, to the next."""
    seed: int = 0
    """Decides the start and the windows of every step."""

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 1), ("window", 2), ("warmup", 0), ("every", 1)):
            if getattr(self, name) < least:
                raise ConfigurationError(
                    f"{name} = {getattr(self, name)}; it must be at least {least}"
                )
        for name in ("rate", "clip"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} = {getattr(self, name)}; it must be above 0")
        if not 0 <= self.decay < 1:
            raise ConfigurationError(f"decay = {self.decay}; it must be in [0, 1)")
        if not 0 <= self.seed < 2**32:
            raise ConfigurationError(f"seed = {self.seed}; it must be in [0, 2³²)")

    def schedule(self) -> optax.Schedule:
        """The step size of each step."""
        warmup = min(self.warmup, self.steps // 10)
        return optax.warmup_cosine_decay_schedule(
            init_value=self.rate / (warmup + 1),
            peak_value=self.rate,
            warmup_steps=warmup,
            decay_steps=max(self.steps, warmup + 1),
            end_value=self.rate / 10,
        )

    def optimizer(self) -> optax.GradientTransformation:
        """The optimiser; norms and biases do not decay."""
        chain = optax.chain(
            optax.clip_by_global_norm(self.clip),
            optax.adamw(self.schedule(), b2=0.95, weight_decay=self.decay, mask=_matrices),
        )

        def update(
            gradients: optax.Updates, state: optax.OptState, params: optax.Params | None = None
        ) -> tuple[optax.Updates, optax.OptState]:
            # optax mixes dtypes, which strict promotion would refuse.
            with jax.numpy_dtype_promotion("standard"):
                return chain.update(gradients, state, params)

        return optax.GradientTransformation(chain.init, update)


def _matrices(params: optax.Params) -> optax.Params:
    return jax.tree.map(lambda array: array.ndim > 1, params)
