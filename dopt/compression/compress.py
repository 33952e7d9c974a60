"""A model, matrix by matrix, into the folder of a compressed one.

    1. The plan is written down: source, settings of every matrix, versions; then embedding, last
       norm and head, which take the most memory while little else is held.
    2. For each layer, in the order of the forward pass: quantize its matrices, and write them, as
       they will be read, to a file of their own. Quantizers that need H = XᵀX get that of the
       layer's inputs in the model whose earlier layers are compressed already (as GPTQ does).
    3. The tokenizer follows, and the manifest at the end.

A killed run goes on with the layer where it died, and writes the same bytes as one that was not.
One layer at a time is held twice.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from compressors.weights import PackedWeight, WeightQuantizer, relative_error
from dopt.calibration.kept import Hessians
from dopt.calibration.walk import walk
from dopt.compression.folder import OUTSIDE, Plan, Records, described_config, layer_file
from dopt.compression.writer import Writer, writing
from dopt.errors import ConfigurationError, UnsupportedError
from dopt.evaluation.steps import OnProgress, Steps, Stopping
from dopt.models.decoder import INPUT_OF
from dopt.models.fingerprint import fingerprint
from dopt.models.load import Loaded
from dopt.models.parameters import Params, leaf, linear_paths
from dopt.models.parameters import Path as Place
from dopt.versions import versions


_CALIBRATION = "calibration"
"""Where a walk with Hessians keeps what it needs to go on."""


class How(NamedTuple):
    """How a model is compressed.

    Attributes:
        quantizers: of the matrices at `linear_paths`.
        calibration: rows of tokens for the Hessians, if a quantizer needs them.
        outside: the dtype of embedding and head; norms and biases are kept in float32.
    """

    quantizers: Mapping[Place, WeightQuantizer]
    calibration: Int[np.ndarray, "N T"] | None = None
    outside: str = "float16"


def compress(
    loaded: Loaded,
    how: How,
    folder: str | Path,
    *,
    on_progress: OnProgress | None = None,
    stopping: Stopping | None = None,
) -> dict[str, Any]:
    """Writes the compressed model into a folder; a folder that is finished stays as it is.

    Args:
        loaded: the model, and the tokenizer that goes with it.
        how: see there.
        folder: a new one, or one in which the same was begun.
        on_progress: told how many matrices are done, and of how many.
        stopping: asked after every matrix.

    Returns:
        The manifest, what `dopt_compressed.json` says.

    Raises:
        ConfigurationError: quantizers that do not fit the shapes, no calibration where one is
            needed, weights that are NaN, or a folder with something else.
        UnsupportedError: a model that is compressed already, or an absent package.
        InterruptedRunError: the user has asked to stop.
        DoptError: the folder cannot be written.
    """
    config, params = loaded.model.config, loaded.model.params
    _check(loaded, how)
    with writing(folder, plan_of(loaded, how)) as writer:
        if not writer.finished:
            total = len(linear_paths(config))
            kept = "the layers that are finished are kept; run the same again to go on"
            steps = Steps(total, on_progress, stopping, kept)
            if not writer.has(OUTSIDE):
                writer.write(OUTSIDE, _outside(params, how.outside), {})
            _layers(loaded, how, writer, steps, stopping)
        return writer.finish(loaded.tokenizer, loaded.note)


def plan_of(loaded: Loaded, how: How) -> Plan:
    """What decides every byte of the folder, in JSON."""
    config, params = loaded.model.config, loaded.model.params
    return {
        "source": {"name": loaded.name, "parameters": fingerprint(params)},
        "config": described_config(config),
        "quantizers": {name_of(p): described(how.quantizers[p]) for p in linear_paths(config)},
        "calibration": None if how.calibration is None else _described_rows(how.calibration),
        "outside": how.outside,
        "versions": versions(),
    }


def described(quantizer: WeightQuantizer) -> dict[str, Any]:
    """The settings of a quantizer in JSON."""
    return {"method": type(quantizer).__name__} | _settings(quantizer)


def name_of(place: Place) -> str:
    """Such as "layers.3.q"."""
    return ".".join(map(str, place))


def _layers(
    loaded: Loaded, how: How, writer: Writer, steps: Steps, stopping: Stopping | None
) -> None:
    layers = loaded.model.params["layers"]
    steps.done = len(INPUT_OF) * sum(writer.has(layer_file(i)) for i in range(len(layers)))
    if how.calibration is None:
        for i, layer in enumerate(layers):
            _layer(i, layer, how, writer, steps, {})
        return

    def visit(i: int, layer: Params, hessians: Hessians) -> Params:
        return _layer(i, layer, how, writer, steps, hessians)

    walk(
        loaded.model,
        how.calibration,
        visit,
        folder=writer.where / _CALIBRATION,
        purpose=writer.fingerprint,
        stopping=stopping,
    )
    writer.clear(_CALIBRATION)


def _layer(
    i: int,
    layer: Params,
    how: How,
    writer: Writer,
    steps: Steps,
    hessians: Hessians,
) -> Params:
    """The compressed layer, from its file where that is there."""
    if (found := writer.read(layer_file(i))) is not None:
        return found
    leaves: Params = {}
    records: Records = {}
    for name, value in layer.items():
        if name not in INPUT_OF:
            leaves[name] = jnp.asarray(value, jnp.float32)
            continue
        quantizer = how.quantizers["layers", i, name]
        try:
            quantized = quantizer.quantize(value, hessians.get(INPUT_OF[name]))
        except ValueError as error:
            raise ConfigurationError(f"layers.{i}.{name}: {error}") from error
        leaves[name] = quantized.weight
        records[name] = {
            "quantizer": described(quantizer),
            "error": relative_error(value, quantized.weight.dequantize(jnp.float32)),
            **dataclasses.asdict(quantized.report),
        }
        steps.step()
    writer.write(layer_file(i), leaves, records)
    return leaves


def _outside(params: Params, dtype: str) -> dict[str, Any]:
    """The parameters that are in no layer, as they are kept."""
    kept = {}
    for name in sorted(params.keys() - {"layers"}):
        asked = jnp.dtype(jnp.float32 if name == "norm" else dtype)
        array = jnp.asarray(params[name], asked)
        if not bool(jnp.isfinite(array).all()):
            raise ConfigurationError(
                f"{name} holds numbers that {asked.name} does not hold, or NaN; keep it in float32"
            )
        kept[name] = array
    return kept


def _check(loaded: Loaded, how: How) -> None:
    config, params = loaded.model.config, loaded.model.params
    for place in linear_paths(config):
        weight = leaf(params, place)
        if isinstance(weight, PackedWeight):
            raise UnsupportedError(
                f"{loaded.name} is compressed already; compress the model that it was made of"
            )
        quantizer = how.quantizers[place]
        try:
            quantizer.nbits(*weight.shape)
        except ValueError as error:
            raise ConfigurationError(f"{name_of(place)}: {error}") from error
        if quantizer.needs_hessian and how.calibration is None:
            raise ConfigurationError(
                f"{quantizer.name} needs text to calibrate on; give a text, or another method"
            )


def _described_rows(rows: Int[np.ndarray, "N T"]) -> dict[str, Any]:
    digest = hashlib.sha256(np.ascontiguousarray(rows, np.int64).tobytes()).hexdigest()
    return {"windows": rows.shape[0], "tokens": rows.shape[1], "sha256": digest}


def _settings(value: Any) -> Any:
    """A setting in JSON; nested ones by their fields."""
    if dataclasses.is_dataclass(value):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return {name: _settings(getattr(value, name)) for name in fields}
    if isinstance(value, np.ndarray):
        return {"shape": value.shape, "sha256": hashlib.sha256(value.tobytes()).hexdigest()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
