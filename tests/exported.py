"""Random matrices and models of integers and FP8, and readers of exported files, bit by bit."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from packing import read_sequential
from safetensors import safe_open

from compressors.weights import Coding, PackedWeight
from dopt.models import Config, Model
from dopt.models.parameters import build, leaf, linear_paths, replaced


CONFIG = Config(
    vocabulary=13, layers=2, d_model=32, heads=2, kv_heads=2, head_size=32, d_ff=64, context=16
)
"""All sizes are multiples of 32; matrices are [64, 32] or [32, 64]."""


def integers(random, out, inputs, bits=4, group=16, zeros=None, order=None, dtype=jnp.float16):
    """A matrix; its zeros are in the middle, or drawn from `zeros` up."""
    coding, groups = Coding(1 << bits), inputs // (group or inputs)
    drawn = None if zeros is None else random.integers(zeros, 1 << bits, (out, groups))
    return PackedWeight(
        coding.pack(jnp.asarray(random.integers(0, 1 << bits, (out, inputs)), jnp.uint8)),
        jnp.asarray(random.uniform(1, 2, (out, groups)) / (4 << bits), dtype),
        None if drawn is None else coding.pack(jnp.asarray(drawn, jnp.uint8)),
        None,
        None if order is None else jnp.asarray(order, jnp.int32),
        coding,
        inputs,
        1 << (bits - 1) if zeros is None else 0,
    )


def floats(random, out, inputs):
    """A matrix of E4M3 numbers of all exponents, with a scale a row."""
    codes = random.integers(0, 256, (out, inputs)).astype(np.uint8)
    codes[codes % 128 == 127] = 0
    table = np.arange(256, dtype=np.uint8).view(jnp.float8_e4m3fn).astype(np.float32)
    scales = random.uniform(1, 2, (out, 1)) / 4000
    return PackedWeight(
        Coding(256).pack(jnp.asarray(codes)),
        jnp.asarray(scales, jnp.float32),
        None,
        jnp.asarray(table[:, None]),
        None,
        Coding(256),
        inputs,
    )


def model_of(make, config=CONFIG, seed=0):
    """A model whose matrix number i is `make(random, out, inputs, i)`, or an array for None."""
    random = np.random.default_rng(seed)

    def draw(path, shape):
        return jnp.asarray(random.normal(len(shape) == 1, 0.3, shape), jnp.float32)

    params, made = build(config, draw), {}
    for i, path in enumerate(linear_paths(config)):
        weight = make(random, *leaf(params, path).shape, i)
        made |= {} if weight is None else {path: weight}
    return Model(replaced(params, made), config)


def same(a, b):
    """Whether two pytrees are equal in all that is static, in dtypes and bit for bit."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def tensors_of(folder):
    """The tensors of a file, those of FP8 as bytes: the package has no numpy for them."""
    raw = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    found = {}
    for name, entry in header.items():
        if entry.get("dtype") == "F8_E4M3":
            start, end = entry["data_offsets"]
            numbers = np.frombuffer(raw[8 + length + start : 8 + length + end], np.uint8)
            found[name] = numbers.reshape(entry["shape"])
    with safe_open(folder / "model.safetensors", "np") as file:
        return found | {name: file.get_tensor(name) for name in file.keys() if name not in found}  # noqa: SIM118


def dense_of_compressed_tensors(tensors, module, settings):
    """A matrix from its tensors, float64, by loops over rows, groups and bits."""
    part = {name.removeprefix(f"{module}."): array for name, array in tensors.items()}
    scales = part["weight_scale"].astype(np.float64)
    if settings["type"] == "float":
        return e4m3(part["weight"].view(np.uint8)) * scales
    bits, (out, inputs) = settings["num_bits"], part["weight_shape"].tolist()
    groups = scales.shape[1]
    zeros = np.full((out, groups), 1 << (bits - 1))
    if not settings["symmetric"]:
        stored = words(part["weight_zero_point"])
        for column in range(groups):
            zeros[:, column] = read_sequential(stored[:, column], bits, out)
    dense = np.empty((out, inputs))
    for row, packed in enumerate(words(part["weight_packed"])):
        for i, code in enumerate(read_sequential(packed, bits, inputs)):
            column = i * groups // inputs
            dense[row, i] = scales[row, column] * (code - zeros[row, column])
    return dense


def dense_of_gptq(tensors, module, bits, less):
    """A matrix from its tensors, float64, by loops over outputs, inputs and bits."""
    part = {name.removeprefix(f"{module}."): array for name, array in tensors.items()}
    scales, g_idx = part["scales"].astype(np.float64), part["g_idx"]
    (groups, out), inputs = scales.shape, len(g_idx)
    zeros = [read_sequential(row, bits, out) for row in words(part["qzeros"])]
    assert len(zeros) == groups
    dense = np.empty((out, inputs))
    for o, packed in enumerate(words(part["qweight"]).T):
        for i, code in enumerate(read_sequential(packed, bits, inputs)):
            dense[o, i] = scales[g_idx[i], o] * (code - zeros[g_idx[i]][o] - less)
    return dense


def words(array):
    assert array.dtype == np.int32
    return array.astype(np.int64) % (1 << 32)


def e4m3(codes):
    """Values by sign, exponent and mantissa (Micikevicius et al., arXiv 2209.05433, table 1)."""
    sign = np.where(codes >> 7, -1.0, 1.0)
    exponent, mantissa = (codes >> 3 & 15).astype(int), (codes & 7) / 8
    return sign * np.where(
        exponent == 0, mantissa * 2.0**-6, (1 + mantissa) * 2.0 ** (exponent - 7)
    )
