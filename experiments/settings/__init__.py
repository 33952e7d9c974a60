"""What can be set in each study, and its presets. Imports nothing heavy.

The first line of the text of a settings class is what lists and help say about its study.
"""

from typing import Any, NamedTuple

from experiments.settings import (
    error_feedback,
    heterogeneity,
    marina_libsvm,
    marina_quadratics,
    mnist_network,
)
from experiments.settings.error_feedback import ErrorFeedback as ErrorFeedback
from experiments.settings.heterogeneity import Heterogeneity as Heterogeneity
from experiments.settings.marina_libsvm import MarinaLibsvm as MarinaLibsvm
from experiments.settings.marina_quadratics import MarinaQuadratics as MarinaQuadratics
from experiments.settings.mnist_network import MnistNetwork as MnistNetwork
from experiments.settings.preset import Preset as Preset


class Kind(NamedTuple):
    """The settings class of a study, and its presets: smoke, quick and full."""

    settings: type[Any]
    presets: dict[str, Preset]

    @property
    def line(self) -> str:
        """What the study asks."""
        return str(self.settings.__doc__).splitlines()[0]


STUDIES = {
    "heterogeneity": Kind(Heterogeneity, heterogeneity.PRESETS),
    "marina-quadratics": Kind(MarinaQuadratics, marina_quadratics.PRESETS),
    "marina-libsvm": Kind(MarinaLibsvm, marina_libsvm.PRESETS),
    "error-feedback": Kind(ErrorFeedback, error_feedback.PRESETS),
    "mnist-network": Kind(MnistNetwork, mnist_network.PRESETS),
}
"""The studies by name."""
