"""Ladders: families of compressors of one vector in order of size."""

from compressors.ladders._base import Ladder as Ladder
from compressors.ladders.low_rank import LowRankLadder as LowRankLadder
from compressors.ladders.quantization import QuantizationLadder as QuantizationLadder
from compressors.ladders.randk import RandKLadder as RandKLadder
from compressors.ladders.topk import TopKLadder as TopKLadder
