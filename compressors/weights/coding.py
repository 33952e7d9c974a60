"""How codes fill words: n values a code, p weights a code."""

from dataclasses import dataclass

from jaxtyping import Array, UInt, UInt32

from compressors.kernels.pack import pack, unpack, words_of


@dataclass(frozen=True)
class Coding:
    """Codes 0 … n − 1, each of which stands for p neighbouring weights of a row.

    Attributes:
        n: values of a code, 2 or more.
        p: weights a code.
    """

    n: int
    p: int = 1

    @property
    def width(self) -> int:
        """⌈log2 n⌉, the bits of a code packed by itself."""
        return (self.n - 1).bit_length()

    def words(self, codes: int) -> int:
        """Words of 32 bits that a row of so many codes fills."""
        return words_of(codes, self.width)

    def pack(self, codes: UInt[Array, "*rows k"]) -> UInt32[Array, "*rows words"]:
        """The words of each row."""
        return pack(codes, self.width)

    def unpack(self, words: UInt32[Array, "*rows words"], k: int) -> UInt[Array, "*rows k"]:
        """The k codes of each row, the inverse of `pack`."""
        return unpack(words, self.width, k)
