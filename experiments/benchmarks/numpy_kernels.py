"""The kernels as one writes them with arrays alone: numpy on a CPU, CuPy on a GPU (`xp` is either).

Codes are uint8, in the planar layout; where `packbits` applies it is taken, with its own layout.
"""

from typing import Any


def pack(xp: Any, codes: Any, bits: int) -> Any:
    """Words of codes, whose number is a multiple of 32."""
    if bits == 1:
        return xp.packbits(codes, bitorder="little").view(xp.uint32)
    planes, low = [], 0
    for width in _pieces(bits):
        lanes = (codes >> low & ((1 << width) - 1)).reshape(8 // width, -1)
        plane = lanes[0].copy()
        for j in range(1, 8 // width):
            plane |= lanes[j] << (j * width)
        planes.append(plane)
        low += width
    return (planes[0] if len(planes) == 1 else xp.concatenate(planes)).view(xp.uint32)


def unpack(xp: Any, words: Any, bits: int, k: int) -> Any:
    """The k codes of words."""
    data = words.view(xp.uint8)
    if bits == 1:
        return xp.unpackbits(data, bitorder="little")[:k]
    codes, start, low = xp.zeros(k, xp.uint8), 0, 0
    for width in _pieces(bits):
        plane = data[start : start + k * width // 8]
        lanes = codes.reshape(8 // width, -1)
        for j in range(8 // width):
            lanes[j] |= ((plane >> (j * width)) & ((1 << width) - 1)) << low
        start, low = start + k * width // 8, low + width
    return codes


def quantize_pack(xp: Any, x: Any, scale: Any, s: int, *, seed: int | None) -> Any:
    """Levels −s … s of one scale, rounded at random with a seed, else to the nearest."""
    y = x * (1 / scale)
    if seed is None:
        y += xp.float32(0.5)
    else:
        y += xp.random.default_rng(seed).random(x.size, dtype=xp.float32)
    levels = xp.clip(xp.floor(y), -s, s) + s
    return pack(xp, levels.astype(xp.uint8), (2 * s).bit_length())


def unpack_dequantize(xp: Any, words: Any, scale: Any, s: int, k: int) -> Any:
    """The k numbers of words."""
    levels = unpack(xp, words, (2 * s).bit_length(), k).astype(xp.float32) - xp.float32(s)
    return levels * scale


def hadamard(xp: Any, x: Any, size: int) -> Any:
    """The normalised transform of blocks, as two products with smaller matrices."""
    inner = 1 << (size.bit_length() // 2)
    y = x.reshape(-1, inner) @ _sylvester(xp, inner)
    y = _sylvester(xp, size // inner) @ y.reshape(-1, size // inner, inner)
    return (y * xp.float32(size**-0.5)).reshape(x.shape)


def hadamard_quantize_pack(xp: Any, x: Any, grid: Any, size: int) -> tuple[Any, Any]:
    """Words and scales, for an ascending grid in one dimension of 2^b points."""
    blocks = x.reshape(-1, size)
    scales = xp.sqrt((blocks * blocks).mean(axis=1))
    z = hadamard(xp, x, size).reshape(-1, size) / scales[:, None]
    ends = (grid[1:] + grid[:-1]) / 2
    codes = xp.searchsorted(ends, z.reshape(-1)).astype(xp.uint8)
    return pack(xp, codes, (len(grid) - 1).bit_length()), scales


def hadamard_unpack_dequantize(xp: Any, words: Any, scales: Any, grid: Any, size: int) -> Any:
    """The way back."""
    k = scales.size * size
    values = grid[unpack(xp, words, (len(grid) - 1).bit_length(), k)]
    return hadamard(xp, (values.reshape(-1, size) * scales[:, None]).reshape(-1), size)


def dequantize_matmul(xp: Any, x: Any, words: Any, scales: Any, zeros: Any, bits: int) -> Any:
    """Vectors times a matrix that is unpacked first, all at once."""
    (_, k), (out, groups) = x.shape, scales.shape
    codes = xp.stack([unpack(xp, row, bits, k) for row in words])
    values = codes.reshape(out, groups, -1).astype(xp.float32) - zeros[:, :, None]
    return x @ (values * scales[:, :, None]).reshape(out, k).T


def reduce_packed(xp: Any, words: Any, scale: Any, s: int, k: int) -> Any:
    """The mean of messages, one after the other."""
    total = xp.zeros(k, xp.int32)
    for message in words:
        total += unpack(xp, message, (2 * s).bit_length(), k)
    return (total - len(words) * s).astype(xp.float32) * (scale / len(words))


def _pieces(bits: int) -> list[int]:
    return [width for width in (8, 4, 2, 1) if bits & width]


def _sylvester(xp: Any, size: int) -> Any:
    matrix = xp.ones((1, 1), xp.float32)
    pair = xp.asarray([[1, 1], [1, -1]], xp.float32)
    while len(matrix) < size:
        matrix = xp.kron(matrix, pair)
    return matrix
