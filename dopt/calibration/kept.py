"""The residual stream between two layers of a walk: in memory, or on disk to go on from.

A folder holds

    walk.json               of what it is, how many layers are finished, and their dead inputs
    stream-003.npy          the residual stream in front of layer 3, mapped into memory
    shards/layer-002.npz    the Hessians of layer 2, float64, and so of every finished layer

A stream counts once walk.json says that the layer in front of it is finished.
"""

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, Protocol
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, Float64

from dopt.errors import ConfigurationError, DataError, DoptError
from dopt.results.local import LocalPlace


Hessians = dict[str, Float64[np.ndarray, "i i"]]
"""H = XᵀX of the inputs of a layer, by their names in `decoder.INPUT_OF`."""

Told = dict[str, Any]
"""What a folder is of: `layers`, and whatever else has to be the same to go on."""

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

    front: np.ndarray
    behind: np.ndarray

    def __init__(
        self, place: LocalPlace, told: Told, shape: tuple[int, ...], dtype: np.dtype
    ) -> None:
        self._place, self._told = place, {"schema_version": _SCHEMA_VERSION} | told
        self._shape, self._dtype = shape, dtype
        begun: dict[str, Any] = self._told | {"finished": 0, "dead": []}
        state = _state(place.where) or begun
        self.finished: int = state.pop("finished")
        self.dead: list[dict[str, int]] = state.pop("dead")
        others = sorted(key for key in self._told if state.get(key) != self._told[key])
        if others:
            raise ConfigurationError(
                f"{place.where} was begun with another {', another '.join(others)}; give the same "
                "again, or name another folder"
            )
        self._open()

    def finish(self, hessians: Hessians, dead: dict[str, int]) -> None:
        """See `Stream`; the layer is on disk when this returns."""
        arrays = dict[str, Any](hessians)
        self._place.publish({_shard(self.finished): lambda file: np.savez(file, **arrays)})
        if isinstance(self.behind, np.memmap):
            self.behind.flush()
        self.finished += 1
        self.dead.append(dead)
        state = self._told | {"finished": self.finished, "dead": self.dead}
        self._place.publish({_WALK: lambda file: file.write(json.dumps(state).encode())})
        self._open()

    def _open(self) -> None:
        """The streams around the layer at hand; behind the last layer there are none."""
        going_on = self.finished < self._told["layers"]
        for name in self._place.entries():
            if fnmatch(name, "stream-*.npy") and not (going_on and name == _file(self.finished)):
                self._place.remove(name)
        self.front = self.behind = np.empty((0, 0, 0), self._dtype)
        if going_on:
            self.front = self._array(self.finished, "r" if self.finished else "w+")
            self.behind = self._array(self.finished + 1, "w+")

    def _array(self, layer: int, mode: Literal["r", "w+"]) -> np.memmap:
        path = self._place.where / _file(layer)
        if mode == "w+":
            self._check_space()
        try:
            found = np.lib.format.open_memmap(path, mode, self._dtype, self._shape)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be used: {error}; begin in another folder") from error
        if found.shape != self._shape or found.dtype != self._dtype:
            raise DataError(f"{path} is damaged; begin in another folder")
        return found

    def _check_space(self) -> None:
        """A mapped file that finds no room on the disk would end the process without a word."""
        needed = math.prod(self._shape) * self._dtype.itemsize
        free = shutil.disk_usage(self._place.where).free
        if free < needed:
            raise DoptError(
                f"{self._place.where} needs {needed / 1e9:.2f} GB for the residual stream, but "
                f"{free / 1e9:.2f} GB are free; free some, or give fewer tokens"
            )


@contextmanager
def stream_in(
    folder: str | Path | None, told: Told, shape: tuple[int, ...], dtype: np.dtype
) -> Iterator[Stream]:
    """A stream in a folder, for one process at a time, or in memory.

    Args:
        folder: None for memory.
        told: what the folder is of.
        shape: [N, T, d] of the stream.
        dtype: of the stream.

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
        return dict(state) | {"finished": int(state["finished"]), "dead": list(state["dead"])}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / _WALK} is damaged; begin in another folder") from error


def _file(layer: int) -> str:
    return f"stream-{layer:03}.npy"


def _shard(layer: int) -> str:
    return f"shards/layer-{layer:03}.npz"
