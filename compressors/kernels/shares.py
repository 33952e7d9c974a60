"""Which codes share bytes in the planar layout of `pack`, for kernels that handle whole bytes.

A byte of a plane of w bits holds codes that lie k·w/8 apart. With v the narrowest plane of the
width, the row of k codes is cut into S = 8/v shares of k/S codes: the codes at one place of all
shares fill whole bytes, in every plane.
"""

from typing import NamedTuple

from compressors.kernels.pack.layout import BYTE, pieces


class Plane(NamedTuple):
    """`width` bits of each code, from bit `low` on, in bytes from `start` on."""

    width: int
    low: int
    start: int


class Shares(NamedTuple):
    """A row of `codes` codes of `bits` ≤ 8 bits; the number of shares divides that of codes."""

    codes: int
    bits: int

    @property
    def number(self) -> int:
        """S, the number of shares."""
        return BYTE // pieces(self.bits)[-1]

    @property
    def span(self) -> int:
        """Codes of a share."""
        return self.codes // self.number

    @property
    def row_bytes(self) -> int:
        """Bytes of the packed row."""
        return self.codes * self.bits // BYTE

    @property
    def planes(self) -> tuple[Plane, ...]:
        """The planes, whose widths sum to `bits`."""
        planes, low = [], 0
        for width in pieces(self.bits):
            planes.append(Plane(width, low, self.codes * low // BYTE))
            low += width
        return tuple(planes)

    def place(self, plane: Plane, share: int) -> tuple[int, int]:
        """Where a share lies in a plane: its first byte, and its lowest bit in every byte."""
        spans = self.number * plane.width // BYTE
        return plane.start + share % spans * self.span, share // spans * plane.width
