"""A named choice of settings of a study."""

from typing import Any, NamedTuple


class Preset(NamedTuple):
    """What it is good for, in a line, and the settings."""

    description: str
    settings: Any
