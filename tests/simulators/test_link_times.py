"""Round trips against links whose latency and bandwidth are known, by a clock of their own."""

import numpy as np
import pytest

from dopt.errors import ConfigurationError
from simulators.link_times import LEAST_ROUNDS, SIZES, Unreachable, fit, round_trips


LATENCY = 3e-3


class Fake:
    """Links with known times: worker i has `per_byte[i]`, seconds up and down; one may die."""

    def __init__(self, *per_byte, noise=0.0, tail=0.0, dies=(-1, 0)):
        self.now, self.trips, self.per_byte = 0.0, [0] * len(per_byte), per_byte
        self.noise, self.tail, self.dies = noise, tail, dies
        self.rng = np.random.default_rng(1)

    def transports(self):
        return [self.of(worker) for worker in range(len(self.per_byte))]

    def of(self, worker):
        def exchange(way, array):
            self.trips[worker] += 1
            if self.dies[0] == worker and self.trips[worker] >= self.dies[1]:
                raise Unreachable(f"worker {worker} has gone")
            up, down = self.per_byte[worker]
            seconds = 2 * LATENCY + array.nbytes * (up if way == "up" else down)
            seconds += self.noise * self.rng.exponential()
            if self.rng.random() < self.tail:
                seconds += 0.5
            self.now += seconds

        return exchange

    def clock(self):
        return self.now


def lines(fake, seconds=20.0, **more):
    trips, lost = round_trips(fake.transports(), seconds=seconds, clock=fake.clock, **more)
    found = {}
    for worker in range(len(fake.per_byte)):
        for way in ("up", "down"):
            own = [t for t in trips if t.worker == worker and t.way == way]
            if own:
                found[worker, way] = fit([t.bytes for t in own], [t.seconds for t in own])
    return found, trips, lost


def test_a_link_without_noise_is_found_exactly():
    """Each worker's own numbers, up and down apart."""
    found, trips, lost = lines(Fake((1e-8, 4e-8), (3e-9, 2e-9)))
    assert not lost
    assert {t.worker for t in trips} == {0, 1}
    for key, per_byte in {(0, "up"): 1e-8, (0, "down"): 4e-8, (1, "up"): 3e-9}.items():
        line = found[key]
        assert line.latency == pytest.approx(LATENCY)
        assert line.per_bit == pytest.approx(per_byte / 8, rel=1e-6)
        assert line.misfit < 1e-6
        assert not line.bound


def test_delays_and_outliers_move_it_little():
    """Waiting times with a tail, and one trip in twenty half a second late."""
    found, _, _ = lines(Fake((2e-8, 2e-8), noise=1e-3, tail=0.05), seconds=60.0)
    for line in found.values():
        assert line.latency == pytest.approx(LATENCY, rel=0.2)
        assert line.per_bit == pytest.approx(2e-8 / 8, rel=0.1)
        assert line.low < line.per_bit < line.high
        assert line.high - line.low < 0.2 * line.per_bit


def test_a_link_that_sizes_do_not_slow_gets_a_bound():
    """Noise alone: the slope is said to be at most the upper end of its interval."""
    sizes = np.repeat(SIZES, 20)
    times = 1e-3 + 1e-5 * np.random.default_rng(0).standard_normal(sizes.size) - 1e-12 * sizes
    line = fit(sizes.tolist(), times.tolist())
    assert line.bound
    assert line.per_bit == max(0.0, line.high)
    assert line.low < 0
    assert line.per_bit * 8 * SIZES[-1] < 1e-3
    flat = fit([0, 10, 20, 0], [1.0, 1.0, 1.0, 1.0])
    assert (flat.bound, flat.per_bit, flat.latency) == (True, 0.0, 0.5)


def test_every_size_has_its_share_in_random_order():
    fake = Fake((1e-9, 1e-9), (1e-9, 1e-9))
    _, trips, _ = lines(fake, seconds=5.0)
    each = len(trips) / (len(SIZES) * 4)
    assert each >= LEAST_ROUNDS
    for worker in (0, 1):
        for way in ("up", "down"):
            sizes = [t.bytes for t in trips if t.worker == worker and t.way == way]
            assert {sizes.count(size) for size in SIZES} == {each}
    one_round = trips[: len(SIZES) * 4]
    assert [t.bytes for t in one_round] != sorted(t.bytes for t in one_round)
    assert len({t.worker for t in one_round[:8]}) == 2
    # As long as was asked for, trials before not counted.
    assert sum(t.seconds for t in trips) == pytest.approx(10.0, rel=0.2)


def test_a_slow_link_is_spared_the_large_sizes():
    """At a megabit a second 4 MB would take half a minute a trip."""
    fake = Fake((8e-6, 8e-6))
    found, trips, _ = lines(fake, seconds=5.0)
    assert max(t.bytes for t in trips) < SIZES[-1]
    assert len({t.bytes for t in trips}) >= 3
    assert found[0, "up"].per_bit == pytest.approx(1e-6)
    assert fake.now < 60


@pytest.mark.parametrize("trip", [1, 7, 90])
def test_a_worker_that_goes_is_named_and_left_out(trip):
    """In a trial or in the middle; the others go on."""
    found, trips, lost = lines(Fake((1e-8, 1e-8), (1e-8, 1e-8), dies=(0, trip)))
    assert lost == {0: "worker 0 has gone"}
    assert {t.worker for t in trips} == {1}
    assert found[1, "up"].per_bit == pytest.approx(1e-8 / 8)


def test_nobody_left_ends_it():
    fake = Fake((1e-8, 1e-8), dies=(0, 1))
    trips, lost = round_trips(fake.transports(), seconds=5.0, clock=fake.clock)
    assert (trips, list(lost)) == ([], [0])


def test_shares_are_told_and_may_end_it():
    told = []
    fake = Fake((1e-8, 1e-8))
    round_trips(fake.transports(), seconds=5.0, clock=fake.clock, on_share=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0

    def stop(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        round_trips(fake.transports(), seconds=5.0, clock=fake.clock, on_share=stop)


@pytest.mark.parametrize("sizes", [[1, 2], [0, 0]])
def test_a_line_needs_two_sizes_and_an_empty_one(sizes):
    with pytest.raises(ConfigurationError, match="at least two sizes, one of them 0"):
        fit(sizes, [1.0, 1.0])
