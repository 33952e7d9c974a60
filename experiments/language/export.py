"""`dopt export`: a model as files that other tools read."""

from pathlib import Path

import jax.numpy as jnp

from compressors.weights import PackedWeight
from dopt.compression.exports import export_compressed_tensors, export_gptq
from dopt.compression.exports.tokenizer_files import tokenizer_files
from dopt.errors import ConfigurationError
from dopt.models import load, save_hugging_face
from dopt.models.package_tokenizer import PackageTokenizer
from dopt.models.parameters import Model, leaf, parameter_shapes, replaced
from experiments.language.options_export import Export
from experiments.terminal import out, say


def export(options: Export) -> None:
    """Writes the folder, and prints its size.

    Raises:
        DoptError: what the command refuses, before anything is written.
    """
    if options.out.exists() and any(options.out.iterdir()):
        raise ConfigurationError(f"{options.out} is not empty; name a new folder")
    loaded = load(options.model)
    tokenizer = loaded.tokenizer if isinstance(loaded.tokenizer, PackageTokenizer) else None
    if options.format == "compressed-tensors":
        export_compressed_tensors(options.out, loaded.model, tokenizer)
    elif options.format == "gptq":
        export_gptq(options.out, loaded.model, tokenizer)
    else:
        _written_out(options.out, loaded.model, tokenizer)
    size = sum(path.stat().st_size for path in options.out.iterdir())
    out.print(f"{options.out}: {options.format}, {size / 1e6:.1f} MB", soft_wrap=True)
    if tokenizer is None:
        say("without a tokenizer: the model has none that other tools read")
    if loaded.note is not None:
        say(loaded.note)


def _written_out(folder: Path, model: Model, tokenizer: PackageTokenizer | None) -> None:
    """Every matrix in float32, with the tokenizer beside it."""
    leaves = {}
    for path in parameter_shapes(model.config):
        value = leaf(model.params, path)
        packed = isinstance(value, PackedWeight)
        leaves[path] = value.dequantize() if packed else value.astype(jnp.float32)
    save_hugging_face(folder, Model(replaced(model.params, leaves), model.config))
    if tokenizer is not None:
        files, _ = tokenizer_files(tokenizer)
        for name, text in files.items():
            (folder / name).write_text(text)
