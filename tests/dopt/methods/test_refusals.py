"""What methods refuse, when they are made or at the latest before their schedule."""

import jaxtyping
import pytest
from families import D, N, least_squares, schedule_for

from compressors import CorrelatedQuantization, PermK, RandK, TopK
from dopt.errors import ConfigurationError
from dopt.methods import (
    DASHA,
    DASHAMVR,
    DCGD,
    DIANA,
    EF14,
    EF21,
    EF21P,
    EF21PP,
    EF21SGDM,
    MARINA,
    PPMARINA,
    QSGD,
    VRMARINA,
    AsynchronousSGD,
    Factors,
    LocalSGD,
    PowerSGD,
    RennalaSGD,
    ShadowheartSGD,
)


NAN = float("nan")


@pytest.mark.parametrize("p", [0.0, -0.1, 1.1, NAN])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: MARINA(0.1, RandK(1), p=p),
        lambda p: VRMARINA(0.1, RandK(1), p=p),
        lambda p: PPMARINA(0.1, RandK(1), p=p, participants=2),
    ],
)
def test_probabilities(make, p):
    with pytest.raises(ConfigurationError, match=rf"p = {p} must lie in \(0, 1\]"):
        make(p)


@pytest.mark.parametrize(
    "make",
    [
        lambda b: DIANA(0.1, RandK(4), batch=b),
        lambda b: EF14(0.1, TopK(4), batch=b),
        lambda b: EF21(0.1, TopK(4), batch=b),
        lambda b: EF21SGDM(0.1, TopK(4), momentum=0.5, batch=b),
        lambda b: DASHAMVR(0.1, RandK(4), momentum=0.5, batch=b),
        lambda b: DASHAMVR(0.1, RandK(4), momentum=0.5, first=b),
        lambda b: VRMARINA(0.1, RandK(4), p=0.5, batch=b),
        lambda b: LocalSGD(0.1, 2, batch=b),
        lambda b: PowerSGD(0.1, Factors(1, ((5, 4),)), batch=b),
    ],
)
def test_batches(make):
    make(1)
    for b in (0, -3):
        with pytest.raises(ConfigurationError, match=f"batch = {b} stochastic gradients have no"):
            make(b)


@pytest.mark.parametrize("momentum", [0.0, -0.5, 1.5, NAN])
@pytest.mark.parametrize("method", [EF21SGDM, DASHAMVR])
def test_momenta(method, momentum):
    with pytest.raises(ConfigurationError, match=rf"momentum = {momentum}.* lie in \(0, 1\]"):
        method(0.1, RandK(4), momentum=momentum)


@pytest.mark.parametrize(
    "make",
    [
        lambda r: EF21PP(0.1, TopK(4), participants=r),
        lambda r: PPMARINA(0.1, RandK(4), p=0.5, participants=r),
        lambda r: LocalSGD(0.1, 2, participants=r),
    ],
)
def test_participants(make):
    schedule_for(make(N), least_squares(), steps=1)
    with pytest.raises(ConfigurationError, match="r = 7 of 6 workers cannot take part"):
        schedule_for(make(N + 1), least_squares(), steps=1)
    for r in (0, -1):
        with pytest.raises(ConfigurationError, match=f"(participants|r) = {r}.* at least one"):
            schedule_for(make(r), least_squares(), steps=1)


@pytest.mark.parametrize("shift", [0.0, -0.1, NAN])
def test_shifts(shift):
    with pytest.raises(ConfigurationError, match=f"shift = {shift} must be positive"):
        DIANA(0.1, RandK(4), shift=shift)


@pytest.mark.parametrize("steps", [0, -1])
def test_local_steps(steps):
    with pytest.raises(ConfigurationError, match=f"local_steps = {steps} must be at least 1"):
        LocalSGD(0.1, steps)


def test_full_gradients_that_cost_nothing():
    with pytest.raises(ConfigurationError, match="full = 0; an exact gradient costs at least 1"):
        VRMARINA(0.1, RandK(4), p=0.5, full=0)


def test_factors_of_another_model():
    for shapes, size in ((((5, 3), (4,)), 19), (((7, 3),), 21)):
        method = PowerSGD(0.1, Factors(2, shapes))
        with pytest.raises(ValueError, match=rf"with {size} entries in all cannot take d = {D}"):
            schedule_for(method, least_squares(), steps=1)
    with pytest.raises(ValueError, match="rank r = 0: give a rank of at least 1"):
        Factors(0, ((5, 4),))


@pytest.mark.parametrize("family", [PermK(), CorrelatedQuantization()])
@pytest.mark.parametrize(
    "make",
    [
        lambda C: DIANA(0.1, C),
        lambda C: EF14(0.1, C),
        lambda C: EF21(0.1, C),
        lambda C: EF21PP(0.1, C, participants=2),
        lambda C: EF21SGDM(0.1, C, momentum=0.5),
        lambda C: EF21P(0.1, C),
        lambda C: DASHA(0.1, C),
        lambda C: DASHAMVR(0.1, C, momentum=0.5),
        lambda C: PPMARINA(0.1, C, p=0.5, participants=2),
        lambda C: LocalSGD(0.1, 2, compressor=C),
        lambda C: AsynchronousSGD(0.1, compressor=C),
        lambda C: RennalaSGD(0.1, batch=2, compressor=C),
        lambda C: ShadowheartSGD(0.1, C, noise_ratio=1.0),
    ],
)
def test_joint_families_where_compressors_are_independent(make, family):
    method = make(RandK(4))
    field = "server_compressor" if isinstance(method, EF21P) else "compressor"
    # Put in its place behind the back of the type checker, which tests have and users have not.
    object.__setattr__(method, field, family)
    with pytest.raises(ConfigurationError, match=f"{method.name} cannot use .*, a joint family"):
        method.__post_init__()


@pytest.mark.parametrize(
    "make",
    [
        lambda C: DCGD(0.1, C),
        lambda C: QSGD(0.1, C),
        lambda C: MARINA(0.1, C, p=0.5),
        lambda C: VRMARINA(0.1, C, p=0.5),
        lambda C: EF21P(0.1, TopK(4), C),
    ],
)
def test_joint_families_in_rounds_of_all_workers(make):
    assert schedule_for(make(PermK()), least_squares(), steps=2).K == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: DASHAMVR(0.1, RandK(4), momentum=0.5, batch=None),
        lambda: DASHAMVR(0.1, RandK(4), momentum=0.5, first=None),
        lambda: VRMARINA(0.1, RandK(4), p=0.5, batch=None),
    ],
)
def test_exact_gradients_where_samples_are_the_point(make, monkeypatch):
    # As outside tests: the value reaches the constructor.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigurationError, match=r"batch = None .* give at least 1$"):
        make()
