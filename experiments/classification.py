"""Linear classification on LIBSVM sets, as the studies use it: data, and who has which of them."""

from typing import Any

from dopt.data import (
    Parts,
    Samples,
    data_folder,
    dirichlet_split,
    even_split,
    label_split,
    load_libsvm,
)
from dopt.data.libsvm import STAND_IN
from dopt.problems import LogisticRegression, LogLoss, SquaredSigmoid


NONCONVEX = 1e-3
"""The factor of Σ x²/(1 + x²) beside the logistic loss."""

SKEW = 0.3
"""Of the Dirichlet distribution of labels: the smaller, the more the workers differ."""


def sets_of(names: tuple[str, ...] | None, data: str | None, usual: tuple[str, ...]) -> list[str]:
    """The sets asked for; else the usual ones, or the stand-in where there is no data folder."""
    if names is not None:
        return list(names)
    return list(usual) if data_folder(data) is not None else [STAND_IN]


def problem_of(
    name: str, data: str | None, *, n: int, split: str, loss: str, batch: int | None
) -> tuple[LogisticRegression, dict[str, Any]]:
    """The problem of `n` workers on a set, and its description."""
    samples = load_libsvm(name, data)
    sigmoid = loss == "sigmoid"
    problem = LogisticRegression.from_samples(
        samples,
        parts=_parts(samples, n, split),
        batch=batch,
        loss=SquaredSigmoid() if sigmoid else LogLoss(),
        nonconvex=0.0 if sigmoid else NONCONVEX,
    )
    config = {
        "name": "linear-classification",
        "d": problem.d,
        "source": samples.source,
        "loss": loss,
        "nonconvex": problem.regularizer.nonconvex,
        "split": split,
        "batch": batch,
    }
    return problem, config


def _parts(samples: Samples, n: int, split: str) -> Parts:
    if split == "label":
        return label_split(samples.labels, n)
    if split == "dirichlet":
        return dirichlet_split(samples.labels, n, SKEW)
    return even_split(len(samples.labels), n)
