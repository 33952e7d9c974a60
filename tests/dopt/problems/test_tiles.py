"""Tiles: every sample in one place, few places too many; loops over tiles against plain sums."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dopt.problems import _tiles
from dopt.problems._tiles import layout, over_jobs, over_tiles


@given(sizes=st.lists(st.integers(1, 400), min_size=1, max_size=30))
@settings(max_examples=100)
def test_every_sample_has_one_place_in_a_tile_of_its_part(sizes):
    sizes = np.array(sizes)
    order = np.random.default_rng(0).permutation(sizes.sum())
    places, owners = layout(order, sizes, row_bytes=40)
    held = places >= 0
    np.testing.assert_array_equal(np.sort(places[held]), np.arange(sizes.sum()))
    assert np.all(np.diff(owners) >= 0)
    ends = np.cumsum(sizes)
    for i, size in enumerate(sizes):
        own = places[owners == i].reshape(-1)
        # Filled up only at the end, so that sample j of a part is in its place j.
        np.testing.assert_array_equal(own[:size], order[ends[i] - size : ends[i]])
        assert np.all(own[size:] == -1)


def test_nearly_equal_parts_are_a_tile_each_and_unequal_ones_are_not_filled_up_to_the_largest():
    even = layout(np.arange(1003), np.array([101] * 3 + [100] * 7), 40).places
    assert even.shape == (10, 101)
    sizes = np.array([3000, *([10] * 50), *([200] * 10)])
    assert layout(np.arange(sizes.sum()), sizes, 40).places.size < 2 * sizes.sum()


def test_shared_data_larger_than_a_chunk_are_cut_evenly(monkeypatch):
    monkeypatch.setattr(_tiles, "CHUNK", 4000)
    assert layout(np.arange(100), np.array([100]), 40).places.shape == (1, 100)
    assert layout(np.arange(101), np.array([101]), 40).places.shape == (2, 51)


@pytest.mark.parametrize("at_a_time", [1, 3, 4, 10])
def test_tiles_are_all_visited_once(at_a_time):
    def body(first, count, total):
        return total.at[first + jnp.arange(count)].add(1)

    np.testing.assert_array_equal(over_tiles(10, at_a_time, body, jnp.zeros(10)), np.ones(10))


@pytest.mark.parametrize("at_a_time", [1, 2, 5, 7])
@pytest.mark.parametrize("single", [False, True])
def test_jobs_meet_their_own_tiles(at_a_time, single):
    counts = np.ones(5, int) if single else np.array([2, 1, 4, 1, 3])
    firsts = np.array([7, 0, 3, 0, 11])
    expected = np.zeros((5, 20))
    for job, (first, count) in enumerate(zip(firsts, counts, strict=True)):
        expected[job, first : first + count] = 1

    def body(slots, total):
        return total.at[slots.jobs, slots.tiles].add(slots.there.astype(float))

    arguments = jnp.asarray(firsts), jnp.asarray(counts), min(at_a_time, 5)
    seen = over_jobs(*arguments, body, jnp.zeros((5, 20)), single=single)
    np.testing.assert_array_equal(seen, expected)


def test_many_models_go_through_few_tiles_at_a_time():
    assert _tiles.pass_size(100, 600_000, 1, 2000) == 100 or _tiles.AT_ONCE == 2**25
    assert _tiles.pass_size(100, 600_000, 96, 2000) == 10
    assert _tiles.copy_size(3, 2**40, 1, 2000) == 1
