"""The studies by name: their settings and presets."""

from typing import Any, NamedTuple

from experiments.settings import (
    error_feedback,
    heterogeneity,
    kimad_cifar,
    kimad_mnist,
    kimad_quadratic,
    marina_libsvm,
    marina_quadratics,
    mnist_network,
)
from experiments.settings.preset import Preset


class Kind(NamedTuple):
    """The settings class of a study, and its presets: smoke, quick and full."""

    settings: type[Any]
    presets: dict[str, Preset]

    @property
    def line(self) -> str:
        """What the study asks."""
        return str(self.settings.__doc__).splitlines()[0]


STUDIES = {
    "heterogeneity": Kind(heterogeneity.Heterogeneity, heterogeneity.PRESETS),
    "marina-quadratics": Kind(marina_quadratics.MarinaQuadratics, marina_quadratics.PRESETS),
    "marina-libsvm": Kind(marina_libsvm.MarinaLibsvm, marina_libsvm.PRESETS),
    "error-feedback": Kind(error_feedback.ErrorFeedback, error_feedback.PRESETS),
    "mnist-network": Kind(mnist_network.MnistNetwork, mnist_network.PRESETS),
    "kimad-quadratic": Kind(kimad_quadratic.KimadQuadratic, kimad_quadratic.PRESETS),
    "kimad-mnist": Kind(kimad_mnist.KimadMnist, kimad_mnist.PRESETS),
    "kimad-traces": Kind(kimad_mnist.KimadTraces, kimad_mnist.TRACES_PRESETS),
    "kimad-cifar": Kind(kimad_cifar.KimadCifar, kimad_cifar.PRESETS),
}
"""The studies by name."""
