"""Where joint families of compressors have no place."""

from compressors import Compressor, Joint
from dopt.errors import ConfigurationError


def check_single(name: str, compressor: Compressor | Joint) -> None:
    """Raises `ConfigurationError` for a joint family.

    What a family promises is about the mean of all its members in one round. A method that sums
    messages of several rounds, as memories on the workers do, or of some of the workers, or of
    arrivals without rounds, cannot turn it to account.
    """
    if isinstance(compressor, Joint):
        raise ConfigurationError(
            f"{name} cannot use {compressor}, a joint family whose members answer together in a "
            "round: give a compressor that every worker uses by itself, or take DCGD, QSGD, MARINA "
            "or VR-MARINA"
        )
