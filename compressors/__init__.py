"""Gradient compressors: a map from a vector to a message and back, and a promise."""

from compressors._base import AsymptoticallyUnbiased as AsymptoticallyUnbiased
from compressors._base import Code as Code
from compressors._base import Compressor as Compressor
from compressors._base import Constant as Constant
from compressors._base import Contractive as Contractive
from compressors._base import Message as Message
from compressors._base import RandomSize as RandomSize
from compressors._base import Unbiased as Unbiased
from compressors._base import message_key as message_key
from compressors._joint import Collective as Collective
from compressors._joint import Joint as Joint
from compressors._sparse import Sparse as Sparse
from compressors.identity import Identity as Identity
from compressors.randk import RandK as RandK
from compressors.topk import TopK as TopK
