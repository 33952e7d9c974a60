"""The command `dopt`. It imports nothing heavy until a command needs it, so that help is quick."""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import make_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

from experiments.language.options_compress import Compare, Compress
from experiments.language.options_evaluate import Evaluate
from experiments.language.options_export import Export
from experiments.language.options_models import Model
from experiments.options import (
    Bench,
    BenchCompressors,
    BenchKernels,
    BenchSimulator,
    Check,
    Command,
    List,
    Live,
    LiveOptions,
    MeasureCluster,
    MeasureOptions,
    Plot,
    Sweep,
    SweepOptions,
)
from experiments.settings import STUDIES


Language = Model | Compress | Evaluate | Compare | Export
"""The commands of language models."""

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

ABOUT = """dopt: which distributed method reaches the target first on this cluster?

Simulates workers with their own computation and communication times in virtual time, with real
gradients, real compressed messages and exact counts of bits.

  dopt sweep heterogeneity --preset quick --out results    the main study, minutes
  dopt sweep kimad-traces --ray                            a study on all processors, or a cluster
  dopt live heterogeneity --preset smoke                   the same methods on real Ray actors
  dopt measure-cluster heterogeneity --ray HOST:PORT       your cluster as a file for the simulator
  dopt plot results                                        its figures and table again
  dopt list methods                                        what there is
  dopt check compressors --compressor mine:MyCompressor    does your operator keep its promise?
  dopt plot compressors                                    error against bits, all operators
  dopt plot quantizers                                     correlated against independent, in theory
  dopt bench simulator                                     how fast, beside loops by hand
  dopt model get smollm2-135m                              fetch a language model
  dopt model run smollm2-135m "The capital of France is"   and let it go on
  dopt compress smollm2-135m --bits 4.25 --out small       in few bits a weight
  dopt evaluate small --against smollm2-135m --text FILE   how much was lost
  dopt compare smollm2-135m --text FILE                    several methods at the same bits
  dopt export small --format gptq --out for-others         as files that other tools read

`dopt COMMAND --help` explains a command and its options."""


def _preset(args: Sequence[str]) -> str:
    """The preset that the arguments name, before they are parsed: it decides their defaults."""
    name = "quick"
    for arg, value in pairwise([*args, ""]):
        if arg == "--preset":
            name = value
        elif arg.startswith("--preset="):
            name = arg.partition("=")[2]
    return name


def _with_address(args: Sequence[str]) -> list[str]:
    """The arguments, with an address after a bare --ray."""
    given = []
    for arg, following in pairwise([*args, "--"]):
        given.append(arg)
        if arg == "--ray" and following.startswith("-"):
            given.append("local")
    return given


def _of_studies(command: Any, options: Any, preset: str) -> Any:
    """A command with a subcommand for each study, whose defaults are those of the preset."""
    studies = tuple(
        Annotated[
            options[kind.settings],
            tyro.conf.subcommand(
                name,
                description=kind.line,
                default=options(settings=kind.presets.get(preset, kind.presets["quick"]).settings),
            ),
        ]
        for name, kind in STUDIES.items()
    )
    union: Any = Union
    study = Annotated[union[studies], tyro.conf.arg(name="")]
    return make_dataclass(
        command.__name__,
        [("study", study)],
        bases=(command,),
        frozen=True,
        namespace={"__doc__": command.__doc__},
    )


def parse(args: Sequence[str]) -> Command | Language:
    """The command that the arguments give; exits with 2 and a hint where they are wrong."""
    preset = _preset(args)
    sweep = _of_studies(Sweep, SweepOptions, preset)
    live = _of_studies(Live, LiveOptions, preset)
    measure = _of_studies(MeasureCluster, MeasureOptions, preset)
    commands: Any = (
        Annotated[sweep, tyro.conf.subcommand("sweep")]
        | Annotated[live, tyro.conf.subcommand("live")]
        | Annotated[measure, tyro.conf.subcommand("measure-cluster")]
        | Annotated[Plot, tyro.conf.subcommand("plot")]
        | Annotated[List, tyro.conf.subcommand("list")]
        | Annotated[Check, tyro.conf.subcommand("check")]
        | Annotated[Bench, tyro.conf.subcommand("bench")]
        | Annotated[Model, tyro.conf.subcommand("model")]
        | Annotated[Compress, tyro.conf.subcommand("compress")]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Compare, tyro.conf.subcommand("compare")]
        | Annotated[Export, tyro.conf.subcommand("export")]
    )
    return tyro.cli(
        commands,
        prog="dopt",
        description=ABOUT,
        args=_with_address(args) or ["--help"],
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


def _run(command: Command | Language) -> int:
    from dopt.errors import ConfigurationError, DataError, DoptError, InterruptedRunError

    logging.basicConfig(format="%(name)s: %(message)s")
    if isinstance(command, Sweep | Live | MeasureCluster) and command.study.verbose:
        logging.getLogger("dopt").setLevel(logging.INFO)
    try:
        if isinstance(command, Language):
            _language(command)
        else:
            _distributed(command)
    except DoptError as error:
        _complain(str(error))
        if isinstance(error, InterruptedRunError):
            return INTERRUPTED
        return WRONG_USAGE if isinstance(error, ConfigurationError | DataError) else FAILED
    return DONE


def _distributed(command: Command) -> None:
    from experiments import commands

    if isinstance(command, Sweep):
        commands.sweep(command.study)
    elif isinstance(command, Live):
        from experiments.live_runs import live

        live(command.study)
    elif isinstance(command, MeasureCluster):
        from experiments.measured import measure

        measure(command.study)
    elif isinstance(command, Plot):
        _plot(command)
    elif isinstance(command, Check):
        commands.check(command.compressor, command.dim, command.draws, command.seed)
    elif isinstance(command, Bench):
        _bench(command.what)
    else:
        commands.listing(command.what)


def _language(command: Language) -> None:
    if isinstance(command, Model):
        from experiments.language.models import model_command

        model_command(command.what)
    elif isinstance(command, Compress):
        from experiments.language.compress import compress_command

        compress_command(command)
    elif isinstance(command, Evaluate):
        from experiments.language.evaluate import evaluate

        evaluate(command)
    elif isinstance(command, Export):
        from experiments.language.export import export

        export(command)
    else:
        from experiments.language.compare import compare

        compare(command)


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
        commands.plot(command.what)
    else:
        raise ConfigurationError(
            "--data belongs to `dopt plot compressors`, --out to that and `dopt plot quantizers`; "
            "the figures of a sweep are drawn into its folder: give "
            f"{command.what} alone"
        )


def _complain(message: str) -> None:
    """One sentence on standard error."""
    sys.stderr.write(f"dopt: {message}\n")
