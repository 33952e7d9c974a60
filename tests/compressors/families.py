"""Every public compressor, with the dimension at which it goes through the battery."""

from compressors import Compressor, Identity, RandK, TopK


FAMILY: tuple[tuple[Compressor, int], ...] = (
    (Identity(), 12),
    (RandK(1), 40),
    (RandK(5, indices="sent"), 33),
    (RandK(3), 3),
    (TopK(4), 33),
)
