"""How the tiles of rotated rows become bytes.

A program serves the tiles at one place of all shares of a row, one after the other, so that its
bytes are whole. Shares must therefore consist of whole tiles.
"""

from typing import NamedTuple

from compressors.kernels.hadamard import tile
from compressors.kernels.shares import Shares


class Plan(NamedTuple):
    """Rows of d numbers, in blocks of `size`, with a code of `bits` bits for p numbers."""

    d: int
    size: int
    bits: int
    p: int

    @property
    def shares(self) -> Shares:
        """Of the codes of a row."""
        return Shares(self.d // self.p, self.bits)

    @property
    def width(self) -> int:
        """Numbers in a row of a tile."""
        return tile.width(self.size)

    @property
    def tile_codes(self) -> int:
        """Codes of a tile."""
        return tile.ROWS * self.width // self.p

    @property
    def tile_blocks(self) -> int:
        """Blocks of a tile."""
        return tile.ROWS * self.width // self.size

    @property
    def steps(self) -> int:
        """Tiles of a share."""
        return self.shares.span // self.tile_codes

    def check(self, name: str) -> None:
        """Raises `NotImplementedError` unless shares of a row are whole tiles."""
        multiple = self.shares.number * self.tile_codes * self.p
        if self.d % multiple:
            raise NotImplementedError(
                f"the Triton kernel of {name} takes rows of multiples of {multiple} numbers where "
                f"blocks have {self.size} and codes {self.bits} bits, not of {self.d}: pad the "
                "rows, or take the backend 'xla'"
            )
