"""Fills the folder of a compressed model, file by file, so that a killed run can go on."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase, BufferedWriter
from pathlib import Path
from typing import Any

from dopt.compression import tokenizer_file
from dopt.compression.folder import (
    OUTSIDE,
    SCHEMA_VERSION,
    Plan,
    Records,
    layer_file,
    mark_of,
    read_json,
    table_file,
    tables_of,
)
from dopt.compression.shards import Shard, read_records, read_shard, shard_of
from dopt.errors import ConfigurationError
from dopt.models.load import COMPRESSED, COMPRESSING
from dopt.models.tokenizer import Tokenizer
from dopt.results.local import LocalPlace


class Writer:
    """Fills a folder for one plan; what is there of the same plan is kept."""

    def __init__(self, place: LocalPlace, plan: Plan) -> None:
        self.where = place.where
        self._place = place
        self._plan: Plan = json.loads(_text(plan))
        manifest = read_json(self.where / COMPRESSED)
        begun = manifest["plan"] if manifest is not None else read_json(self.where / COMPRESSING)
        if begun is not None:
            self._check(begun)
        elif any(self.where.glob("*.json")) or any(self.where.glob("*.safetensors")):
            raise ConfigurationError(f"{self.where} holds a model; name another folder")
        else:
            self._publish(COMPRESSING, _text(plan))

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return (self.where / COMPRESSED).exists()

    @property
    def fingerprint(self) -> str:
        """The same for the same plan only."""
        return hashlib.sha256(_text(self._plan)).hexdigest()

    def write(self, name: str, leaves: dict[str, Any], records: Records) -> None:
        """A file of packed and plain arrays, behind the tables that they need."""
        shard, tables = shard_of(leaves, records)
        for table, arrays in tables.items():
            if not self.has(table_file(table)):
                self._publish_shard(table_file(table), shard_of(arrays, {})[0])
        self._publish_shard(name, shard)

    def has(self, name: str) -> bool:
        """Whether a file is there, and so whole."""
        return (self.where / name).exists()

    def read(self, name: str) -> dict[str, Any] | None:
        """The leaves of a file; None where it is not there yet."""
        return read_shard(self.where / name, tables_of(self.where)) if self.has(name) else None

    def clear(self, name: str) -> None:
        """Removes a folder of the folder, with all that it holds, if it is there."""
        shutil.rmtree(self.where / name, ignore_errors=True)

    def finish(self, tokenizer: Tokenizer | None, note: str | None) -> dict[str, Any]:
        """Writes the tokenizer and, last, the manifest, which it returns."""
        layers = range(self._plan["config"]["layers"])
        records = {
            f"layers.{i}.{name}": record
            for i in layers
            for name, record in read_records(self.where / layer_file(i)).items()
        }
        matrices = {name: record for name, record in records.items() if "quantizer" in record}
        needed = {record["format"]["table"] for record in matrices.values()} - {None}
        tables = [table_file(name) for name in sorted(needed)]
        files = [*map(layer_file, layers), OUTSIDE, *tables]
        described = None
        if tokenizer is not None:
            described, content = tokenizer_file.written(tokenizer)
            files.append(described["file"])
            self._publish(described["file"], content)
        others = [read_records(self.where / name) for name in (OUTSIDE, *tables)]
        outside = [record["bits"] for shard in others for record in shard.values()]
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "note": note,
            "bits": {
                "matrices": sum(record["bits"] for record in matrices.values()),
                "model": sum(record["bits"] for record in records.values()) + sum(outside),
            },
            "tokenizer": described,
            "plan": self._plan,
            "files": {name: mark_of(self.where / name) for name in files},
            "matrices": matrices,
        }
        self._publish(COMPRESSED, _text(manifest))
        self._place.remove(COMPRESSING)
        return manifest

    def _publish(self, name: str, content: bytes) -> None:
        self._place.publish({name: lambda file: file.write(content)})

    def _publish_shard(self, name: str, shard: Shard) -> None:
        def write(file: BufferedIOBase) -> None:
            # The package takes paths alone: that of the open file, which is synced afterwards.
            assert isinstance(file, BufferedWriter)
            shard.save(Path(file.name))

        self._place.publish({name: write})

    def _check(self, begun: Plan) -> None:
        plan = self._plan
        others = [key for key in sorted(plan.keys() | begun) if plan.get(key) != begun.get(key)]
        if others:
            raise ConfigurationError(
                f"{self.where} was begun with another {', another '.join(others)}; give the same "
                "again, or name another folder"
            )


@contextmanager
def writing(folder: str | Path, plan: Plan) -> Iterator[Writer]:
    """Opens a folder for a plan, for one process at a time.

    Raises:
        ConfigurationError: it holds another model, or one of another plan.
        DataError: what it holds cannot be read.
        DoptError: another process writes to it, or nobody may.
    """
    place = LocalPlace(Path(folder))
    lock = place.lock()
    try:
        yield Writer(place, plan)
    finally:
        lock.release()


def _text(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode()
