"""Which module builds the study of which settings."""

from types import ModuleType
from typing import Any

from experiments import (
    error_feedback,
    heterogeneity,
    kimad_cifar,
    kimad_mnist,
    kimad_quadratic,
    marina_libsvm,
    marina_quadratics,
    mnist_network,
)
from experiments.settings import (
    ErrorFeedback,
    Heterogeneity,
    KimadCifar,
    KimadMnist,
    KimadQuadratic,
    KimadTraces,
    MarinaLibsvm,
    MarinaQuadratics,
    MnistNetwork,
)
from experiments.study import Study


BUILDERS: dict[type, ModuleType] = {
    Heterogeneity: heterogeneity,
    MarinaQuadratics: marina_quadratics,
    MarinaLibsvm: marina_libsvm,
    ErrorFeedback: error_feedback,
    MnistNetwork: mnist_network,
    KimadQuadratic: kimad_quadratic,
    KimadMnist: kimad_mnist,
    KimadTraces: kimad_mnist,
    KimadCifar: kimad_cifar,
}
"""The module that builds the study of each class of settings."""


def study_of(settings: Any, data: str | None) -> Study:
    """The study of these settings; everything that can be refused is refused here.

    Raises:
        ConfigurationError: settings that no study can be made of.
        DataError: data that are not there.
    """
    return BUILDERS[type(settings)].build(settings, data)
