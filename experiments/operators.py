"""Operators by name: those of the catalogue, and a user's own as `module:Class`."""

import difflib
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from compressors import Collective, Compressor, Joint
from dopt.errors import ConfigurationError
from theory_checks.catalogue import COLLECTIVES, JOINTS, OPERATORS


Operator = Compressor | Joint | Collective

MEMBERS = 8
"""Members of a joint family."""


def named(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Those of the known that the names stand for, all of them where none is given.

    A name that is whole stands for itself, else for all that begin so.

    Raises:
        ConfigurationError: a name that begins none.
    """
    chosen: list[str] = [] if names else list(known)
    for name in names:
        found = [name] if name in known else [one for one in known if one.startswith(name)]
        if not found:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {'; '.join(known)}"
            raise ConfigurationError(f"no operator is called {name!r}: {hint}")
        chosen += found
    return list(dict.fromkeys(chosen))


def select(names: Sequence[str], d: int) -> dict[str, Callable[[], Operator]]:
    """What makes the operators that the names stand for, all of the catalogue where none is given.

    Raises:
        ConfigurationError: an unknown name, or `module:Class` that is no operator.
    """
    catalogue: dict[str, Callable[[], Operator]] = {
        **{name: partial(make, d) for name, make in OPERATORS.items()},
        **{name: partial(make, d, MEMBERS) for name, make in JOINTS.items()},
        **{name: partial(make, d) for name, make in COLLECTIVES.items()},
    }
    chosen: dict[str, Callable[[], Operator]] = {}
    for name in names or list(catalogue):
        if ":" in name:
            chosen[name] = _own(name, d)
        else:
            chosen |= {known: catalogue[known] for known in named([name], list(catalogue))}
    return chosen


def _own(name: str, d: int) -> Callable[[], Operator]:
    """`module:Class`, constructed without arguments, or `module:name`, a value or a function of d.

    Raises:
        ConfigurationError: there is no such thing, or it is no operator.
    """
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        value: Any = importlib.import_module(module_name)
    except Exception as error:  # noqa: BLE001 (anything can happen in a user's module)
        raise ConfigurationError(
            f"{name}: the module cannot be imported: {raised(error)}"
        ) from None
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise ConfigurationError(f"{name}: the module {module_name} has no {attribute!r}")
        value = getattr(value, part)
    if callable(value):
        given = "without arguments" if inspect.isclass(value) else f"for d = {d}"
        try:
            value = value() if inspect.isclass(value) else value(d)
        except Exception as error:  # noqa: BLE001 (anything can happen in a user's class)
            raise ConfigurationError(
                f"{name}: cannot be made {given}: {raised(error)}; point at a value, or at a "
                "function of d that makes one"
            ) from None
    if not isinstance(value, Operator):
        raise ConfigurationError(
            f"{name}: {type(value).__name__} is no Compressor, Joint or Collective; derive it from "
            "compressors.Unbiased, Contractive, AsymptoticallyUnbiased or Compressor"
        )
    try:
        hash(value)
    except TypeError as error:
        raise ConfigurationError(
            f"{name}: {error}; make the class a frozen dataclass, its fields static"
        ) from None
    return lambda: value


def raised(error: BaseException) -> str:
    """The error and where it comes from: the last line in a file of the user's, if there is one."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(os.getcwd() + os.sep)]
    where = [f" ({frame.filename}, line {frame.lineno})" for frame in own or frames]
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}{where[-1] if where else ''}"
