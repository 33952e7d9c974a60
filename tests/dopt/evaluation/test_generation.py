import numpy_decoder
import pytest
from small_decoders import changed, drawn

from dopt.errors import ConfigurationError
from dopt.evaluation import side_by_side
from dopt.evaluation.generation import tokens_in_common


PROMPTS = [[1, 5, 12], [2], [7, 7, 3]]


def test_models_go_on_from_the_same_prompts():
    models = {"original": drawn(), "same": drawn(), "other": changed(drawn(), 0.8)}
    found = side_by_side(models, PROMPTS, new_tokens=6)
    assert [row.prompt for row in found] == PROMPTS
    for row in found:
        for name, model in models.items():
            tokens = list(row.prompt)
            for _ in range(6):
                tokens.append(int(numpy_decoder.logits(*model, tokens)[-1].argmax()))
            assert row.continuations[name] == tokens[len(row.prompt) :]
        assert (row.parted["original"], row.parted["same"]) == (None, None)
    assert any(row.parted["other"] is not None for row in found)


@pytest.mark.parametrize(
    ("a", "b", "common"),
    [
        ([1, 2, 3], [1, 2, 3], None),
        ([1, 2, 3], [1, 9, 3], 1),
        ([1, 2, 3], [9], 0),
        ([1, 2, 3], [1, 2], 2),
        ([], [4], 0),
        ([], [], None),
    ],
)
def test_tokens_until_they_part(a, b, common):
    assert tokens_in_common(a, b) == common
    assert tokens_in_common(b, a) == common


def test_without_a_model():
    with pytest.raises(ConfigurationError, match="there is no model"):
        side_by_side({}, PROMPTS, new_tokens=2)
