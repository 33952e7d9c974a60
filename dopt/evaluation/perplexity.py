"""Perplexity on a text: e to the mean of −log p over the scored tokens (see `windows`)."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float64, Int64

from dopt.evaluation.forward import forward_steps, streams
from dopt.evaluation.per_token import PerToken
from dopt.evaluation.scoring import (
    head_parameters,
    in_chunks,
    in_front,
    negative_log_likelihoods,
    targets,
    window_sums,
)
from dopt.evaluation.steps import OnProgress, Steps, Stopping
from dopt.evaluation.windows import Text, check_tokens, windows_of
from dopt.models.parameters import Model


@dataclass(frozen=True, eq=False)
class Perplexity:
    """How well a model predicts a text.

    Attributes:
        nll: of each window, −Σ log p of its scored tokens, in nats.
        counts: tokens that each window scores.
        windows: the fingerprint of the windows.
    """

    nll: Float64[np.ndarray, " N"]
    counts: Int64[np.ndarray, " N"]
    windows: str

    @property
    def per_token(self) -> PerToken:
        """−log p a token, which `paired_difference` compares."""
        return PerToken(self.nll, self.counts, self.windows)

    @property
    def mean(self) -> float:
        """Nats a token."""
        return self.per_token.mean

    @property
    def error(self) -> float:
        """The standard error of `mean` over windows; that of `value` is value·error."""
        return self.per_token.error

    @property
    def value(self) -> float:
        """The perplexity; infinite where e^mean is no float."""
        return exponential(self.mean)


def perplexity(
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
) -> Perplexity:
    """Measures the perplexity of a model.

    Products and logits are of the model's own precision, float32 at least for logits; sums over
    tokens are float64.

    Args:
        model: a decoder, packed or not.
        tokens: of a text, or windows already cut.
        window: tokens of a window, 512 by default.
        stride: from window to window, by default as much as the window holds of the text.
        bos: the token in front of every window, none by default.
        most: the first so many windows; all by default.
        batch: windows that go through a layer together; by default about 512 tokens.
        on_progress: told (done, total) as the work goes on.
        stopping: asked whether to stop.

    Raises:
        ConfigurationError: see `windows.cut`; a token outside of the vocabulary, or windows longer
            than the model was made for.
        InterruptedRunError: the user has asked to stop.
    """
    windows = windows_of(tokens, window, stride, bos, most)
    check_tokens(windows.tokens, model.config.vocabulary)
    steps = Steps(forward_steps(model, windows.tokens.shape, batch), on_progress, stopping)
    score = partial(negative_log_likelihoods, head_parameters(model), model.config)
    sums = []
    for part, x in streams(model, windows.tokens, batch, steps):
        (nll,) = in_chunks(score, x[in_front(windows, part)], targets(windows, part))
        sums.append(window_sums(windows, part, nll))
    return Perplexity(np.concatenate(sums), windows.counts, windows.fingerprint)


def exponential(nats: float) -> float:
    """The exponential, infinity where it is no float."""
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf
