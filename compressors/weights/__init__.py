"""Weight matrices in few bits: how they are stored, and the quantizers that make them."""

from compressors.weights.choices import METHODS as METHODS
from compressors.weights.choices import candidates as candidates
from compressors.weights.choices import expected_error as expected_error
from compressors.weights.choices import quantizer_of as quantizer_of
from compressors.weights.clipping import Clipping as Clipping
from compressors.weights.codebooks import AF4 as AF4
from compressors.weights.codebooks import FP4 as FP4
from compressors.weights.codebooks import NF4 as NF4
from compressors.weights.coding import Coding as Coding
from compressors.weights.float8 import FP8 as FP8
from compressors.weights.gptq import GPTQ as GPTQ
from compressors.weights.higgs import HIGGS as HIGGS
from compressors.weights.hqq import HQQ as HQQ
from compressors.weights.microscaling import MXFP4 as MXFP4
from compressors.weights.packed import PackedWeight as PackedWeight
from compressors.weights.quantizer import Quantized as Quantized
from compressors.weights.quantizer import Report as Report
from compressors.weights.quantizer import WeightQuantizer as WeightQuantizer
from compressors.weights.quantizer import proxy_error as proxy_error
from compressors.weights.quantizer import relative_error as relative_error
from compressors.weights.rotation import Rotation as Rotation
from compressors.weights.round_to_nearest import RoundToNearest as RoundToNearest
