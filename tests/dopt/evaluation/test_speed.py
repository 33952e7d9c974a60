import pytest
from small_decoders import drawn

from dopt.errors import ConfigurationError, InterruptedRunError
from dopt.evaluation import speed


def test_rates_are_tokens_over_seconds_without_the_first_run(monkeypatch):
    # Read three times a run; the first run is slow, the third fast.
    moments = [0, 100, 200, 200, 202, 206, 206, 207, 209, 209, 213, 221]
    clock = map(float, moments)
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    told = []
    found = speed(
        drawn(), prompt=4, new_tokens=2, rows=3, repeats=3, on_progress=lambda *s: told.append(s)
    )
    assert found.prefill == (6.0, 3.0, 12.0)
    assert found.decoding == (1.5, 0.75, 3.0)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert not list(clock)


def test_a_real_run_is_measured():
    found = speed(drawn(), prompt=4, new_tokens=2, repeats=2)
    for rate in found:
        assert 0 < rate.lowest <= rate.median <= rate.highest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt": 0}, "prompt = 0"),
        ({"repeats": 0}, "repeats = 0; each must be at least 1"),
        ({"prompt": 10, "new_tokens": 3}, "13 tokens, but the model was made for 12"),
    ],
)
def test_what_cannot_be_measured_is_said(change, words):
    with pytest.raises(ConfigurationError, match=words):
        speed(drawn(), **({"prompt": 4, "new_tokens": 2} | change))


def test_a_stop_is_heard():
    with pytest.raises(InterruptedRunError):
        speed(drawn(), prompt=4, new_tokens=1, stopping=lambda: True)
