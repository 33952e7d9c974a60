"""Weight matrices in few bits: how they are stored, and the quantizers that make them."""

from compressors.weights.coding import Coding as Coding
from compressors.weights.packed import PackedWeight as PackedWeight
from compressors.weights.packed import Rotation as Rotation
from compressors.weights.quantizer import Quantized as Quantized
from compressors.weights.quantizer import Report as Report
from compressors.weights.quantizer import WeightQuantizer as WeightQuantizer
from compressors.weights.quantizer import proxy_error as proxy_error
from compressors.weights.quantizer import relative_error as relative_error
