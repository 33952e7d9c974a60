"""Settings of quantized models, of which an unknown one is refused rather than passed over."""

from collections.abc import Collection, Mapping
from typing import Any

from dopt.errors import UnsupportedError


def check_settings(
    settings: Mapping[str, Any],
    known: Collection[str],
    fixed: Mapping[str, tuple[Any, ...]],
    where: str,
) -> None:
    """Refuses settings that are neither known nor fixed to one of the values that are read.

    Raises:
        UnsupportedError: as said; the message names the setting.
    """
    for name, value in settings.items():
        if name in fixed and value not in fixed[name]:
            read = " or ".join(repr(option) for option in fixed[name])
            raise UnsupportedError(f"{where}: {name} = {value!r}; what is read has {read}")
        if name not in fixed and name not in known:
            raise UnsupportedError(
                f"{where}: the setting {name} = {value!r} is not known; take it out if the weights "
                "do not depend on it"
            )
