import inspect

import pytest

import compressors
from compressors import Compressor, Identity, RandK, TopK
from theory_checks.compressors import check_compressor


FAMILY: tuple[tuple[Compressor, int], ...] = (
    (Identity(), 12),
    (RandK(1), 40),
    (RandK(5, indices="sent"), 33),
    (RandK(3), 3),
    (TopK(4), 33),
)
"""Every public compressor, with the dimension at which it goes through the battery."""


@pytest.mark.parametrize(("compressor", "d"), FAMILY, ids=str)
def test_the_battery_finds_nothing(compressor, d):
    findings = check_compressor(compressor, d, draws=4096, seed=0)
    assert [finding for finding in findings if not finding.passed] == []


def test_every_public_compressor_is_in_the_family():
    public = {
        value
        for value in vars(compressors).values()
        if inspect.isclass(value)
        and issubclass(value, Compressor)
        and not inspect.isabstract(value)
    }
    assert public == {type(compressor) for compressor, _ in FAMILY}
