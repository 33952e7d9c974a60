"""Multinomial logistic regression with a bias: on MNIST, d = 785·10 = 7850.

    f(x) = (1/N) Σ_i [ log Σ_c exp(a_iᵀw_c) − a_iᵀw_{y_i} ] + (l2/2)‖x‖²,   x = [w_1 … w_C] by rows

where a_i are the pixels of image i followed by the constant 1, and x is the matrix [features,
classes] laid out row by row: its last `classes` numbers are the biases, which l2 shrinks as well.

Noise: one stochastic gradient averages `batch` samples drawn uniformly with replacement.

Constants:

* L ≤ ½ λ_max(AᵀA / N) + l2: the Hessian of sample i is (diag(p) − ppᵀ) ⊗ a_i a_iᵀ, and
  diag(p) − ppᵀ ⪯ ½ I (Böhning 1992, https://doi.org/10.1007/BF00048682).
* sigma2 ≤ 2 mean‖a_i‖² / batch: the gradient of sample i is a_i ⊗ (p − e_y), with ‖p − e_y‖² =
  (1 − p_y)² + Σ_{c≠y} p_c² ≤ 2(1 − p_y)² ≤ 2; a variance is at most the second moment, the mean of
  `batch` independent draws divides it by `batch`, and the l2 term has none.
* f* ≥ 0; mu ≥ l2, unknown for l2 = 0.

Source: the logistic regression of the experiments of Shadowheart SGD (Tyurin et al., NeurIPS 2024,
https://arxiv.org/abs/2402.04785).
"""

from dataclasses import dataclass, field
from math import isfinite
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32, Key

from compressors import Constant
from dopt.data import Digits
from dopt.errors import ConfigurationError
from dopt.problems._base import Constants
from dopt.problems._dtype import float_dtype
from dopt.problems._minibatches import MiniBatched
from dopt.problems._sampling import sum_over_batches


_CLASSES = 10


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class MultinomialLogistic(MiniBatched):
    """Softmax regression on data that all workers share; built by `from_digits`."""

    name: ClassVar[str] = "multinomial"
    n = None

    features: Float[Array, "N features"]
    labels: Int32[Array, " N"]
    top_eigenvalue: float | Float[Array, ""]
    """λ_max(AᵀA / N)."""
    mean_square: float | Float[Array, ""]
    """The mean of ‖a_i‖²."""
    d: int = field(metadata={"static": True})
    dtype: Any = field(metadata={"static": True})
    batch: int = field(metadata={"static": True})
    l2: float = field(metadata={"static": True})

    @classmethod
    def from_digits(
        cls, digits: Digits, *, batch: int = 1, l2: float = 0.0, dtype: Any = jnp.float32
    ) -> "MultinomialLogistic":
        """The regression of the ten digits on their pixels and a constant.

        Args:
            digits: images [N, pixels] and labels [N].
            batch: samples that one stochastic gradient averages.
            l2: the factor of the ridge ½‖x‖².
            dtype: of the model and the data.
        """
        if batch < 1:
            raise ConfigurationError(f"batch = {batch}; a gradient averages at least one sample")
        if not (l2 >= 0 and isfinite(l2)):
            raise ConfigurationError(f"l2 = {l2}; the ridge is finite and at least 0")
        dtype = float_dtype(dtype)
        samples, pixels = digits.images.shape
        features = np.ones((samples, pixels + 1), dtype)
        features[:, :-1] = digits.images
        gram = _gram(features) / samples
        return cls(
            features=jnp.asarray(features),
            labels=jnp.asarray(digits.labels, jnp.int32),
            top_eigenvalue=float(np.linalg.eigvalsh(gram)[-1]),
            mean_square=float(np.trace(gram)),
            d=(pixels + 1) * _CLASSES,
            dtype=dtype,
            batch=batch,
            l2=l2,
        )

    @property
    def constants(self) -> Constants:
        """All bounds: L of Böhning, sigma2 by the second moment, f* ≥ 0, mu ≥ l2."""
        smooth = Constant(float(self.top_eigenvalue) / 2 + self.l2, "bound", "Böhning 1992")
        variance = 2 * float(self.mean_square) / self.batch
        return Constants(
            L=smooth,
            L_max=smooth,
            L_plus=smooth,
            L_pm=Constant(0.0, "exact", "all workers have the same f"),
            mu=Constant(self.l2, "bound", "the ridge alone") if self.l2 > 0 else None,
            sigma2=Constant(variance, "bound", "the second moment"),
            f_star=Constant(0.0, "bound", "a cross-entropy is never negative"),
        )

    def start(self) -> Float[Array, " d"]:
        """Zero: every class as likely."""
        return jnp.zeros(self.d, self.dtype)

    def value(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """f(x) over all data."""
        return self._value(x, _log_probabilities(x, self.features))

    def grad(self, x: Float[Array, " d"]) -> Float[Array, " d"]:
        """∇f(x) over all data."""
        return self._grad(x, _log_probabilities(x, self.features))

    def value_and_grad(self, x: Float[Array, " d"]) -> tuple[Float[Array, ""], Float[Array, " d"]]:
        """Both, with one pass forward: a third cheaper than one after the other."""
        log_p = _log_probabilities(x, self.features)
        return self._value(x, log_p), self._grad(x, log_p)

    def local_grad(self, x: Float[Array, " d"], worker: Int[Array, ""]) -> Float[Array, " d"]:
        """∇f(x), for every worker."""
        return self.grad(x)

    def weighted_grad_sum(
        self,
        x: Float[Array, " d"],
        counts: Int[Array, " P"],
        weights: Float[Array, " P"],
        *,
        keys: Key[Array, " P"],
        workers: Int[Array, " P"],
        most: int,
    ) -> Float[Array, " d"]:
        """All jobs' samples stacked, their weights in the residuals: two products a pass."""

        def one_pass(
            indices: Int[Array, "R batch"], shares: Float[Array, " R"]
        ) -> Float[Array, " d"]:
            drawn = indices.reshape(-1)
            rows = self.features.at[drawn].get(mode="promise_in_bounds")
            labels = self.labels.at[drawn].get(mode="promise_in_bounds")
            each = jnp.repeat(shares / self.batch, self.batch)
            return _pull_back(_log_probabilities(x, rows), rows, labels, each)

        total = sum_over_batches(
            one_pass,
            jnp.zeros_like(x),
            counts,
            weights,
            jnp.zeros_like(counts),
            keys=keys,
            population=self.labels.shape[0],
            batch=self.batch,
            most=most,
        )
        if self.l2 == 0:
            return total
        return total + self.l2 * jnp.sum(weights * counts.astype(weights.dtype)) * x

    def _value(self, x: Float[Array, " d"], log_p: Float[Array, "N classes"]) -> Float[Array, ""]:
        right = jnp.take_along_axis(log_p, self.labels[:, None], axis=1)
        return self.l2 / 2 * jnp.sum(x * x) - jnp.mean(right)

    def _grad(self, x: Float[Array, " d"], log_p: Float[Array, "N classes"]) -> Float[Array, " d"]:
        each = jnp.full(self.labels.shape, 1 / self.labels.shape[0], x.dtype)
        return _pull_back(log_p, self.features, self.labels, each) + self.l2 * x


def _log_probabilities(
    x: Float[Array, " d"], rows: Float[Array, "S features"]
) -> Float[Array, "S classes"]:
    return jax.nn.log_softmax(rows @ x.reshape(-1, _CLASSES), axis=1)


def _pull_back(
    log_p: Float[Array, "S classes"],
    rows: Float[Array, "S features"],
    labels: Int32[Array, " S"],
    each: Float[Array, " S"],
) -> Float[Array, " d"]:
    """Σ_s each[s] · a_s ⊗ (p_s − e_{y_s}), flat."""
    right = labels[:, None] == jnp.arange(_CLASSES, dtype=labels.dtype)[None, :]
    residuals = each[:, None] * (jnp.exp(log_p) - right.astype(log_p.dtype))
    # Residuals on the left: over a batch of models XLA makes one wide product of it.
    return (residuals.T @ rows).T.reshape(-1)


def _gram(features: Float[np.ndarray, "N features"]) -> Float[np.ndarray, "features features"]:
    """AᵀA in float64, by parts: a whole copy of MNIST would take 400 MB."""
    size = features.shape[1]
    gram = np.zeros((size, size))
    for first in range(0, len(features), 4096):
        part = features[first : first + 4096].astype(np.float64)
        gram += part.T @ part
    return gram
