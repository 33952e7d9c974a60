"""Allocations: rules that choose a rung for every layer under a budget of bits."""

from compressors.allocation._base import Allocation as Allocation
from compressors.allocation._base import fits as fits
from compressors.allocation.knapsack import Knapsack as Knapsack
from compressors.allocation.uniform import Uniform as Uniform
