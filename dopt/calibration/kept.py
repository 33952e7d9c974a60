"""The residual stream between two layers of a walk: in memory, or on disk to go on from.

A folder holds

    walk.json               of what it is, how many layers are finished, and their dead inputs
    stream-003.npy          the residual stream in front of layer 3, mapped into memory
    shards/layer-002.npz    the Hessians of layer 2, float64, and so of every finished layer

A stream counts once walk.json says that the layer in front of it is finished.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, Float64

from dopt.errors import ConfigurationError, DataError
from dopt.results.local import LocalPlace


Hessians = dict[str, Float64[np.ndarray, "i i"]]
"""H = XᵀX of the inputs of a layer, by their names in `decoder.INPUT_OF`."""

_WALK = "walk.json"
_SCHEMA_VERSION = 1


class Stream(Protocol):
    """The residual stream in front of the layer at hand, and behind it.

    Attributes:
        finished: how many layers are done.
        dead: of each of them, how many inputs are zero everywhere.
    """

    finished: int
    dead: list[dict[str, int]]

    @property
    def front(self) -> Float[np.ndarray, "N T d"]:
        """To be read; of layer 0 to be filled."""

    @property
    def behind(self) -> Float[np.ndarray, "N T d"]:
        """To be filled."""

    def finish(self, hessians: Hessians, dead: dict[str, int]) -> None:
        """The layer at hand is done: what is behind it is in front of the next."""


class Held:
    """A stream in memory."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.finished = 0
        self.dead: list[dict[str, int]] = []
        self.front, self.behind = np.empty(shape, dtype), np.empty(shape, dtype)

    def finish(self, hessians: Hessians, dead: dict[str, int]) -> None:
        """See `Stream`."""
        self.finished += 1
        self.dead.append(dead)
        self.front, self.behind = self.behind, self.front


class Kept:
    """A stream in a folder: a killed walk goes on behind its last finished layer."""

    def __init__(
        self, place: LocalPlace, told: dict[str, Any], shape: tuple[int, ...], dtype: np.dtype
    ) -> None:
        self._place, self._told = place, {"schema_version": _SCHEMA_VERSION} | told
        self._shape, self._dtype = shape, dtype
        state = _state(place.where) or self._told | {"finished": 0, "dead": []}
        self.finished: int = state.pop("finished")
        self.dead: list[dict[str, int]] = state.pop("dead")
        others = sorted(key for key in self._told if state.get(key) != self._told[key])
        if others:
            raise ConfigurationError(
                f"{place.where} was begun with another {', another '.join(others)}; give the same "
                "again, or name another folder"
            )
        self.front = self._array(self.finished, "r" if self.finished else "w+")
        self.behind = self._array(self.finished + 1, "w+")

    def finish(self, hessians: Hessians, dead: dict[str, int]) -> None:
        """See `Stream`; the layer is on disk when this returns."""
        layer, arrays = self.finished, dict[str, Any](hessians)
        self._place.publish({_shard(layer): lambda file: np.savez(file, **arrays)})
        self.behind.flush()
        self.finished += 1
        self.dead.append(dead)
        state = self._told | {"finished": self.finished, "dead": self.dead}
        self._place.publish({_WALK: lambda file: file.write(json.dumps(state).encode())})
        self._place.remove(_file(layer))
        self.front = self._array(self.finished, "r")
        self.behind = self._array(self.finished + 1, "w+")

    def _array(self, layer: int, mode: Any) -> np.memmap:
        path = self._place.where / _file(layer)
        try:
            found = np.lib.format.open_memmap(path, mode, self._dtype, self._shape)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be used: {error}; begin in another folder") from error
        if found.shape != self._shape or found.dtype != self._dtype:
            raise DataError(f"{path} is damaged; begin in another folder")
        return found


@contextmanager
def stream_in(
    folder: str | Path | None, told: dict[str, Any], shape: tuple[int, ...], dtype: np.dtype
) -> Iterator[Stream]:
    """A stream in a folder, for one process at a time, or in memory.

    Raises:
        ConfigurationError: a folder of another walk.
        DataError: a folder whose files are damaged.
        DoptError: another process walks here, or the disk refuses.
    """
    if folder is None:
        yield Held(shape, dtype)
        return
    place = LocalPlace(Path(folder))
    lock = place.lock()
    try:
        yield Kept(place, told, shape, dtype)
    finally:
        lock.release()


def saved_hessians(folder: str | Path, layer: int) -> Hessians:
    """The Hessians of a finished layer.

    Raises:
        DataError: the layer is not finished, or its file is damaged.
    """
    state = _state(Path(folder))
    finished = 0 if state is None else state["finished"]
    if not 0 <= layer < finished:
        raise DataError(f"layer {layer} is not among the {finished} finished layers in {folder}")
    path = Path(folder, _shard(layer))
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _state(folder: Path) -> dict[str, Any] | None:
    """What walk.json says; None where no layer is finished."""
    try:
        state = json.loads((folder / _WALK).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"{folder / _WALK} is damaged; begin in another folder") from error
    return dict(state)


def _file(layer: int) -> str:
    return f"stream-{layer:03}.npy"


def _shard(layer: int) -> str:
    return f"shards/layer-{layer:03}.npz"
