"""A results folder at an address of an object store, such as s3://bucket/folder, through fsspec.

A store puts an object whole or not at all, so nothing needs staging but what replaces a batch.
"""

import io
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from dopt.errors import DoptError
from dopt.results.leases import Lease
from dopt.results.places import Lock, Place, Write


PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
}
"""What to install for the addresses that object stores usually have."""

MARKS = ("ETag", "etag", "md5Hash", "generation", "LastModified", "last_modified", "created")
"""What listings call that which changes when an object is written again."""


class ObjectPlace(Place):
    """The objects whose names begin with an address."""

    where: str

    def __init__(self, address: str) -> None:
        from fsspec.core import url_to_fs

        protocol, _, name = address.partition("://")
        if not name.strip("/"):
            raise DoptError(f"{address} names no folder; give one, such as s3://bucket/folder")
        self.where = address.rstrip("/")
        try:
            self.system, self.root = url_to_fs(self.where)
        except ImportError as error:
            package = PACKAGES.get(protocol)
            remedy = f"pip install {package}" if package else str(error)
            raise DoptError(f"{address} needs a package that is not installed: {remedy}") from error
        except ValueError as error:
            raise DoptError(
                f"{address} is no address of a known kind ({error}); give a path, or an address "
                "such as s3://bucket/folder"
            ) from error

    def lock(self) -> Lock:
        """See `Place`; the lock is one for a time, and renewed as long as the process lives."""
        return Lease(self, self._create)

    def entries(self, under: str = "") -> dict[str, str]:
        """See `Place`."""
        folder = self._key(under)
        with suppress(FileNotFoundError), self._readable(under):
            self.system.invalidate_cache()
            return {
                posixpath.basename(info["name"]): f"{info['size']}/{_mark(info)}"
                for info in self.system.ls(folder, detail=True)
                if info["type"] == "file" and info["name"].strip("/") != folder.strip("/")
            }
        return {}

    @contextmanager
    def open(self, name: str) -> Iterator[io.BufferedIOBase]:
        """See `Place`; all of it is fetched at once."""
        with self._readable(name):
            content = self.system.cat_file(self._key(name))
        yield io.BytesIO(content)

    def tail(self, name: str, size: int) -> bytes:
        """See `Place`."""
        with self._readable(name):
            return self.system.cat_file(self._key(name), start=-size)

    def publish(self, parts: Mapping[str, Write]) -> None:
        """See `Place`; what replaces other objects is uploaded under other names before."""
        contents = {}
        for name, write in parts.items():
            buffer = io.BytesIO()
            write(buffer)
            contents[name] = buffer.getvalue()
        last = list(parts)[-1]
        if len(parts) == 1 or not self._exists(last):
            for name, content in contents.items():
                self._put(name, content)
            return
        try:
            for name, content in contents.items():
                self._put(f"{name}.tmp", content)
            self.remove(last)
            for name in contents:
                with self._sentence("write", name):
                    self.system.cp_file(self._key(f"{name}.tmp"), self._key(name))
        finally:
            with suppress(DoptError):
                for name in contents:
                    self.remove(f"{name}.tmp")

    def rename(self, name: str, new: str) -> None:
        """See `Place`."""
        with self._sentence("write", new), suppress(FileNotFoundError):
            self.system.cp_file(self._key(name), self._key(new))
            self.system.rm_file(self._key(name))

    def remove(self, name: str) -> None:
        """See `Place`."""
        with self._sentence("remove", name), suppress(FileNotFoundError):
            self.system.rm_file(self._key(name))

    def _key(self, name: str) -> str:
        return posixpath.join(self.root, name) if name else self.root

    def _exists(self, name: str) -> bool:
        with self._readable(name):
            self.system.invalidate_cache()
            return bool(self.system.exists(self._key(name)))

    def _put(self, name: str, content: bytes) -> None:
        with self._sentence("write", name):
            self.system.pipe_file(self._key(name), content)

    def _create(self, name: str, content: bytes) -> None:
        """Writes an object if there is none of that name, as far as the store can tell."""
        with self._sentence("write", name), suppress(FileExistsError):
            try:
                self.system.pipe_file(self._key(name), content, mode="create")
            except (TypeError, NotImplementedError):  # not every store can
                self.system.pipe_file(self._key(name), content)

    @contextmanager
    def _readable(self, name: str) -> Iterator[None]:
        """As `_sentence`, but for an object that is not there."""
        try:
            with self._sentence("read", name):
                yield
        except DoptError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise error.__cause__ from None
            raise

    @contextmanager
    def _sentence(self, verb: str, name: str) -> Iterator[None]:
        """What the store refuses, as an error that a person can act on.

        Each system has errors of its own, of no common kind.
        """
        try:
            yield
        except (DoptError, MemoryError):
            raise
        except Exception as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise DoptError(
                f"cannot {verb} {self.path(name)}: {reason}; check the address, its bucket, your "
                "credentials and the network; the batches that were written before are intact"
            ) from error


def _mark(info: Mapping[str, object]) -> str:
    return next((str(info[key]) for key in MARKS if info.get(key)), "")
