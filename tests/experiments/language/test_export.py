"""`dopt export`: what is written is read again, and what no format holds is refused."""

import jax
import numpy as np
import pytest

from compressors.weights import HIGGS, RoundToNearest
from dopt.compression.compress import How, compress
from dopt.models import Config, load, logits, random_parameters
from dopt.models.load import Loaded
from dopt.models.parameters import Model, linear_paths


CONFIG = Config(
    vocabulary=64, layers=1, d_model=64, heads=2, kv_heads=1, head_size=32, d_ff=96, context=32
)
TOKENS = np.arange(12)[None]


def compressed(folder, quantizer):
    model = Model(random_parameters(CONFIG, jax.random.key(0)), CONFIG)
    how = How(dict.fromkeys(linear_paths(CONFIG), quantizer))
    compress(Loaded(model, None, "small", None), how, folder)
    return logits(*load(folder).model, TOKENS)


@pytest.mark.parametrize("form", ["compressed-tensors", "gptq"])
def test_what_is_written_is_read_again(dopt_says, tmp_path, form):
    expected = compressed(tmp_path / "small", RoundToNearest(4, 32))
    code, out, err = dopt_says(f"export {tmp_path}/small --format {form} --out {tmp_path}/others")
    assert code == 0, err
    assert f"others: {form}, 0.0 MB" in out
    assert "without a tokenizer" in err
    np.testing.assert_allclose(
        logits(*load(tmp_path / "others").model, TOKENS), expected, atol=2e-3
    )


def test_rotated_matrices_are_written_out_only(dopt_says, tmp_path):
    expected = compressed(tmp_path / "small", HIGGS(p=2, n=16, group=32))
    code, _, err = dopt_says(f"export {tmp_path}/small --out {tmp_path}/others")
    assert code == 1
    assert "rotat" in err
    assert not (tmp_path / "others").exists()
    code, _, err = dopt_says(
        f"export {tmp_path}/small --format hugging-face --out {tmp_path}/others"
    )
    assert code == 0, err
    np.testing.assert_allclose(
        logits(*load(tmp_path / "others").model, TOKENS), expected, atol=2e-4
    )


def test_a_folder_with_files_is_not_written_into(dopt_says, tmp_path):
    (tmp_path / "mine").write_text("")
    code, _, err = dopt_says(f"export smollm2-135m --out {tmp_path}")
    assert code == 2
    assert "is not empty; name a new folder" in err
