"""Measurements in a file, a line each, so that a killed run can go on."""

import json
import os
from pathlib import Path
from typing import Any

from dopt.errors import ConfigurationError, DataError, DoptError


Key = tuple[str | int | float, ...]


class Rows:
    """Numbers by key; with a path, each is on the disk before the next is asked for.

    The first line says what is measured, the others are [key, number]. A last line that a kill has
    cut is taken off.
    """

    def __init__(self, path: Path | None, header: dict[str, Any]) -> None:
        """What is there of the same measurement.

        Args:
            path: of the file, which may not exist; None: nothing is kept.
            header: all that decides the numbers.

        Raises:
            ConfigurationError: the file holds another measurement.
            DataError: it cannot be read.
            DoptError: it cannot be written.
        """
        self._path = path
        self._found: dict[Key, float] = {}
        if path is None:
            return
        told = json.dumps(header)
        try:
            content = path.read_text() if path.exists() else ""
            lines = content.split("\n")[:-1]
            if lines and lines[0] != told:
                raise ConfigurationError(
                    f"{path} holds another measurement; give the same settings again, remove it, "
                    "or name another folder"
                )
            self._found = {tuple(key): value for key, value in map(json.loads, lines[1:])}
            path.parent.mkdir(parents=True, exist_ok=True)
            if lines:
                os.truncate(path, len(content[: content.rfind("\n") + 1].encode()))
            else:
                path.write_text(told + "\n")
        except ConfigurationError:
            raise
        except (ValueError, TypeError) as error:
            raise DataError(f"{path} is damaged ({error}); remove it") from error
        except OSError as error:
            raise DoptError(f"{path} cannot be used: {error.strerror or error}") from error

    def __contains__(self, key: Key) -> bool:
        return key in self._found

    def __getitem__(self, key: Key) -> float:
        return self._found[key]

    def add(self, key: Key, value: float) -> None:
        """One more number.

        Raises:
            DoptError: it cannot be written.
        """
        self._found[key] = value
        if self._path is None:
            return
        try:
            with self._path.open("a") as file:
                file.write(json.dumps([key, value]) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DoptError(f"{self._path} cannot be written: {error.strerror}") from error
