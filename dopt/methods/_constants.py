"""What compressors promise, as numbers for step sizes."""

from compressors import Compressor, Contractive, Joint, Unbiased
from dopt.errors import ConfigurationError


def aggregate(
    compressor: Unbiased | Joint, d: int, n: int, *, equal: bool = False
) -> tuple[float, float]:
    """A and B of what n workers send together: (ω/n, 0) where they compress independently.

    `equal` says that all workers always send the same, which some joint families turn to account.

    Raises:
        ConfigurationError: the compressor declares neither ω nor A and B.
    """
    if isinstance(compressor, Joint):
        A, B = compressor.ab_equal_inputs(d, n) if equal else compressor.ab(d, n)
        return A.value, B.value
    if not isinstance(compressor, Unbiased):
        raise ConfigurationError(
            f"{compressor} is not unbiased and declares no omega; take an unbiased compressor such "
            "as RandK, or a joint family"
        )
    return compressor.omega(d).value / n, 0.0


def contraction_of(compressor: Compressor | Joint, d: int) -> float:
    """α of a contractive compressor, and 1/(1 + ω) of an unbiased one that is scaled down by 1 + ω.

    Raises:
        ConfigurationError: the compressor declares no α.
    """
    if not isinstance(compressor, Contractive):
        raise ConfigurationError(
            f"{compressor} declares no contraction constant alpha; take a contractive compressor "
            "such as TopK, or Scaled(...) around an unbiased one"
        )
    return compressor.alpha(d).value
