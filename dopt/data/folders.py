"""Where real data lie, and where parsed copies may be kept."""

import os
from pathlib import Path

from dopt.errors import DataError


def data_folder(folder: str | os.PathLike[str] | None = None) -> Path | None:
    """The folder of real data: `folder`, else what `DOPT_DATA` names, else `None`.

    Raises:
        DataError: the folder that was named is not there.
    """
    origin = "the folder asked for"
    if folder is None:
        folder = os.environ.get("DOPT_DATA") or None
        origin = "the folder that DOPT_DATA names"
    if folder is None:
        return None
    path = Path(folder)
    if not path.is_dir():
        raise DataError(f"{origin}, {path}, is not a folder; create it or name another one")
    return path


def cache_folder() -> Path | None:
    """The folder of parsed copies, which may not exist: `DOPT_CACHE`, else the user's cache folder.

    `None` for a user without a home.
    """
    if named := os.environ.get("DOPT_CACHE"):
        return Path(named)
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "dopt"
    try:
        return Path.home() / ".cache" / "dopt"
    except RuntimeError:
        return None
