"""How far a model's predictions are from a reference's: KL divergence a token, top-1 agreement.

KL(p ‖ q) = Σ_v p_v (log p_v − log q_v) with the reference's p and the model's q. The difference of
two sums near ten would lose a KL below 10⁻⁶ in float32. With logits a of the reference, b of the
model, and δ = b − a less its mean under p, it is instead

    KL = log(1 + Σ_v p_v (e^δ_v − 1 − δ_v)),

a sum of numbers that are not negative.

A reference is measured once and serves many models: what is kept of it is its residual stream in
front of the scored tokens (d numbers a token, where logits would be a vocabulary), and its head is
applied again each time.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, Int64

from dopt.errors import ConfigurationError
from dopt.evaluation.forward import forward_steps, streams
from dopt.evaluation.per_token import PerToken
from dopt.evaluation.perplexity import Perplexity
from dopt.evaluation.scoring import head_parameters, in_chunks, in_front, targets, window_sums
from dopt.evaluation.steps import OnProgress, Steps, Stopping
from dopt.evaluation.windows import Text, Windows, check_tokens, windows_of
from dopt.models.config import Config
from dopt.models.decoder import head
from dopt.models.parameters import Model, Params


@dataclass(frozen=True, eq=False)
class Reference:
    """What models are compared with, on these windows; see `reference`.

    Attributes:
        windows: on which models are compared.
        config: of the reference.
        head: the parameters of its head.
        stream: its residual stream in front of each scored token.
    """

    windows: Windows
    config: Config
    head: Params
    stream: Float[np.ndarray, "M d"]


@dataclass(frozen=True, eq=False)
class Divergence:
    """Sums over the tokens that each window scores.

    Attributes:
        kl: Σ KL(reference ‖ model), in nats.
        agree: at how many tokens both have the same likeliest token; where several are likeliest,
            one in common is enough.
        nll: −Σ log p of the model.
        reference_nll: that of the reference.
        counts: tokens that each window scores.
        windows: the fingerprint of the windows.
    """

    kl: Float64[np.ndarray, " N"]
    agree: Float64[np.ndarray, " N"]
    nll: Float64[np.ndarray, " N"]
    reference_nll: Float64[np.ndarray, " N"]
    counts: Int64[np.ndarray, " N"]
    windows: str

    @property
    def per_token(self) -> PerToken:
        """KL a token, which `paired_difference` compares."""
        return PerToken(self.kl, self.counts, self.windows)

    @property
    def mean(self) -> float:
        """KL in nats a token."""
        return self.per_token.mean

    @property
    def error(self) -> float:
        """The standard error of `mean` over windows."""
        return self.per_token.error

    @property
    def top1(self) -> float:
        """The share of tokens at which both have the same likeliest token."""
        return self.agreement.mean

    @property
    def agreement(self) -> PerToken:
        """Top-1 agreement a token, with its spread over windows."""
        return PerToken(self.agree, self.counts, self.windows)

    @property
    def perplexity(self) -> Perplexity:
        """Of the model."""
        return Perplexity(self.nll, self.counts, self.windows)

    @property
    def reference_perplexity(self) -> Perplexity:
        """Of the reference."""
        return Perplexity(self.reference_nll, self.counts, self.windows)


def reference(
    model: Model,
    tokens: Text,
    *,
    window: int | None = None,
    stride: int | None = None,
    bos: int | None = None,
    most: int | None = None,
    batch: int | None = None,
    on_progress: OnProgress | None = None,
    stopping: Stopping | None = None,
) -> Reference:
    """Runs the model that others are compared with; arguments and errors as of `perplexity`.

    Holds 4·d bytes a scored token (float32): 19 MB for 16 windows of 512 tokens at d = 576.
    """
    windows = windows_of(tokens, window, stride, bos, most)
    check_tokens(windows.tokens, model.config.vocabulary)
    steps = Steps(forward_steps(model, windows.tokens.shape, batch), on_progress, stopping)
    parts = [
        np.asarray(x[in_front(windows, part)])
        for part, x in streams(model, windows.tokens, batch, steps)
    ]
    return Reference(windows, model.config, head_parameters(model), np.concatenate(parts))


def against(
    model: Model,
    reference: Reference,
    *,
    batch: int | None = None,
    on_progress: OnProgress | None = None,
    stopping: Stopping | None = None,
) -> Divergence:
    """Measures a model against a reference, on its windows; arguments as of `perplexity`.

    Raises:
        ConfigurationError: another vocabulary, or windows longer than the model was made for.
        InterruptedRunError: the user has asked to stop.
    """
    windows = reference.windows
    if model.config.vocabulary != reference.config.vocabulary:
        raise ConfigurationError(
            f"the model has {model.config.vocabulary} tokens and its reference "
            f"{reference.config.vocabulary}; compare models of one tokenizer"
        )
    steps = Steps(forward_steps(model, windows.tokens.shape, batch), on_progress, stopping)
    score = partial(
        compared, reference.head, reference.config, head_parameters(model), model.config
    )
    begin = np.concatenate([[0], np.cumsum(windows.counts)])
    sums = []
    for part, x in streams(model, windows.tokens, batch, steps):
        original = reference.stream[begin[part.start] : begin[part.stop]]
        given = x[in_front(windows, part)]
        values = in_chunks(score, original, given, targets(windows, part))
        sums.append([window_sums(windows, part, value) for value in values])
    kl, agree, nll, before = (np.concatenate(column) for column in zip(*sums, strict=True))
    return Divergence(kl, agree, nll, before, windows.counts, windows.fingerprint)


def divergence(
    model: Model,
    original: Model,
    tokens: Text,
    *,
    window: int | None = None,
    stride: int | None = None,
    bos: int | None = None,
    most: int | None = None,
    batch: int | None = None,
    on_progress: OnProgress | None = None,
    stopping: Stopping | None = None,
) -> Divergence:
    """Measures one model against another; where there are several, see `reference` and `against`.

    Arguments and errors as of `perplexity` and `against`; progress counts both models together.
    """
    windows = windows_of(tokens, window, stride, bos, most)
    first, second = (forward_steps(m, windows.tokens.shape, batch) for m in (original, model))
    steps = Steps(first + second, on_progress, stopping)

    def one_more(done: int, total: int) -> None:
        steps.step()

    found = reference(original, windows, batch=batch, on_progress=one_more)
    return against(model, found, batch=batch, on_progress=one_more)


@partial(jax.jit, static_argnames=("reference_config", "config"))
def compared(
    reference_head: Params,
    reference_config: Config,
    model_head: Params,
    config: Config,
    original: Float[Array, "M e"],
    x: Float[Array, "M d"],
    target: Int[Array, " M"],
) -> tuple[Array, Array, Array, Array]:
    """KL, whether the likeliest tokens agree, and −log p of the model and of the reference."""
    a = head(reference_head, reference_config, original)
    b = head(model_head, config, x).astype(a.dtype)
    a_top, b_top = (jnp.max(logits, axis=-1, keepdims=True) for logits in (a, b))
    p = jax.nn.softmax(a, axis=-1)
    delta = b - a
    shift = jnp.sum(p * delta, axis=-1, keepdims=True)
    centred = delta - shift
    gaps = jnp.sum(p * (jnp.expm1(centred) - centred), axis=-1)
    a_all, b_all = (jax.nn.logsumexp(logits, axis=-1) for logits in (a, b))
    # e^δ overflows where the model finds likely what the reference rules out; KL is large there.
    kl = jnp.where(gaps < jnp.inf, jnp.log1p(gaps), b_all - a_all - shift[:, 0])
    agree = jnp.any((a == a_top) & (b == b_top), axis=-1)
    a_at, b_at = (jnp.take_along_axis(c, target[:, None], axis=1)[:, 0] for c in (a, b))
    return kl, agree, b_all - b_at, a_all - a_at
