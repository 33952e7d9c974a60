"""`dopt check compressors`: what operators promise, measured on the spot, one table.

Goes through the operators of `theory_checks.catalogue`, or those that are named, or a user's own:
`module:Class`, found from the current directory.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from compressors import (
    Collective,
    Compressor,
    Constant,
    Joint,
)
from dopt.errors import ConfigurationError, DoptError
from experiments.operators import MEMBERS, Operator, raised, select
from theory_checks.battery.moments import LONGER, block, sample
from theory_checks.battery.promises import EVENTS, SIGMAS, least_draws
from theory_checks.catalogue import ATTAINED
from theory_checks.collectives import check_collective
from theory_checks.compressors import Finding, Report, draws_for, examine, vectors
from theory_checks.joints import check_joint


JOINT_DRAWS = 4096
"""Rounds behind a mean of a joint family, where its ω can do with them."""

SECONDS = 20.0
"""What drawing from one operator may take: slow ones get fewer draws, if ω can do with them."""


class Line(NamedTuple):
    """A promised number, as the table shows it: texts."""

    promise: str = "none"
    declared: str = ""
    measured: str = ""
    worst: str = ""


class Checked(NamedTuple):
    """What came of one operator; `refused` says why it was not checked."""

    name: str
    lines: list[Line]
    bits: tuple[str, str, str]
    bias: str
    draws: str
    findings: list[Finding]
    refused: str = ""

    @property
    def failed(self) -> list[Finding]:
        """The checks that it does not stand."""
        return [finding for finding in self.findings if not finding.passed]

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.refused:
            return "not at this d"
        return f"FAILED {len(self.failed)}" if self.failed else "passed"


def check(
    names: Sequence[str],
    *,
    d: int,
    draws: int | None,
    seed: int,
    out: Console,
    say: Callable[[str], None],
) -> None:
    """Checks the operators, all by default, and prints the table and what failed.

    Args:
        names: operators of the catalogue, or beginnings of their names, or `module:Class`.
        d: the dimension.
        draws: compressions per test vector, more where ω asks for more; by default as many as
            `draws_for` proposes and `SECONDS` allow.
        seed: of the test vectors and the keys.
        out: where the table goes.
        say: takes a line of progress.

    Raises:
        ConfigurationError: an unknown name, an object that is no operator, a dimension that all
            the operators refuse.
        DoptError: something failed.
    """
    if d < 1:
        raise ConfigurationError(f"dim = {d} must be at least 1")
    if draws is not None and draws < 1:
        raise ConfigurationError(f"draws = {draws} must be at least 1")
    if seed < 0:
        raise ConfigurationError(f"seed = {seed} must be at least 0")
    # Theory is checked in double precision, which the battery of joint families takes for granted.
    jax.config.update("jax_enable_x64", True)
    chosen = select(names, d)
    done = []
    for index, (name, make) in enumerate(chosen.items()):
        start = time.perf_counter()
        done.append(_checked(name, make, d, draws, seed))
        seconds = time.perf_counter() - start
        say(f"[{index + 1}/{len(chosen)}] {name}: {done[-1].verdict}, {seconds:.1f} s")
    if all(one.refused for one in done):
        raise ConfigurationError("; ".join(f"{one.name}: {one.refused}" for one in done))
    out.print(_table(done, d))
    for one in done:
        for finding in one.failed:
            out.print(f"{one.name}: {_words(finding)}", soft_wrap=True)
        if one.refused:
            out.print(f"{one.name}: {one.refused}", soft_wrap=True)
    broken = [one.name for one in done if one.failed]
    if broken:
        raise DoptError(f"{len(broken)} of {len(done)} failed: {'; '.join(broken)}")


def _checked(
    name: str, make: Callable[[], Operator], d: int, draws: int | None, seed: int
) -> Checked:
    """The operator's row; what it raises on the way is a failure."""
    try:
        operator = make()
        operator.check(d, MEMBERS) if isinstance(operator, Joint) else operator.check(d)
    except ValueError as error:
        return Checked(name, [Line()], ("", "", ""), "", "", [], refused=str(error))
    try:
        if isinstance(operator, Joint):
            return _joint(name, operator, d, draws, seed)
        if isinstance(operator, Collective):
            return _collective(name, operator, d, seed)
        return _single(name, operator, d, draws, seed)
    except Exception as error:  # noqa: BLE001 (a broken operator is a finding, not a crash)
        finding = Finding("it runs", False, math.nan, math.nan, raised(error))
        return Checked(name, [Line()], ("", "", ""), "", "", [finding])


def _single(name: str, operator: Compressor, d: int, draws: int | None, seed: int) -> Checked:
    count = _affordable(operator, d) if draws is None else max(draws, least_draws(operator, d))
    also = {"declared": ATTAINED[name](d)} if name in ATTAINED else None
    report = examine(operator, d, draws=count, seed=seed, also=also)
    found = report.bits
    return Checked(
        name,
        _lines(operator, report),
        (f"{found.declared:,}", f"{found.counted:,}", f"{found.payload:,}"),
        _bias(report.findings),
        f"{report.draws:,}",
        report.findings,
    )


def _affordable(operator: Compressor, d: int) -> int:
    """Draws of a test vector: those proposed, or a power of two of blocks that `SECONDS` allow."""
    x = vectors(d, jax.dtypes.canonicalize_dtype(np.float64), 0)["gaussian"]
    key, first = jax.random.key(0), np.int32(0)
    jax.block_until_ready(sample(operator, x, key, first))
    start = time.perf_counter()
    jax.block_until_ready(sample(operator, x, key, first))
    seconds = time.perf_counter() - start
    # Each vector takes its draws once, and the flat one up to LONGER times.
    blocks = SECONDS / (seconds * (8 + LONGER))
    cap = block(d) * 2 ** max(0, math.floor(math.log2(blocks)))
    return max(least_draws(operator, d), min(draws_for(operator, d), cap))


def _lines(operator: Compressor, report: Report) -> list[Line]:
    promises = {"omega": "ω, unbiased", "1 - alpha": "1 − α, contractive"}
    return [
        Line(
            promises.get(one.name, "ω, unbiased as d → ∞"),
            f"{one.declared:.6g} {one.kind}",
            f"{one.measured:.5g} ± {one.high - one.measured:.2g}",
            one.vector,
        )
        for one in report.constants
    ] or [Line()]


def _joint(name: str, family: Joint, d: int, draws: int | None, seed: int) -> Checked:
    least = EVENTS * (1 + math.ceil(family.omega(d, MEMBERS).value))
    count = max(least, JOINT_DRAWS if draws is None else draws)
    findings = check_joint(family, d, MEMBERS, draws=count, seed=seed)
    by_name = {finding.check: finding for finding in findings}
    lines = [
        _joint_line(promise, constants, by_name[what])
        for promise, what, constants in (
            ("ω, member", "omega holds", (family.omega(d, MEMBERS),)),
            ("A and B", "A and B hold", family.ab(d, MEMBERS)),
            ("A and B, equal", "A and B, equal inputs hold", family.ab_equal_inputs(d, MEMBERS)),
        )
        if what in by_name
    ]
    counted = by_name["nbits of the family, float32"]
    member = family.member(coin=jax.random.key(seed), rank=0, n=MEMBERS)
    payload = member.payload_bits(d, np.float32)
    bits = (f"{counted.declared:,}", f"{counted.measured:,}", f"{payload:,}")
    return Checked(name, lines, bits, _bias(findings), f"{count:,}", findings)


def _joint_line(promise: str, constants: Sequence[Constant], finding: Finding) -> Line:
    """What the finding says, and for A and B what they come to at the vectors."""
    vector, _, error = finding.detail.rpartition(f", {SIGMAS:g} standard errors are ")
    declared = ", ".join(f"{constant.value:.6g}" for constant in constants)
    bound = f" of {finding.declared:.5g}" if len(constants) > 1 else ""
    return Line(
        promise,
        f"{declared} {constants[0].kind}",
        f"{finding.measured:.5g} ± {error}{bound}",
        vector.partition(" ")[2].strip("'"),
    )


def _collective(name: str, collective: Collective, d: int, seed: int) -> Checked:
    findings = check_collective(collective, d, seed=seed)
    bits = (f"{collective.nbits(d, np.float32):,}", "", "")
    return Checked(name, [Line("an exchange")], bits, "", "", findings)


def _bias(findings: Sequence[Finding]) -> str:
    """The z-score that is nearest to its bound, or beyond it."""
    scores = [finding for finding in findings if finding.check.startswith("unbiased")]
    if not scores:
        return ""
    worst = max(scores, key=lambda finding: finding.measured / finding.declared)
    return f"{worst.measured:.3g} of {worst.declared:.3g}"


def _words(finding: Finding) -> str:
    """A failed check in a sentence."""
    if math.isnan(finding.measured) and math.isnan(finding.declared):
        return f"not so: {finding.check}: {finding.detail}"
    numbers = f"found {finding.measured:.6g} against {finding.declared:.6g}"
    return f"not so: {finding.check}: {numbers} ({finding.detail})"


def _table(done: Sequence[Checked], d: int) -> Table:
    title = (
        f"Promises at d = {d}, ± {SIGMAS:g} standard errors at the worst vector; bits of float32; "
        f"joint families of {MEMBERS}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("operator")
    for header in ("promise", "declared", "measured"):
        table.add_column(header, no_wrap=True)
    table.add_column("worst vector")
    for header in ("bits", "counted", "payload", "bias z", "draws"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for one in done:
        for row in _rows(one):
            table.add_row(*row)
    return table


def _rows(one: Checked) -> Iterator[tuple[str, ...]]:
    for index, line in enumerate(one.lines):
        rest = (*one.bits, one.bias, one.draws, one.verdict) if index == 0 else ("",) * 6
        yield (one.name if index == 0 else "", *line, *rest)
