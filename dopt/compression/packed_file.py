"""A packed weight as named arrays and a description in JSON, and back.

    {"n", "p", "inputs", "offset", "rotation": null | [size, seed],
     "arrays": {"words": dtype, "scales": dtype, …}, "table": null | name}

Tables are shared by the matrices of a model: a table has a name that depends on its bytes alone, by
which it is looked up. Arrays of dtypes that numpy does not have (bfloat16, float8) are written as
unsigned integers of as many bits.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from compressors.weights.coding import Coding
from compressors.weights.packed import PackedWeight
from compressors.weights.rotation import Rotation


Arrays = dict[str, np.ndarray]

_ARRAYS = ("words", "scales", "zeros", "order")


def flattened(name: str, weight: PackedWeight) -> tuple[Arrays, dict[str, Any], Arrays]:
    """The arrays of a packed weight, its description, and its table by name, if it has one.

    Args:
        name: what the names of the arrays begin with.
        weight: the weight.
    """
    there = {part: getattr(weight, part) for part in _ARRAYS if getattr(weight, part) is not None}
    table = None if weight.table is None else np.asarray(weight.table)
    described = {
        "n": weight.coding.n,
        "p": weight.coding.p,
        "inputs": weight.inputs,
        "offset": weight.offset,
        "rotation": None if weight.rotation is None else list(weight.rotation),
        "arrays": {part: array.dtype.name for part, array in there.items()},
        "table": None if table is None else table_name(table),
    }
    arrays = {f"{name}.{part}": plain(np.asarray(array)) for part, array in there.items()}
    return arrays, described, {} if table is None else {table_name(table): table}


def restored(
    name: str,
    described: dict[str, Any],
    read: Callable[[str], np.ndarray],
    table: Callable[[str], Any],
) -> PackedWeight:
    """The packed weight.

    Args:
        name: as it was given to `flattened`.
        described: its description.
        read: gives the array of a name.
        table: gives the table of a name.
    """
    arrays: dict[str, Any] = dict.fromkeys(_ARRAYS)
    for part, dtype in described["arrays"].items():
        arrays[part] = jnp.asarray(read(f"{name}.{part}").view(jnp.dtype(dtype)))
    rotation = described["rotation"]
    return PackedWeight(
        **arrays,
        table=None if described["table"] is None else table(described["table"]),
        coding=Coding(described["n"], described["p"]),
        inputs=described["inputs"],
        offset=described["offset"],
        rotation=None if rotation is None else Rotation(*rotation),
    )


def plain(array: np.ndarray) -> np.ndarray:
    """The array in a dtype that every reader of files has, with the same bytes."""
    own = array.dtype.kind in "iu" or array.dtype in (np.float16, np.float32, np.float64)
    return array if own else array.view(f"u{array.dtype.itemsize}")


def table_name(table: np.ndarray) -> str:
    """The same for the same table only."""
    told = f"{table.dtype.name} {table.shape} ".encode()
    return "table-" + hashlib.sha256(told + table.tobytes()).hexdigest()[:16]
