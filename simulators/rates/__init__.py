"""Rates: bits of a link or gradients of a processor per second, as functions of virtual time."""

from simulators.rates._base import Rate as Rate
from simulators.rates.constant import Constant as Constant
from simulators.rates.durations import Durations as Durations
from simulators.rates.noisy import Noisy as Noisy
from simulators.rates.random_walk import RandomWalk as RandomWalk
from simulators.rates.recorded import Recorded as Recorded
from simulators.rates.sine import Sine as Sine
