"""One line an operator: what the batteries, the benchmark and the pictures go through.

An entry makes the operator for a dimension (and a number of members). A public class of
`compressors` without a line here fails a test.
"""

from collections.abc import Callable

from compressors import Collective, Compressor, Identity, Joint, RandK, TopK


def percent(d: int) -> int:
    """One per cent of d coordinates, at least one."""
    return max(1, d // 100)


OPERATORS: dict[str, Callable[[int], Compressor]] = {
    "Identity": lambda d: Identity(),
    "RandK": lambda d: RandK(percent(d)),
    "RandK, indices sent": lambda d: RandK(percent(d), indices="sent"),
    "TopK": lambda d: TopK(percent(d)),
}

JOINTS: dict[str, Callable[[int, int], Joint]] = {}

COLLECTIVES: dict[str, Callable[[int], Collective]] = {}
