"""`dopt check compressors` finds what is wrong with operators, and what is wrong with the command.

Its user's classes are written to a module in the current directory, as a user would have them.
"""

import re
import sys
import textwrap
import time
from functools import partial

import pytest

from experiments.operators import select
from theory_checks.catalogue import COLLECTIVES, JOINTS, OPERATORS


MINE = '''
"""Operators of a user: two that keep their promise, and some that do not."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from compressors import Constant, IndependentFamily, NaturalCompression, RandK, RandomDithering


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Honest(NaturalCompression):
    """Inherits everything."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Biased(NaturalCompression):
    """One part in a hundred too long where all results are within a factor of two."""

    def expand(self, code):
        y = super().expand(code)
        size = jnp.abs(y)
        return jnp.where(size.max() <= 2 * size.min(), y + y / 100, y)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Proud(RandomDithering):
    """Its exact omega is declared 10 % too small."""

    s: int = field(default=1, metadata={"static": True})

    def omega(self, d):
        true = super().omega(d)
        return true._replace(value=0.9 * true.value)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Humble(NaturalCompression):
    """Its omega is called exact and is 10 % too large."""

    def omega(self, d):
        return Constant(1.1 / 8, "exact", "nowhere")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Broken(NaturalCompression):
    """Has an error of programming."""

    def expand(self, code):
        raise RuntimeError("not written yet")


class Mutable(NaturalCompression):
    """Cannot be hashed."""

    __hash__ = None


class Stranger:
    """Is no operator."""


class Nested:
    """Holds one."""

    inner = RandK(4)


value = RandK(16)
family = IndependentFamily(RandK(32))


def share(d):
    return RandK(d // 16)


def fails(d):
    raise ValueError("no such thing")
'''


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """The folder of the user's module; the module is forgotten afterwards."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "own_operators.py").write_text(textwrap.dedent(MINE))
    (folder / "own_torn.py").write_text("import no_such_package_at_all")
    yield folder
    sys.modules.pop("own_operators", None)


@pytest.fixture
def check(mine, monkeypatch, dopt_says):
    """Runs the command in the user's folder: its exit code, output and errors."""
    monkeypatch.chdir(mine)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return partial(dopt_says, "check compressors")


def cells(out):
    """The rows of the table by operator: promise, declared, measured, worst, bits, …, verdict."""
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in out.splitlines()
        if line.startswith("│")
    ]
    return {row[0]: row[1:] for row in rows if row[0]}


def test_a_bias_of_one_in_a_hundred_and_a_proud_omega_are_caught(check):
    start = time.perf_counter()
    code, out, err = check("--compressor", "own_operators:Biased", "own_operators:Proud")
    assert time.perf_counter() - start < 60
    assert code == 1
    assert err.splitlines()[-1].startswith("dopt: 2 of 2 failed: own_operators:Biased; own_op")
    found = cells(out)
    assert found["own_operators:Biased"][-1].startswith("FAILED")
    assert found["own_operators:Proud"][1] == "13.5 exact"
    assert "not so: unbiased, projections on x, sign x and 1" in out
    assert re.search(r"own_operators:Proud: not so: omega holds: found 15\.\d+ against 13\.5", out)
    assert [line.split(",")[0] for line in err.splitlines()[:2]] == [
        "[1/2] own_operators:Biased: " + found["own_operators:Biased"][-1],
        "[2/2] own_operators:Proud: " + found["own_operators:Proud"][-1],
    ]


def test_an_exact_constant_that_nothing_attains_is_caught(check):
    code, out, _ = check("--compressor", "own_operators:Humble", "--dim", 64)
    assert code == 1
    assert "omega is attained" in out
    assert "omega holds" not in out


def test_honest_operators_pass_however_they_are_given(check):
    names = [f"own_operators:{name}" for name in ("Honest", "value", "share", "Nested.inner")]
    code, out, err = check("--compressor", *names, "--dim", 48, "--draws", 2048)
    assert (code, len(err.splitlines())) == (0, 4)
    found = cells(out)
    assert list(found) == names
    assert {row[-1] for row in found.values()} == {"passed"}
    promise, declared, measured, *_ = found["own_operators:share"]
    assert (promise, declared) == ("ω, unbiased", "15 exact")
    assert measured.startswith("15 ± ")
    assert found["own_operators:Nested.inner"][4:7] == ["128", "128", "128"]


def test_a_family_of_ones_own_has_its_inequality_measured(check):
    code, out, _ = check("--compressor", "own_operators:family", "--dim", 64)
    assert code == 0
    promise, declared, measured, worst, *_ = cells(out)["own_operators:family"]
    assert (promise, declared) == ("ω, member", "1 exact")
    assert re.fullmatch(r"1 ± \S+", measured)
    assert "member" in worst
    assert re.search(r"A and B +│ 0\.125, 0 exact │ 0\.\d+ ± \S+ of 0\.125", out)


def test_what_raises_is_a_failure_told_with_its_line(check):
    code, out, _ = check("--compressor", "own_operators:Broken", "--dim", 16)
    assert code == 1
    assert re.search(r"it runs: RuntimeError: not written yet \(\S+/own_operators.py, line ", out)


def test_operators_of_the_catalogue_by_name(check):
    code, out, _ = check("--compressor", "Identity", "Sign", "PowerSGD", "--dim", 24)
    assert code == 0
    assert list(cells(out)) == ["Identity", "Sign", "PowerSGD"]


def test_names_are_whole_or_beginnings():
    assert list(select(["RandK", "RandK"], 64)) == ["RandK"]
    assert list(select(["EDEN"], 64)) == ["EDEN, 1 bit", "EDEN, 4 bits"]
    assert list(select(["TopK", "EDEN, 4"], 64)) == ["TopK", "EDEN, 4 bits"]
    assert list(select([], 64)) == [*OPERATORS, *JOINTS, *COLLECTIVES]


def test_an_operator_that_refuses_d_is_no_failure_beside_others(check):
    code, out, _ = check("--compressor", "own_operators:value", "Identity", "--dim", 8)
    assert code == 0
    assert cells(out)["own_operators:value"][-1] == "not at this d"
    assert "own_operators:value: RandK cannot keep K = 16 of d = 8 coordinates" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--dim", "0"), "dim = 0 must be at least 1"),
        (("--draws", "0"), "draws = 0 must be at least 1"),
        (("--seed", "-1"), "seed = -1 must be at least 0"),
        (("--compressor", "RadnK"), "no operator is called 'RadnK': did you mean 'RandK'?"),
        (("--compressor", "xyz"), "no operator is called 'xyz': there are Bernoulli; "),
        (("--compressor", "nowhere:X"), "the module cannot be imported: ModuleNotFoundError"),
        (("--compressor", "own_torn:X"), "No module named 'no_such_package_at_all'"),
        (("--compressor", "own_operators:X"), "the module own_operators has no 'X'"),
        (("--compressor", "compressors:RandK"), "cannot be made without arguments: TypeError"),
        (("--compressor", "own_operators:fails"), "cannot be made for d = 256: ValueError"),
        (("--compressor", "own_operators:Stranger"), "Stranger is no Compressor, Joint or Collect"),
        (("--compressor", "own_operators:Mutable"), "unhashable type: 'Mutable'; make the class a"),
        (("--compressor", "own_operators:value", "--dim", "8"), "RandK cannot keep K = 16 of d"),
    ],
)
def test_wrong_usage_is_refused_in_a_sentence(arguments, says, check):
    code, out, err = check(*arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert err.splitlines()[-1].startswith("dopt: ")


def test_help_teaches(check):
    code, out, _ = check("--help")
    assert code == 0
    for word in ("--compressor", "--dim", "--draws", "mine:MyCompressor", "compressors.Unbiased"):
        assert word in out
