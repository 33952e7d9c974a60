"""Grids against numpy, rounding against statistics, and every form against the reference."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lowering import lower
from packing import read_planar

from compressors.kernels import mosaic
from compressors.kernels.hash import hash_words
from compressors.kernels.quantize_pack import (
    Affine,
    Levels,
    Powers,
    Signs,
    mosaic_form,
    quantize_pack,
    unpack_dequantize,
)
from compressors.kernels.quantize_pack.scales import scales


SEED = (jnp.uint32(3), jnp.uint32(4))


@dataclasses.dataclass(frozen=True)
class Case:
    grid: object
    shape: tuple[int, ...]
    scale: tuple[int, ...] = ()
    group_size: int | None = None

    @property
    def x(self):
        return np.random.default_rng(1).normal(size=self.shape).astype(np.float32)

    @property
    def scales(self):
        low = 2.0 if isinstance(self.grid, Powers) else 0.2
        return np.random.default_rng(2).uniform(low, 2 * low, self.scale).astype(np.float32)

    @property
    def options(self):
        zero = jnp.full(self.scale, 3, jnp.int32) if self.grid.shifted else None
        return {"zero": zero, "group_size": self.group_size}

    def spread(self, numbers):
        """One number an entry."""
        if self.scale == ():
            return np.full(self.shape, numbers)
        group = self.group_size or self.shape[-1]
        return np.repeat(numbers, group, axis=-1)[..., : self.shape[-1]]


CASES = [
    Case(Levels(7), (37,)),
    Case(Levels(1), (2, 130), (2, 2), 65),
    Case(Levels(127), (2, 33), (2, 1)),
    Case(Affine(3), (2, 96), (2, 6), 17),
    Case(Affine(8), (5,)),
    Case(Powers(4), (3, 45), (3, 1)),
    Case(Powers(8), (1,)),
    Case(Signs(), (8 * 256 * 4 + 5,)),
    Case(Levels(3), (0,)),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case.grid} {case.shape}")
def case(request):
    return request.param


_quantize = jax.jit(quantize_pack, static_argnames=("grid", "group_size", "backend"))
_dequantize = jax.jit(
    unpack_dequantize, static_argnames=("grid", "k", "group_size", "dtype", "backend")
)


def quantized(case, *, seed=None, backend="auto"):
    x, scale = jnp.asarray(case.x), jnp.asarray(case.scales)
    return _quantize(x, case.grid, scale, seed=seed, backend=backend, **case.options)


def dequantized(case, words, *, dtype=jnp.float32, backend="auto"):
    k, scale = case.shape[-1], jnp.asarray(case.scales)
    return _dequantize(words, case.grid, scale, k, dtype=dtype, backend=backend, **case.options)


def points(grid, zero):
    """All points of a grid in units of its scale, in the order of codes."""
    if isinstance(grid, Levels):
        return np.arange(-grid.s, grid.s + 1.0)
    if isinstance(grid, Affine):
        return np.arange(2.0**grid.width) - zero
    if isinstance(grid, Signs):
        return np.array([1.0, -1.0])
    powers = np.concatenate([[0.0], 2.0 ** np.arange(1 - grid.s, 1)])
    return np.concatenate([powers, -powers])


def test_codes_are_the_nearest_points_and_decode_to_them(case):
    words = quantized(case)
    rows = np.asarray(words).reshape(math.prod(case.shape[:-1]), words.shape[-1])
    codes = [read_planar(row, case.grid.bits, case.shape[-1]) for row in rows]
    codes = np.asarray(codes, np.int64).reshape(case.shape)
    grid, scale = points(case.grid, 3), case.spread(case.scales).astype(np.float64)
    value = grid[codes] * scale
    np.testing.assert_allclose(dequantized(case, words), value, rtol=1e-6)
    gap = np.abs(case.x[..., None] - grid * scale[..., None]).min(axis=-1)
    assert (np.abs(case.x - value) <= gap * (1 + 1e-5) + 1e-6).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_dtypes_are_rounded_once(dtype):
    case = CASES[3]
    words = quantized(case)
    exact = dequantized(case, words).astype(dtype)
    np.testing.assert_array_equal(dequantized(case, words, dtype=dtype), exact)
    x = jnp.asarray(case.x).astype(dtype)
    quantize = functools.partial(
        quantize_pack, grid=case.grid, scale=jnp.asarray(case.scales), **case.options
    )
    np.testing.assert_array_equal(quantize(x), quantize(x.astype(jnp.float32)))


GRIDS = [Levels(1), Levels(5), Affine(2), Affine(8), Powers(3), Powers(8)]


@functools.cache
def many_draws(grid, draws=4096):
    """One vector rounded with many seeds: the vector in units of the scale, and the samples."""
    x = np.array([0.0, 1e-3, 0.03, 0.24, -0.37, 0.5, 0.74, -0.999, 0.62, 1.0, 0.11], np.float32)
    zero = jnp.asarray(1, jnp.int32) if grid.shifted else None
    scale = jnp.float32(1)

    @jax.jit
    def sample(number):
        seed = hash_words(SEED, jnp.stack([number, number + jnp.uint32(2**31)]))
        words = quantize_pack(jnp.asarray(x), grid, scale, zero=zero, seed=(seed[0], seed[1]))
        return unpack_dequantize(words, grid, scale, x.size, zero=zero)

    samples = jax.lax.map(sample, jnp.arange(draws, dtype=jnp.uint32), batch_size=512)
    return x.astype(np.float64), np.asarray(samples, np.float64)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_random_rounding_is_unbiased_and_only_to_neighbours(grid):
    x, samples = many_draws(grid)
    grid_points = np.sort(np.unique(points(grid, 1)))
    below = grid_points[np.searchsorted(grid_points, x, side="right") - 1]
    above = grid_points[np.searchsorted(grid_points, x, side="left")]
    assert ((samples == below) | (samples == above)).all()
    error = np.sqrt(((above - x) * (x - below)) / len(samples))
    assert (np.abs(samples.mean(axis=0) - x) <= 5 * error + 1e-7).all()
    assert (samples[:, above > below].std(axis=0) > 0).any()


def test_neighbours_that_share_a_hash_are_nearly_independent():
    x, samples = many_draws(Levels(1))
    inner = (np.abs(x) > 0.02) & (np.abs(x) < 0.99)
    correlation = np.corrcoef(samples[:, inner].T) - np.eye(inner.sum())
    assert np.abs(correlation).max() < 5 / np.sqrt(len(samples)) + 2**-6


def test_zeros_nan_and_infinities():
    x = jnp.asarray([jnp.nan, jnp.inf, -jnp.inf, -0.0, 3e38], jnp.float32)
    for grid in (Levels(7), Powers(4)):
        back = unpack_dequantize(quantize_pack(x, grid, jnp.float32(1)), grid, jnp.float32(1), 5)
        top = 7.0 if isinstance(grid, Levels) else 1.0
        assert back.tolist() == [0.0, top, -top, 0.0, top]
    lost = unpack_dequantize(
        quantize_pack(x, Levels(7), jnp.float32(jnp.nan)), Levels(7), jnp.float32(jnp.nan), 5
    )
    assert jnp.isnan(lost).all()
    nothing = quantize_pack(x, Levels(7), jnp.float32(0), seed=SEED)
    assert unpack_dequantize(nothing, Levels(7), jnp.float32(0), 5).tolist() == [0.0] * 5


def test_the_interpreted_kernels_equal_the_reference(case):
    seed = SEED if case.grid.random else None
    with jax.enable_x64(case not in CASES[::2]):
        words = quantized(case, seed=seed)
        np.testing.assert_array_equal(quantized(case, seed=seed, backend="interpret"), words)
        x = dequantized(case, words)
        np.testing.assert_array_equal(dequantized(case, words, backend="interpret"), x)


def test_the_kernels_lower(case):
    if 0 in case.shape:
        pytest.skip("nothing is launched for empty arrays")
    words, seed = quantized(case), SEED if case.grid.random else None
    assert "triton" in lower(lambda: quantized(case, seed=seed, backend="triton"))
    dtype = (jnp.float32, jnp.bfloat16, jnp.float16)[case.grid.bits % 3]
    decode = functools.partial(dequantized, case, dtype=dtype, backend="triton")
    assert "triton" in lower(decode, words)


MOSAIC = [(Affine(3), (2, 1)), (Powers(4), ()), (Signs(), ())]


@pytest.mark.parametrize(("grid", "scale"), MOSAIC, ids=str)
def test_the_mosaic_forms(grid, scale):
    pytest.importorskip("absl")
    case = Case(grid, (2, 8 * 512), scale)
    words, seed = quantized(case), SEED if grid.random else None
    assert "mosaic" in lower(lambda: quantized(case, seed=seed, backend="mosaic"))
    assert "mosaic" in lower(lambda: dequantized(case, words, backend="mosaic"))
    if not hasattr(mosaic.module(), "InterpretGPUParams"):
        return
    numbers = scales(grid, (2,), case.shape[1], jnp.asarray(case.scales), **case.options)
    drawn = quantized(case, seed=seed)
    again = mosaic_form.quantize_interpreted(jnp.asarray(case.x), grid, numbers, seed)
    np.testing.assert_array_equal(again, drawn)
    back = mosaic_form.dequantize_interpreted(drawn, grid, numbers, case.shape[1], jnp.float32)
    np.testing.assert_array_equal(back, dequantized(case, drawn))


def test_what_is_refused():
    x, one, words = jnp.ones((2, 40), jnp.float32), jnp.float32(1), jnp.zeros(5, jnp.uint32)
    for call, sentence in [
        (lambda: Levels(128), "128 levels above zero do not fit 8 bits"),
        (lambda: Affine(9), "codes of 9 bits are not served"),
        (lambda: Powers(1), "signs and powers in 1 bits: give 2 to 8"),
        (lambda: quantize_pack(x.astype(jnp.float64), Levels(1), one), "float64 is not quantized"),
        (lambda: quantize_pack(x, Signs(), one, seed=SEED), r"Signs\(\) does not round: leave out"),
        (lambda: quantize_pack(x, Affine(4), one), "has a zero point a group: give zero"),
        (lambda: quantize_pack(x, Levels(4), one, zero=jnp.int32(1)), "has no zero points: leave"),
        (
            lambda: quantize_pack(x, Levels(4), jnp.ones((2, 3), jnp.float32), group_size=20),
            r"scales of shape \(2, 3\) do not fit rows \(2,\) of 40 entries in groups of 20: .*2\)",
        ),
        (lambda: quantize_pack(x, Levels(4), one, group_size=0), "groups of 0 entries: give a"),
        (
            lambda: unpack_dequantize(words[1:], Levels(7), one, 40),
            r"40 codes of Levels\(s=7\) fill 5 words, not 4",
        ),
        (
            lambda: unpack_dequantize(
                jnp.zeros(5, jnp.uint32), Levels(7), one, 40, dtype=jnp.int32
            ),
            "numbers of .*int32.* are not made: give float32, bfloat16",
        ),
    ]:
        with pytest.raises(ValueError, match=sentence):
            call()


def test_what_a_kernel_does_not_serve_is_refused_by_it():
    x, one = jnp.ones((2, 40), jnp.float32), jnp.float32(1)
    with pytest.raises(NotImplementedError, match="quantize_pack serves codes of 3 bits in mult"):
        quantize_pack(x, Levels(3), one, backend="interpret")
    with pytest.raises(NotImplementedError, match="works on whole blocks: lanes of a multiple of"):
        quantize_pack(x, Levels(7), one, backend="mosaic")
    wide, ones = jnp.ones((2, 4096), jnp.float32), jnp.ones((2, 2), jnp.float32)
    with pytest.raises(NotImplementedError, match="takes one scale, or one a row, not 2 a row"):
        quantize_pack(wide, Levels(7), ones, group_size=2048, backend="mosaic")
    huge = jax.ShapeDtypeStruct((1, 2**31), jnp.float32)
    with pytest.raises(NotImplementedError, match="indexes with 32 bits"):
        jax.eval_shape(lambda x: quantize_pack(x, Levels(7), one, backend="triton"), huge)
