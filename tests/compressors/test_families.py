"""Every operator of the catalogue goes through its battery, and every public class is in it."""

import inspect

import pytest

import compressors
from compressors import Collective, Compressor, Joint
from theory_checks.catalogue import ATTAINED, COLLECTIVES, JOINTS, OPERATORS
from theory_checks.collectives import check_collective
from theory_checks.compressors import check_compressor


D = 33
VARIANTS = {
    "EDEN, 4 bits",
    "NaturalDithering, s = 1",
    "RandK of natural compression",
    "RandomDithering, s = 1",
    "UniformEDEN, 1 bit",
    "dithering, scaled",
}
"""Operators with a line of the same class besides, which goes through the battery every time."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in VARIANTS else name
        for name in OPERATORS
    ],
)
def test_the_battery_finds_nothing(name):
    also = {"declared": ATTAINED[name](D)} if name in ATTAINED else None
    findings = check_compressor(OPERATORS[name](D), D, draws=4096, seed=0, also=also)
    assert [finding for finding in findings if not finding.passed] == []


@pytest.mark.parametrize("name", COLLECTIVES)
def test_the_battery_of_exchanges_finds_nothing(name):
    findings = check_collective(COLLECTIVES[name](D), D, seed=0)
    assert [finding for finding in findings if not finding.passed] == []


def test_every_public_class_is_in_the_catalogue():
    public = {
        value
        for value in vars(compressors).values()
        if inspect.isclass(value)
        and issubclass(value, Compressor | Joint | Collective)
        and not inspect.isabstract(value)
    }
    catalogue = [
        *(make(D) for make in OPERATORS.values()),
        *(make(D, 4) for make in JOINTS.values()),
        *(make(D) for make in COLLECTIVES.values()),
    ]
    assert public == {type(value) for value in catalogue}


def test_every_class_of_operators_goes_through_its_battery_every_time():
    kinds = [
        {type(OPERATORS[name](D)) for name in names}
        for names in (OPERATORS, OPERATORS.keys() - VARIANTS)
    ]
    assert kinds[0] == kinds[1]
