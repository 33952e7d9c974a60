"""Allocations: rules that choose a rung for every layer under a budget of bits."""

from compressors.allocation._base import Allocation as Allocation
from compressors.allocation._base import fits as fits
from compressors.allocation.brute_force import brute_force as brute_force
from compressors.allocation.error_axis import ErrorAxis as ErrorAxis
from compressors.allocation.exact import exact as exact
from compressors.allocation.knapsack import Knapsack as Knapsack
from compressors.allocation.lagrangian import Lagrangian as Lagrangian
from compressors.allocation.minimal_bits import MinimalBits as MinimalBits
from compressors.allocation.uniform import Uniform as Uniform
