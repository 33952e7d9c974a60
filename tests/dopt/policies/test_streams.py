"""Streams of arrivals, driven by hand."""

import pytest

from dopt.policies import Arrival, Assign, Cancel, Count, EveryArrival, FreshBatch, Step


def dense(*workers):
    return [Assign(worker, dense=True) for worker in workers]


def test_every_arrival_moves_the_server():
    run = EveryArrival().run(3, seed=0)
    assert next(run) == dense(0, 1, 2)
    assert run.send(Arrival(1, 0)) == [Count(1.0), Step(), *dense(1)]
    assert run.send(Arrival(2, 500)) == [Count(1.0), Step(), *dense(2)]


@pytest.mark.parametrize(("delay", "weight"), [(0, 1.0), (4, 1.0), (5, 0.8), (40, 0.1)])
def test_late_arrivals_count_less(delay, weight):
    run = EveryArrival(full_weight_until=4).run(4, seed=0)
    next(run)
    assert run.send(Arrival(0, delay)) == [Count(weight), Step(), *dense(0)]


def test_arrivals_beyond_the_largest_delay_do_not_count():
    run = EveryArrival(max_delay=4).run(4, seed=0)
    next(run)
    assert run.send(Arrival(3, 4)) == [Count(1.0), Step(), *dense(3)]
    assert run.send(Arrival(3, 5)) == dense(3)


def test_a_batch_is_of_fresh_gradients():
    run = FreshBatch(2).run(3, seed=0)
    assert next(run) == dense(0, 1, 2)
    assert run.send(Arrival(0, 0)) == [Count(0.5), *dense(0)]
    assert run.send(Arrival(1, 0)) == [Count(0.5), Step(), *dense(1)]
    assert run.send(Arrival(2, 1)) == dense(2)
    assert run.send(Arrival(0, 1)) == dense(0)
    assert run.send(Arrival(1, 0)) == [Count(0.5), *dense(1)]
    assert run.send(Arrival(1, 0)) == [Count(0.5), Step(), *dense(1)]


def test_with_stop_everyone_begins_again_at_the_new_model():
    run = FreshBatch(2, stop=True).run(3, seed=0)
    next(run)
    assert run.send(Arrival(1, 0)) == [Count(0.5), *dense(1)]
    assert run.send(Arrival(0, 0)) == [Count(0.5), Step(), Cancel(1), Cancel(2), *dense(0, 1, 2)]


def test_a_batch_of_one_moves_at_every_fresh_arrival():
    run = FreshBatch(1).run(2, seed=0)
    next(run)
    assert run.send(Arrival(1, 0)) == [Count(1.0), Step(), *dense(1)]
    assert run.send(Arrival(0, 1)) == dense(0)
