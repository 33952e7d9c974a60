"""Grids that numbers are rounded to, one or a few at a time, and the rotation before it."""

from compressors.grids.formats import af4 as af4
from compressors.grids.formats import fp4 as fp4
from compressors.grids.formats import integer as integer
from compressors.grids.formats import nf4 as nf4
from compressors.grids.gaussian import gaussian_grid as gaussian_grid
from compressors.grids.gaussian import load_grid as load_grid
from compressors.grids.gaussian import shipped_sizes as shipped_sizes
from compressors.grids.grid import Grid as Grid
from compressors.grids.group_error import absmax_error as absmax_error
from compressors.grids.group_error import minmax_error as minmax_error
from compressors.grids.rotation import group_sizes as group_sizes
from compressors.grids.rotation import rotate_groups as rotate_groups
from compressors.grids.rotation import rotate_groups_back as rotate_groups_back
from compressors.grids.rotation import seed_of_signs as seed_of_signs
from compressors.grids.scalar import constrained_uniform as constrained_uniform
from compressors.grids.scalar import lloyd_max as lloyd_max
from compressors.grids.vector import VectorGrid as VectorGrid
from compressors.grids.vector import train as train
