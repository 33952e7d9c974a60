import inspect

import pytest
from families import FAMILY

import compressors
from compressors import Compressor
from theory_checks.compressors import check_compressor


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
