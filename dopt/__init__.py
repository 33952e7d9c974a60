"""Distributed optimization in virtual time: problems, methods, theory and the replay of schedules.

The names that most readers need are here; everything else is in the subpackages (`dopt.problems`,
`dopt.methods`, `dopt.policies`, `dopt.theory`, `dopt.replay`, `dopt.results`, `dopt.data`).
"""

from dopt.data import load_mnist as load_mnist
from dopt.errors import DoptError as DoptError
from dopt.methods import AsynchronousSGD as AsynchronousSGD
from dopt.methods import Method as Method
from dopt.methods import MinibatchSGD as MinibatchSGD
from dopt.methods import RennalaSGD as RennalaSGD
from dopt.methods import ShadowheartSGD as ShadowheartSGD
from dopt.problems import MultinomialLogistic as MultinomialLogistic
from dopt.problems import Problem as Problem
from dopt.problems import TridiagonalQuadratic as TridiagonalQuadratic
from dopt.replay import replay as replay
from dopt.theory import equilibrium_time as equilibrium_time
from dopt.trace import Trace as Trace


__version__ = "0.1.0"
