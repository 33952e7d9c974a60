"""What can be set in each study, and its presets. Imports nothing heavy.

The first line of the text of a settings class is what lists and help say about its study.
"""

from experiments.settings.error_feedback import ErrorFeedback as ErrorFeedback
from experiments.settings.heterogeneity import Heterogeneity as Heterogeneity
from experiments.settings.kimad_cifar import KimadCifar as KimadCifar
from experiments.settings.kimad_mnist import KimadMnist as KimadMnist
from experiments.settings.kimad_mnist import KimadTraces as KimadTraces
from experiments.settings.kimad_quadratic import KimadQuadratic as KimadQuadratic
from experiments.settings.kinds import STUDIES as STUDIES
from experiments.settings.kinds import Kind as Kind
from experiments.settings.marina_libsvm import MarinaLibsvm as MarinaLibsvm
from experiments.settings.marina_quadratics import MarinaQuadratics as MarinaQuadratics
from experiments.settings.mnist_network import MnistNetwork as MnistNetwork
from experiments.settings.preset import Preset as Preset
