"""Splits of samples over workers: evenly, by label, or by a Dirichlet draw per label.

Each gives n arrays of indices that are disjoint, together hold every sample, and are never empty.
They depend on the seed alone: numpy keeps the raw words of a bit generator for ever.
"""

from collections.abc import Sequence
from math import isfinite

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from dopt.errors import ConfigurationError


Parts = Sequence[Int64[np.ndarray, " _"]]
"""The samples of each worker, ascending; workers may have different numbers of them."""

_STREAM = 0x5EED


def even_split(samples: int, n: int, *, seed: int = 0) -> Parts:
    """Samples in an order drawn from `seed`, cut into n parts whose sizes differ by at most one."""
    _check(samples, n, seed)
    return _cut(_order(_words(samples, seed)), n)


def label_split(labels: Shaped[np.ndarray, " N"], n: int, *, seed: int = 0) -> Parts:
    """Samples sorted by label, then cut as by `even_split`: most workers see one label alone.

    Within a label the order is drawn from `seed`.
    """
    _check(len(labels), n, seed)
    shuffled = _order(_words(len(labels), seed))
    return _cut(shuffled[np.argsort(labels[shuffled], kind="stable")], n)


def dirichlet_split(
    labels: Shaped[np.ndarray, " N"], n: int, alpha: float, *, seed: int = 0
) -> Parts:
    """The samples of each label divided in proportions drawn from Dirichlet(alpha, ..., alpha).

    A small alpha gives each label to few workers, a large one gives all workers the same mixture.
    Workers who drew nothing get one sample each from whoever has most.

    Source: the heterogeneous splits of Hsu, Qi, Brown, 2019 (arXiv 1909.06335), with a draw per
    label over workers in place of one per worker over labels.
    """
    _check(len(labels), n, seed)
    if not (alpha > 0 and isfinite(alpha)):
        raise ConfigurationError(f"alpha = {alpha}; a Dirichlet parameter is finite and positive")
    kinds = np.unique(labels)
    words = _words(len(labels) + 2 * n * len(kinds), seed)
    shuffled = _order(words[: len(labels)])
    shares = _dirichlet(words[len(labels) :].reshape(len(kinds), 2, n), alpha)
    owners = np.empty(len(labels), np.int64)
    for kind, share in zip(kinds, shares, strict=True):
        members = shuffled[labels[shuffled] == kind]
        cuts = np.rint(np.cumsum(share)[:-1] * len(members)).astype(np.int64)
        owners[members] = np.searchsorted(cuts, np.arange(len(members)), side="right")
    sizes = np.bincount(owners, minlength=n)
    for poor in np.flatnonzero(sizes == 0):
        rich = int(np.argmax(sizes))
        owners[shuffled[np.argmax(owners[shuffled] == rich)]] = poor
        sizes[rich] -= 1
        sizes[poor] = 1
    return tuple(np.flatnonzero(owners == i) for i in range(n))


def _check(samples: int, n: int, seed: int) -> None:
    if not 1 <= n <= samples:
        raise ConfigurationError(
            f"n = {n} workers for {samples} samples; each needs at least one: take 1 to {samples}"
        )
    if seed < 0:
        raise ConfigurationError(f"seed = {seed}; it must be at least 0")


def _words(count: int, seed: int) -> Shaped[np.ndarray, " count"]:
    # A stream of its own: data that were made from the same seed must not come out sorted.
    return np.random.PCG64([seed, _STREAM]).random_raw(count)


def _order(words: Shaped[np.ndarray, " N"]) -> Int64[np.ndarray, " N"]:
    return np.argsort(words, kind="stable")


def _cut(order: Int64[np.ndarray, " N"], n: int) -> Parts:
    return tuple(np.sort(part) for part in np.array_split(order, n))


def _dirichlet(
    words: Shaped[np.ndarray, "draws 2 n"], alpha: float
) -> Float64[np.ndarray, "draws n"]:
    """Normalised gammas of shape alpha, each from two uniforms.

    G(alpha) = G(alpha + 1)·U^(1/alpha), in logarithms: for a small alpha most are below all floats.
    """
    from scipy.special import gammaincinv

    uniform = (words >> np.uint64(11)).astype(np.float64) / 2**53 + 2.0**-54
    logs = np.log(gammaincinv(alpha + 1, uniform[:, 0])) + np.log(uniform[:, 1]) / alpha
    gammas = np.exp(logs - logs.max(axis=1, keepdims=True))
    return gammas / gammas.sum(axis=1, keepdims=True)
