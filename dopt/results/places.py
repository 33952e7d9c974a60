"""Where a results folder is: on a disk, or at an address of an object store.

A place holds whole files under names such as `shards/a.runs.parquet`. What the disk or the store
refuses comes as an error that a person can act on; only `FileNotFoundError` passes as it is.
"""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from io import BufferedIOBase
from pathlib import Path


Folder = str | os.PathLike[str]
"""A path (`~` is the home folder), `file://` and a path, or an address such as s3://bucket/folder.

An address may be any that fsspec knows whose system puts a file whole or not at all, as object
stores do; its package (s3fs for s3://, gcsfs for gs://) must be installed.
"""

Write = Callable[[BufferedIOBase], object]
"""Fills an open file."""


class Lock(ABC):
    """The right to write in a place, of one process at a time."""

    @abstractmethod
    def check(self) -> None:
        """Raises `DoptError` if another process has taken it over."""

    @abstractmethod
    def release(self) -> None:
        """Lets another process write."""


class Place(ABC):
    """A results folder, wherever it is; `where` is what a person gave."""

    where: Path | str

    @abstractmethod
    def lock(self) -> Lock:
        """Makes the folder if there is none, and takes the right to write in it.

        Raises:
            DoptError: another process writes here, or nobody may.
        """

    @abstractmethod
    def entries(self, under: str = "") -> dict[str, str]:
        """The names of the files in a folder, each with what changes when it is written again."""

    @abstractmethod
    def open(self, name: str) -> AbstractContextManager[BufferedIOBase]:
        """A file to read, where one may seek."""

    @abstractmethod
    def tail(self, name: str, size: int) -> bytes:
        """The last `size` bytes of a file, or all it has."""

    @abstractmethod
    def publish(self, parts: Mapping[str, Write]) -> None:
        """Writes whole files, the last one last; all of them in the end, or nothing changed.

        A kill in between leaves some of the first ones, and of several files not the last one: if
        it stood there before, it is removed before the others are replaced.
        """

    @abstractmethod
    def rename(self, name: str, new: str) -> None:
        """Gives a file another name."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Removes a file if it is there."""

    def path(self, name: str) -> str:
        """The whole name of a file, for a person."""
        return f"{self.where}/{name}" if name else str(self.where)

    def read(self, name: str) -> bytes:
        """All bytes of a file."""
        with self.open(name) as file:
            return file.read()


def place_at(folder: Folder) -> Place:
    """The place of a results folder, from a path or an address; nothing is created yet.

    Raises:
        DoptError: a package that the address needs is not installed, or no such home folder.
    """
    text = os.fspath(folder)
    if not isinstance(folder, str):  # a `Path` has lost slashes of the address
        text = re.sub(r"^file:(?=/)", "", text)
        text = re.sub(r"^([A-Za-z][\w+.-]+):/(?!/)", r"\1://", text)
    if re.match(r"[A-Za-z][\w+.:-]+://", text) and not text.startswith("file://"):
        from dopt.results.objects import ObjectPlace

        return ObjectPlace(text)
    from dopt.results.local import LocalPlace

    return LocalPlace(Path(text.removeprefix("file://")))
