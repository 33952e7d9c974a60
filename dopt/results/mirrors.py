"""A results folder at an address as a folder of this machine, for what draws and prints."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dopt.results.files import MERGED, META, take_inventory, write_merged
from dopt.results.gather import gather, leave_out
from dopt.results.leases import NAME as LOCK
from dopt.results.local import LocalPlace
from dopt.results.places import Folder, Place, place_at


TABLES = {*MERGED, META, LOCK}
"""Files that belong to the writer of the folder, and are never uploaded."""


@contextmanager
def mirrored(out: Folder) -> Iterator[Path]:
    """A folder of this machine with both tables and the other files of a results folder.

    Of a path it is the path itself. Of an address it is a temporary folder, whose new and changed
    files are uploaded in the end, also after an error; `load` gives there what it gives at the
    address, even if the study did not end.

    Raises:
        SchemaError: a newer version wrote the results.
        DoptError: they cannot be read, or the files not be uploaded.
    """
    place = place_at(out)
    if isinstance(place, LocalPlace):
        yield place.where
        return
    with tempfile.TemporaryDirectory(prefix="dopt-") as temporary:
        folder = Path(temporary)
        _download(place, folder)
        before = _marks(folder)
        try:
            yield folder
        finally:
            for name, mark in _marks(folder).items():
                if mark != before.get(name) and name not in TABLES:
                    _upload(folder, name, place)


def _download(place: Place, folder: Path) -> None:
    inventory = take_inventory(place)
    whole = not inventory.shards or inventory.shards == inventory.merged
    for name in place.entries():
        if name not in TABLES or (whole and name in MERGED):
            (folder / name).write_bytes(place.read(name))
    tables = None if whole else gather(place, inventory, leave_out)
    if tables is not None:
        write_merged(LocalPlace(folder), tables, {})


def _upload(folder: Path, name: str, place: Place) -> None:
    content = (folder / name).read_bytes()
    place.publish({name: lambda file: file.write(content)})


def _marks(folder: Path) -> dict[str, tuple[int, int]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    stats = {path.relative_to(folder).as_posix(): path.stat() for path in files}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}
