"""Problems: f, its gradients, its noise and its constants."""

from dopt.problems._base import Constants as Constants
from dopt.problems._base import Problem as Problem
from dopt.problems.autoencoder import LinearAutoencoder as LinearAutoencoder
from dopt.problems.estimates import Traces as Traces
from dopt.problems.estimates import estimate_constants as estimate_constants
from dopt.problems.estimates import estimate_traces as estimate_traces
from dopt.problems.from_loss import FromLoss as FromLoss
from dopt.problems.from_loss import from_loss as from_loss
from dopt.problems.heterogeneous_quadratics import (
    HeterogeneousQuadratics as HeterogeneousQuadratics,
)
from dopt.problems.leaves import leaf_names as leaf_names
from dopt.problems.logistic import LogisticRegression as LogisticRegression
from dopt.problems.losses import LogLoss as LogLoss
from dopt.problems.losses import MarginLoss as MarginLoss
from dopt.problems.losses import Regularizer as Regularizer
from dopt.problems.losses import SquaredSigmoid as SquaredSigmoid
from dopt.problems.matrix_quadratics import MatrixQuadratics as MatrixQuadratics
from dopt.problems.multinomial import MultinomialLogistic as MultinomialLogistic
from dopt.problems.networks import convolutional_network as convolutional_network
from dopt.problems.networks import perceptron as perceptron
from dopt.problems.noise import GaussianNoise as GaussianNoise
from dopt.problems.noise import Noise as Noise
from dopt.problems.noise import NoNoise as NoNoise
from dopt.problems.noise import ProgressiveNoise as ProgressiveNoise
from dopt.problems.noise import ScalarNoise as ScalarNoise
from dopt.problems.resnet import resnet18 as resnet18
from dopt.problems.tridiagonal import TridiagonalQuadratic as TridiagonalQuadratic
