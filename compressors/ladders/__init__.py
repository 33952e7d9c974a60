"""Ladders: families of compressors of one vector in order of size."""

from compressors.ladders._base import Ladder as Ladder
from compressors.ladders.topk import TopKLadder as TopKLadder
