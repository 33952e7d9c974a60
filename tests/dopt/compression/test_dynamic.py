"""The claim of the budget on a trained model: dynamic is ahead of uniform on text it never saw."""

import os
from pathlib import Path

import jax.numpy as jnp
import pytest

from dopt.calibration import random_tokens
from dopt.compression.budget import dynamic, uniform
from dopt.compression.gradients import by_gradients
from dopt.compression.streams import Streams
from dopt.evaluation import against, cut, paired_difference, read_text, reference, rows
from dopt.models import Model, load
from dopt.models.parameters import leaf, replaced


BITS = 4.0


@pytest.mark.data
def test_dynamic_is_ahead_of_uniform_on_text_that_it_was_not_measured_on():
    data = Path(os.environ["DOPT_DATA"])
    model, tokenizer, *_ = load(data / "stories260K" / "stories260K.bin", jnp.float32)
    config = model.config
    text = read_text(data / "text_tinystories" / "tinystories_sample_cs336.txt")
    original = reference(model, cut(tokenizer.encode(text), 128, bos=tokenizer.bos).most(8))
    tokens = random_tokens(config.vocabulary, 8, 64, seed=0)
    alpha = by_gradients(Streams(model, rows(tokens)), draws=2)

    def two_dimensional(quantizer):
        return quantizer.p == 2

    found = {}
    for name, allocation in {
        "uniform": uniform(config, "higgs", BITS, two_dimensional),
        "dynamic": dynamic(config, "higgs", BITS, alpha, two_dimensional),
    }.items():
        assert allocation.bits_a_weight <= BITS
        dense = {
            place: quantizer.quantize(leaf(model.params, place)).weight.dequantize()
            for place, quantizer in allocation.quantizers.items()
        }
        found[name] = against(Model(replaced(model.params, dense), config), original)
    pair = paired_difference(found["dynamic"].per_token, found["uniform"].per_token)
    assert pair.mean < -3 * pair.error
