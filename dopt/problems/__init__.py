"""Problems: f, its gradients, its noise and its constants."""

from dopt.problems._base import Constants as Constants
from dopt.problems._base import Problem as Problem
