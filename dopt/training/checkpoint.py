"""The state of a training on disk: written whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np

from dopt.errors import ConfigurationError, DataError


_NAME = "training.npz"
_WHAT = "what"


def save(folder: Path, state: Any, what: dict[str, Any]) -> None:
    """Writes the arrays of `state`, and what they belong to.

    Raises:
        DataError: the folder cannot be written.
    """
    arrays: dict[str, Any] = {f"{i}": np.asarray(a) for i, a in enumerate(jax.tree.leaves(state))}
    arrays[_WHAT] = np.array(json.dumps(what, sort_keys=True))
    partial = folder / f"{_NAME}.part"
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / _NAME)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror or error}") from error


def restore(folder: Path, blank: Any, what: dict[str, Any]) -> Any | None:
    """The state in a folder, None where there is none.

    Args:
        folder: where `save` wrote.
        blank: a state of the same structure.
        what: what the state must belong to.

    Raises:
        ConfigurationError: it belongs to another training.
        DataError: the file is damaged.
    """
    path = folder / _NAME
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file) as stored:
            found = json.loads(str(stored[_WHAT]))
            leaves, structure = jax.tree.flatten(blank)
            if found == json.loads(json.dumps(what)):
                arrays = [jnp.asarray(stored[f"{i}"]) for i in range(len(leaves))]
                return jax.tree.unflatten(structure, arrays)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} is damaged ({error}); remove it to begin again") from error
    differing = [name for name in what if found.get(name) != what[name]]
    raise ConfigurationError(
        f"{path} is of a training with another {', '.join(differing)}; remove it, or name another "
        "folder"
    )


def forget(folder: Path) -> None:
    """Removes the state, where the training is done."""
    (folder / _NAME).unlink(missing_ok=True)
