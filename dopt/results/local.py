"""A results folder on a disk: files are staged, synced and renamed, and the system keeps the lock.

It must be a file system of POSIX, where a rename replaces a file in one step.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedIOBase
from pathlib import Path

from dopt.errors import DoptError
from dopt.results.places import Lock, Place, Write


class LocalPlace(Place):
    """A folder of the file system."""

    where: Path

    def __init__(self, folder: Path) -> None:
        try:
            self.where = folder.expanduser()
        except RuntimeError:
            raise DoptError(
                f"there is no home folder for {folder}; give the path without ~"
            ) from None

    def lock(self) -> Lock:
        """See `Place`; the lock is freed when the process dies, however it dies."""
        try:
            (self.where / "shards").mkdir(parents=True, exist_ok=True)
            return _FileLock(self.where)
        except OSError as error:
            raise DoptError(
                f"cannot write in {self.where}: {error.strerror}; choose another folder"
            ) from error

    def entries(self, under: str = "") -> dict[str, str]:
        """See `Place`."""
        found = {}
        with suppress(FileNotFoundError), _readable(self.where / under):
            for entry in os.scandir(self.where / under):
                with suppress(FileNotFoundError):  # a reader may meet one that is being replaced
                    if entry.is_file():
                        stat = entry.stat()
                        found[entry.name] = f"{stat.st_size}/{stat.st_mtime_ns}"
        return found

    @contextmanager
    def open(self, name: str) -> Iterator[BufferedIOBase]:
        """See `Place`."""
        with _readable(self.where / name):
            file = (self.where / name).open("rb")
        with file:
            yield file

    def tail(self, name: str, size: int) -> bytes:
        """See `Place`."""
        with self.open(name) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read()

    def publish(self, parts: Mapping[str, Write]) -> None:
        """See `Place`; what is written survives a crash of the machine."""
        paths = {self.where / name: write for name, write in parts.items()}
        last = list(paths)[-1]
        try:
            for path, write in paths.items():
                with _sentence(path), _temporary(path).open("wb") as file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
            if len(paths) > 1 and last.exists():
                with _sentence(last):
                    last.unlink()
                    _sync_folder(last.parent)
            for path in paths:
                with _sentence(path):
                    os.replace(_temporary(path), path)
                    _sync_folder(path.parent)
        finally:
            for path in paths:
                _temporary(path).unlink(missing_ok=True)

    def rename(self, name: str, new: str) -> None:
        """See `Place`."""
        with _sentence(self.where / name), suppress(FileNotFoundError):
            os.replace(self.where / name, self.where / new)

    def remove(self, name: str) -> None:
        """See `Place`."""
        with _sentence(self.where / name):
            (self.where / name).unlink(missing_ok=True)


class _FileLock(Lock):
    """A locked file, which holds the number of the process."""

    def __init__(self, folder: Path) -> None:
        self._file: int | None = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 20).decode(errors="replace") or "(unknown)"
            self.release()
            raise DoptError(
                f"process {holder} is writing to {folder}; "
                "wait for it, stop it, or choose another folder"
            ) from None
        with suppress(OSError):  # on a full disk the lock holds all the same, only without its name
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def check(self) -> None:
        """Nobody can take it over."""

    def release(self) -> None:
        """See `Lock`."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _temporary(path: Path) -> Path:
    return path.with_name(path.name + ".tmp")


def _sync_folder(folder: Path) -> None:
    """Makes renames in `folder` survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """The system's refusals (permissions, too many open files), as an error."""
    try:
        yield
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(*error.args) from None
    except OSError as error:
        raise DoptError(f"cannot read {path}: {error.strerror}") from None


@contextmanager
def _sentence(path: Path) -> Iterator[None]:
    """What the disk refuses, as an error that a person can act on."""
    try:
        yield
    except OSError as error:
        raise DoptError(
            f"cannot write {path}: {error.strerror or error}; the batches that were written before "
            "are intact: free space, or make the folder writable, and resume"
        ) from error
