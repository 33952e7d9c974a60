"""Compressed models: which bits where, how they are made, and the folders they lie in."""

from dopt.compression.budget import Allocation as Allocation
from dopt.compression.budget import BudgetError as BudgetError
from dopt.compression.budget import dynamic as dynamic
from dopt.compression.budget import uniform as uniform
from dopt.compression.compress import How as How
from dopt.compression.compress import compress as compress
from dopt.compression.folder import load_compressed as load_compressed
from dopt.compression.gradients import by_gradients as by_gradients
from dopt.compression.gradients import first_order as first_order
from dopt.compression.linearity import Linearity as Linearity
from dopt.compression.linearity import Noise as Noise
from dopt.compression.linearity import measure as measure
from dopt.compression.streams import Streams as Streams
