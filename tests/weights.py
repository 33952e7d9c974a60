"""Every quantizer of weights with small settings, and matrices to quantize."""

import numpy as np

from compressors.weights import (
    AF4,
    FP4,
    FP8,
    GPTQ,
    HIGGS,
    HQQ,
    MXFP4,
    NF4,
    Clipping,
    RoundToNearest,
    WeightQuantizer,
)


QUANTIZERS: dict[str, WeightQuantizer] = {
    "rtn": RoundToNearest(4, 64),
    "rtn, rows": RoundToNearest(3),
    "rtn, asymmetric": RoundToNearest(5, 128, symmetric=False),
    "rtn, clipped": RoundToNearest(4, 32, clip=Clipping(norm=2.0)),
    "nf4": NF4(),
    "af4": AF4(),
    "fp4": FP4(32),
    "mxfp4": MXFP4(),
    "fp8": FP8(),
    "hqq": HQQ(3, 64),
    "gptq": GPTQ(4, 64, symmetric=False),
    "gptq, act_order": GPTQ(3, 64, act_order=True),
    "higgs": HIGGS(2, 84),
    "higgs, unbiased": HIGGS(2, 16, unbiased=True),
    "higgs, fed back": HIGGS(1, 16, 64, error_feedback=True),
}
"""Settings that fit 256 inputs."""


def gaussian(out: int, inputs: int, seed: int = 0) -> np.ndarray:
    """Independent normal weights, float32."""
    return np.random.default_rng(seed).standard_normal((out, inputs)).astype(np.float32)


def hessian(inputs: int, seed: int = 0, samples: int | None = None) -> np.ndarray:
    """XᵀX of inputs that are correlated, and of very different sizes."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((samples or 4 * inputs, inputs))
    X = X @ (np.eye(inputs) + 0.3 * rng.standard_normal((inputs, inputs)) / np.sqrt(inputs))
    X *= np.exp(rng.standard_normal(inputs))
    return X.T @ X
