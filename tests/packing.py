"""Packed codes read and written bit by bit, as `kernels/pack/layout.py` describes them."""

import numpy as np


def write_sequential(codes, bits):
    """The stream as one big integer, cut into 32-bit digits."""
    stream = sum(code << (i * bits) for i, code in enumerate(codes))
    return [(stream >> (32 * w)) % 2**32 for w in range(-(-len(codes) * bits // 32))]


def read_sequential(words, bits, k):
    stream = sum(word << 32 * w for w, word in enumerate(np.asarray(words).tolist()))
    return [stream >> (bits * i) & ((1 << bits) - 1) for i in range(k)]


def write_planar(codes, bits):
    if len(pieces(bits)) == 1:
        return write_plane(codes, bits)
    whole, words, low = len(codes) // 32 * 32, [], 0
    for piece in pieces(bits):
        words += write_plane([code >> low & (1 << piece) - 1 for code in codes[:whole]], piece)
        low += piece
    return words + write_sequential(codes[whole:], bits)


def read_planar(words, bits, k):
    words = np.asarray(words).tolist()
    if len(pieces(bits)) == 1:
        return read_plane(words, bits, k)
    whole, start, low = k // 32 * 32, 0, 0
    codes = [0] * whole
    for piece in pieces(bits):
        end = start + whole * piece // 32
        plane = read_plane(words[start:end], piece, whole)
        codes = [code | share << low for code, share in zip(codes, plane, strict=True)]
        start, low = end, low + piece
    return codes + read_sequential(words[start:], bits, k - whole)


def write_plane(codes, bits):
    """Byte m holds the codes m + j·B; of 8 bits and more the codes are the stream."""
    if bits >= 8:
        return write_sequential(codes, bits)
    size = 4 * -(-len(codes) * bits // 32)
    data = [sum(code << bits * j for j, code in enumerate(codes[m::size])) for m in range(size)]
    return np.asarray(data, np.uint8).view("<u4").tolist()


def read_plane(words, bits, k):
    if bits >= 8:
        return read_sequential(words, bits, k)
    data = np.asarray(words, "<u4").view(np.uint8).tolist()
    return [data[i % len(data)] >> bits * (i // len(data)) & (1 << bits) - 1 for i in range(k)]


def pieces(bits):
    return [1 << i for i in range(5, -1, -1) if bits >> i & 1]
