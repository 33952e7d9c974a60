"""Second moments of the inputs of a language model's layers, for quantizers that need them."""

from dopt.calibration.kept import saved_hessians as saved_hessians
from dopt.calibration.walk import Walked as Walked
from dopt.calibration.walk import walk as walk
from dopt.calibration.windows import calibration_windows as calibration_windows
from dopt.calibration.windows import random_tokens as random_tokens
