"""Live: the same methods on real workers, in processes that Ray runs, with real clocks."""

from simulators.live.run import Live as Live
from simulators.live.run import live as live
