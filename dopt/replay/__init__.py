"""Replay: what a method computes along a schedule."""

from dopt.replay.replay import Progress as Progress
from dopt.replay.replay import record_steps as record_steps
from dopt.replay.replay import replay as replay
