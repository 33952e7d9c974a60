"""What travels: messages and codes, their bits, and what becomes of numbers that are none."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from compressors import (
    AsymptoticallyUnbiased,
    Compressor,
    Contractive,
    RandomSize,
    Unbiased,
    message_key,
)
from compressors._base import packed_bits
from theory_checks.battery.findings import ROUNDING, Finding, close, none_of, same_bits


NONFINITE_KEYS = 8
"""Keys tried with each NaN and infinity: a coordinate that is rarely sent has several chances."""

SIZES = 400
"""Keys behind the mean size of messages of random size."""

SIGMAS = 5.0
"""Standard errors allowed between the mean size and the expected one."""


class Sent(NamedTuple):
    """A vector on its way: its code and message, the message once more, and the result."""

    code: Any
    message: Any
    again: Any
    result: Array


def dtypes() -> list[np.dtype]:
    """The float dtypes that a compressor must take, narrow to wide."""
    widest = jax.dtypes.canonicalize_dtype(np.float64)
    narrow = [jnp.dtype(jnp.bfloat16), np.dtype(np.float16), np.dtype(np.float32)]
    return list(dict.fromkeys([*narrow, widest]))


def send(compressor: Compressor, x: np.ndarray, key: PRNGKeyArray) -> Sent:
    """All that the sender knows of the message of `x`."""
    return _send(compressor, [x.astype(dtype) for dtype in dtypes()], key)[dtypes().index(x.dtype)]


@partial(jax.jit, static_argnums=0)
def _send(compressor: Compressor, xs: list[Array], key: PRNGKeyArray) -> list[Sent]:
    """One program for all dtypes: most of its compilation is that of the random bits."""

    def one(x: Array) -> Sent:
        code = compressor.compress(x, key=key)
        message, again = compressor.pack(code), compressor.encode(x, key=key)
        return Sent(code, message, again, compressor.expand(code))

    return [one(x) for x in xs]


@partial(jax.jit, static_argnums=(0, 3))
def _receive(
    compressor: Compressor, messages: list[Any], key: PRNGKeyArray, d: int
) -> list[tuple[Any, Array]]:
    def one(message: Any) -> tuple[Any, Array]:
        code = compressor.unpack(message, key=key, d=d)
        return code, compressor.decode(message, key=key, d=d)

    return [one(message) for message in messages]


def wire(
    compressor: Compressor, tests: list[dict[str, np.ndarray]], key: PRNGKeyArray, omega: float
) -> Iterator[Finding]:
    """`unpack` inverts `pack` bit for bit, and results are numbers; test vectors of every dtype."""
    promising = isinstance(compressor, Unbiased | Contractive | AsymptoticallyUnbiased)
    altered, changed, other, ill, large = [], [], [], [], []
    d = tests[0]["zero"].size
    for name in tests[0]:
        xs = [vectors[name] for vectors in tests]
        sent = _send(compressor, xs, key)
        received = _receive(compressor, [one.message for one in sent], key, d)
        for x, one, (code, decoded) in zip(xs, sent, received, strict=True):
            where, y = f"{name} {x.dtype}", np.asarray(one.result)
            exact = y.astype(np.float64)
            if not same_bits(one.code, code):
                altered.append(where)
            if not same_bits(one.message, one.again):
                changed.append(where)
            if not same_bits(decoded, y) and not close(decoded, y):
                other.append(where)
            if y.dtype != x.dtype or y.shape != x.shape or not np.isfinite(exact).all():
                ill.append(where)
            if name == "subnormal" and np.abs(exact).max() > (1 + omega) * _least(x.dtype):
                large.append(where)
    yield none_of("unpack(pack(code)) is code", altered)
    yield none_of("same key, same message", changed)
    yield none_of("decode(encode(x)) is expand(compress(x))", other)
    yield none_of("finite, of the same shape and dtype", ill)
    if promising:
        yield none_of("subnormal stays near zero", large)


def _least(dtype: Any) -> float:
    """Below this a processor may round a number to zero, some factors of two included."""
    return ROUNDING * float(jnp.finfo(dtype).tiny)


class Bits(NamedTuple):
    """Bits of one message: declared by `nbits`, counted from its arrays, and not padded."""

    declared: int
    counted: int
    payload: int


def count_bits(compressor: Compressor, x: np.ndarray, key: PRNGKeyArray) -> Bits:
    """The bits of the message of `x`."""
    d, dtype = x.size, x.dtype
    message = send(compressor, x, key).message
    if isinstance(compressor, RandomSize):
        message = compressor.trim(message, key=key, d=d)
    declared = compressor.nbits(d, dtype, key=key)
    return Bits(declared, packed_bits(message), compressor.payload_bits(d, dtype))


def bits(compressor: Compressor, x: np.ndarray, key: PRNGKeyArray) -> tuple[Bits, Finding]:
    """The declared bits are those of the arrays, and no less than the payload.

    The payload of messages of random size is compared with the largest of them.
    """
    found = count_bits(compressor, x, key)
    largest = packed_bits(compressor.message_shapes(x.size, x.dtype))
    passed = found.declared == found.counted and found.payload <= largest
    detail = f"payload {found.payload} bits"
    return found, Finding(f"nbits, {x.dtype}", passed, found.counted, found.declared, detail)


def nonfinite(compressor: Compressor, x: np.ndarray, key: PRNGKeyArray) -> Finding:
    """NaN and infinities go where `nonfinite` says, and are never hidden.

    They are compared with three finite vectors under the same key: `x` itself, and `x` with zero
    and with a very large number in that place. Where these three agree, the coordinate plays no
    part in the message, and may be lost.
    """
    place, large = x.size // 3, math.sqrt(float(jnp.finfo(x.dtype).max))
    hidden = []
    for j in range(NONFINITE_KEYS):
        draw = message_key(key, j)

        def result(value: float, draw: PRNGKeyArray = draw) -> np.ndarray:
            changed = x.copy()
            changed[place] = value
            return np.asarray(send(compressor, changed, draw).result)

        finite = [result(value) for value in (float(x[place]), 0.0, large)]
        unread = all(np.array_equal(finite[0], y, equal_nan=True) for y in finite)
        for value in (math.nan, math.inf, -math.inf):
            y = result(value)
            if compressor.nonfinite == "in place":
                others = any(
                    np.array_equal(np.delete(y, place), np.delete(v, place)) for v in finite
                )
                kept = others and (unread or not np.isfinite(y[place]))
            else:
                kept = unread or not np.isfinite(y).all()
            if not kept:
                hidden.append(str(value))
    return none_of(f"NaN and infinities: {compressor.nonfinite}", sorted(set(hidden)))


def random_size(compressor: RandomSize, x: np.ndarray, key: PRNGKeyArray) -> Iterator[Finding]:
    """Messages cut to their size say the same, and have `expected_bits` on average."""
    d, dtype = x.size, x.dtype
    try:
        compressor.nbits(d, dtype)
        refused = False
    except ValueError:
        refused = True
    yield Finding("nbits without a key is refused", refused, not refused, 0, "")
    wrong, other = [], []
    for j in range(3):
        draw = message_key(key, j)
        sent = send(compressor, x, draw)
        cut = compressor.trim(sent.message, key=draw, d=d)
        if packed_bits(cut) != compressor.nbits(d, dtype, key=draw):
            wrong.append(f"key {j}")
        if not close(compressor.decode(cut, key=draw, d=d), sent.result):
            other.append(f"key {j}")
    yield none_of("nbits, messages cut to size", wrong)
    yield none_of("decode(trim(encode(x))) is expand(compress(x))", other)
    empty = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), compressor.message_shapes(d, dtype))
    draws = (message_key(key, j) for j in range(SIZES))
    sizes = [packed_bits(compressor.trim(empty, key=draw, d=d)) for draw in draws]
    mean, expected = float(np.mean(sizes)), compressor.expected_bits(d, dtype)
    error = SIGMAS * float(np.std(sizes)) / math.sqrt(SIZES)
    passed = abs(mean - expected) <= error + 1e-9 * expected
    detail = f"{SIGMAS:g} standard errors are {error:.3g}"
    yield Finding("expected_bits is the mean of nbits", passed, mean, expected, detail)
