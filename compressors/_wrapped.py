"""What compressors that are made of others ask of them, and take over from them."""

from collections.abc import Iterable

from compressors._base import Compressor, Contractive, Nonfinite, RandomSize, Unbiased


def unbiased(name: str, part: Compressor) -> Unbiased:
    """`part`, where it promises an ω.

    Raises:
        TypeError: it does not.
    """
    if not isinstance(part, Unbiased):
        raise TypeError(
            f"{name} derives its constant from an omega, and {part} declares none: "
            "give an Unbiased compressor"
        )
    return part


def contractive(name: str, part: Compressor) -> Contractive:
    """`part`, where it promises an α.

    Raises:
        TypeError: it does not.
    """
    if not isinstance(part, Contractive):
        raise TypeError(
            f"{name} derives its constant from an alpha, and {part} declares none: "
            "give a Contractive compressor"
        )
    return part


def check_size(name: str, part: Compressor) -> None:
    """Raises `TypeError` where the messages of `part` vary in size."""
    if isinstance(part, RandomSize):
        raise TypeError(
            f"{name} makes messages of one size, and those of {part} vary with the key: "
            "give a compressor whose messages do not"
        )


def nonfinite_of(parts: Iterable[Compressor]) -> Nonfinite:
    """In place where that is so in all parts."""
    return "in place" if all(part.nonfinite == "in place" for part in parts) else "spreads"
