import jax
import jax.numpy as jnp
import numpy as np
import pytest

from compressors import RankR


KEY = jax.random.key(25)
M = np.random.default_rng(3).standard_normal((5, 8))


def compressed(op, x):
    return np.asarray(op.expand(op.compress(jnp.asarray(x).reshape(-1), key=KEY)))


@pytest.mark.parametrize("r", [1, 3, 5])
@pytest.mark.parametrize("matrix", [M, M.T])
def test_it_is_the_truncated_decomposition(r, matrix):
    u, s, v = np.linalg.svd(matrix)
    expected = (u[:, :r] * s[:r]) @ v[:r]
    y = compressed(RankR(r, matrix.shape), matrix).reshape(matrix.shape)
    np.testing.assert_allclose(y, expected, atol=1e-13)


def test_the_error_is_what_the_singular_values_leave():
    """And at equal ones it is (1 − α)‖x‖²."""
    s = np.linalg.svd(M, compute_uv=False)
    error = np.sum((compressed(RankR(2, (5, 8)), M) - M.ravel()) ** 2)
    assert error == pytest.approx(np.sum(s[2:] ** 2))
    op, equal = RankR(2, (5, 8)), np.linalg.qr(M.T)[0].T
    rest = np.sum((compressed(op, equal) - equal.ravel()) ** 2) / np.sum(equal**2)
    assert rest == pytest.approx(1 - op.alpha(40).value)
    assert op.alpha(40) == (0.4, "exact", "matrices with all singular values equal")


def test_the_message_is_two_factors():
    op = RankR(2, (5, 8))
    message = op.encode(jnp.asarray(M, jnp.float32).reshape(-1), key=KEY)
    assert {name: part.shape for name, part in message.items()} == {
        "left": (5, 2),
        "right": (2, 8),
    }
    assert op.nbits(40, jnp.float32) == op.payload_bits(40, jnp.float32) == 32 * 2 * 13
    assert op.nbits(40, jnp.bfloat16) == 16 * 2 * 13


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e37])
def test_squares_that_are_no_numbers_of_float32(scale):
    x = np.asarray(M * scale, np.float32)
    y = compressed(RankR(5, (5, 8)), x)
    np.testing.assert_allclose(y, x.ravel(), rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize(
    ("r", "shape"), [(0, (3, 4)), (4, (3, 4)), (4, (4, 3)), (-1, (1, 1)), (1, (0, 3))]
)
def test_a_rank_that_no_matrix_of_the_shape_has_is_refused(r, shape):
    with pytest.raises(ValueError, match=rf"RankR .* {shape[0]} x {shape[1]} .* r = {r}: give r"):
        RankR(r, shape)


def test_another_number_of_entries_is_refused():
    op = RankR(1, (3, 4))
    for call in (
        lambda: op.check(13),
        lambda: op.alpha(13),
        lambda: op.compress(jnp.ones(13), key=KEY),
        lambda: op.payload_bits(13, jnp.float32),
    ):
        with pytest.raises(ValueError, match="RankR of a 3 x 4 matrix cannot take d = 13"):
            call()
