"""Checkpoints of llama2.c: float32, in the form without a magic number and in version 1.

Both are little-endian: a header, then all arrays one after another, each kind for all layers. The
header has the integers

    dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, max_seq_len

In the old form it is just these, and a negative vocab_size says that the head is not tied; two
unused tables of rotations lie before the head. Version 1 begins with "ak42" and the version, adds a
byte that says whether the head is tied, and fills up to 256 bytes. ε is 1e-5 and RoPE's base 10,000
in all of them; query and key rows are interleaved.

Format: llama2.c, export.py (legacy_export, version1_export).
"""

import math
import struct
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from dopt.errors import ConfigurationError, DataError, UnsupportedError
from dopt.models.config import Config
from dopt.models.memory import check_dtype, check_memory
from dopt.models.parameters import Model, build, parameter_shapes
from dopt.models.rope import half_split
from dopt.models.stored import Stored


_MAGIC = 0x616B3432
_HEADER = struct.Struct("<7i")
_HEADER_1 = struct.Struct("<Ii7iB")
_HEADER_1_BYTES = 256

_WEIGHTS = ("q", "k", "v", "o")
_MLP = ("gate", "down", "up")
_ROTATIONS = "rotations"


def load_llama2c(path: str | Path, dtype: Any = jnp.float32) -> Model:
    """A model from a checkpoint of llama2.c.

    Args:
        path: of the file, of which one array at a time is read.
        dtype: of the parameters.

    Raises:
        DataError: the file cannot be read, is cut, has bytes too many, or holds NaN or infinity.
        UnsupportedError: a version that is not known, such as the quantized version 2.
        ConfigurationError: the header's sizes fit no model, or the model does not fit in memory.
    """
    path = Path(path)
    dtype = check_dtype(dtype)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(_HEADER_1_BYTES)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(header) < _HEADER.size:
        raise DataError(
            f"{path} is cut: {size} bytes, and its header alone takes {_HEADER.size}; "
            "fetch it again"
        )
    try:
        config, start, order = _layout(path, header)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{path}: {error}; it is no checkpoint of llama2.c, or damaged"
        ) from error
    floats = sum(math.prod(shape) for _, shape in order)
    if size != start + 4 * floats:
        fault = "is cut" if size < start + 4 * floats else "has bytes too many"
        raise DataError(
            f"{path} {fault}: {size} bytes, and its header promises {start + 4 * floats}; "
            "fetch it again, or it is no checkpoint of llama2.c"
        )
    check_memory(config, dtype, source=str(path))
    starts: dict[str, int] = {}
    for name, shape in order:
        starts[name], start = start, start + 4 * math.prod(shape)

    def read(place: tuple[str | int, ...], shape: tuple[int, ...]) -> Any:
        name = str(place[-1])
        size = 4 * math.prod(shape)
        inside = len(place) > 1
        at = starts[f"layers.{name}"] + size * int(place[1]) if inside else starts[name]
        array = Stored(path, "F32", shape, at, size).read()
        if not np.isfinite(array).all():
            raise DataError(
                f"{path} holds NaN or infinity in {'.'.join(map(str, place))}; fetch it again"
            )
        if name in ("q", "k"):
            array = half_split(array, config.heads if name == "q" else config.kv_heads)
        return jnp.array(array, dtype)

    return Model(build(config, read), config)


Order = list[tuple[str, tuple[int, ...]]]


def _layout(path: Path, header: bytes) -> tuple[Config, int, Order]:
    """The configuration, where the arrays begin, and which follow each other."""
    if struct.unpack_from("<I", header)[0] != _MAGIC:
        sizes = _HEADER.unpack_from(header)
        config = _config(sizes, tied=sizes[5] > 0)
        layers = _layers(config)
        order = [
            ("embedding", (config.vocabulary, config.d_model)),
            *(layers[name] for name in ("attention_norm", *_WEIGHTS, "mlp_norm", *_MLP)),
            ("norm", (config.d_model,)),
            (_ROTATIONS, (2, config.context, config.head_size // 2)),
        ]
        return config, _HEADER.size, order + _head(config)
    version = struct.unpack_from("<i", header.ljust(8, b"\0"), 4)[0]
    if version != 1:
        raise UnsupportedError(
            f"{path} is of llama2.c's version {version}; versions 0 and 1 are read, both float32: "
            "export the model again with one of them"
        )
    if len(header) < _HEADER_1_BYTES:
        raise DataError(f"{path} is cut within its header; fetch it again")
    values = _HEADER_1.unpack_from(header)
    config = _config(values[2:9], tied=bool(values[9]))
    layers = _layers(config)
    order = [
        *(layers[name] for name in ("attention_norm", "mlp_norm")),
        ("norm", (config.d_model,)),
        ("embedding", (config.vocabulary, config.d_model)),
        *(layers[name] for name in (*_WEIGHTS, *_MLP)),
    ]
    return config, _HEADER_1_BYTES, order + _head(config)


def _config(sizes: tuple[int, ...], *, tied: bool) -> Config:
    d_model, d_ff, layers, heads, kv_heads, vocabulary, context = sizes
    if heads < 1 or d_model % heads:
        raise ConfigurationError(f"dim = {d_model} is no multiple of n_heads = {heads}")
    return Config(
        vocabulary=abs(vocabulary),
        layers=layers,
        d_model=d_model,
        heads=heads,
        kv_heads=kv_heads,
        head_size=d_model // heads,
        d_ff=d_ff,
        context=context,
        tied=tied,
    )


def _layers(config: Config) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name and shape of each kind of array, for all layers at once."""
    return {
        str(path[-1]): (f"layers.{path[-1]}", (config.layers, *shape))
        for path, shape in parameter_shapes(config).items()
        if path[:2] == ("layers", 0)
    }


def _head(config: Config) -> Order:
    return [] if config.tied else [("head", (config.vocabulary, config.d_model))]
