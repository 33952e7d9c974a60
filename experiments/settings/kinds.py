"""The studies by name: their settings and presets."""

from typing import Any, NamedTuple

from experiments.settings import (
    error_feedback,
    heterogeneity,
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
}
"""The studies by name."""
