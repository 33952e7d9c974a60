"""The command `dopt`: its help, its lists, its refusals, and a small study by it."""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import compressors
import dopt.errors
import dopt.methods
import dopt.problems
from compressors import Compressor
from compressors.kernels import operations
from dopt.methods import Method
from dopt.problems import Problem
from dopt.results.read import load
from dopt.results.store import Store
from experiments import cli, commands, computing, heterogeneity
from experiments.settings import STUDIES
from simulators.presets import PRESETS as CLUSTERS


PRESETS = STUDIES["heterogeneity"].presets
ROOT = Path(__file__).parents[2]
TINY = (
    "sweep heterogeneity --problem quadratic --dimension 20 --workers 5 --noise 0.5 --target 0.05 "
    "--step-sizes -3 -1 --rounds 30 --gradients 1500 --noise-ratios 10 --kept 0.1 --tune-seeds 1 "
    "--seeds 2 --regimes high low"
)


@pytest.fixture
def few(monkeypatch):
    """Studies of the first two methods only."""
    every = heterogeneity.entries_of
    monkeypatch.setattr(heterogeneity, "entries_of", lambda *given: every(*given)[:2])


def plain(text):
    """Text without frames and line breaks."""
    return " ".join(re.sub(r"[│╭╮╰╯─•]", " ", text).split())


# Help and lists.


HELPED = ["--help", "", *(f"{name} --help" for name in ("sweep", "plot", "list", "check", "bench"))]


@pytest.mark.parametrize("line", HELPED)
def test_help_is_printed(line, dopt_says):
    code, out, err = dopt_says(line)
    assert (code, err) == (0, "")
    assert "usage: dopt" in out


def test_help_names_what_there_is(dopt_says):
    text = plain(dopt_says("--help")[1])
    for word in ("sweep", "plot", "list", "dopt sweep heterogeneity --preset quick --out results"):
        assert word in text
    text = plain(dopt_says("sweep heterogeneity --help")[1])
    settings = vars(PRESETS["quick"].settings)
    for name in ("preset", "out", "data", "quiet", "verbose", *settings):
        assert f"--{name.replace('_', '-')}" in text
    assert "{smoke,quick,full}" in text


def test_presets_set_the_defaults_that_help_shows(dopt_says):
    for name in PRESETS:
        for line in (f"--preset {name}", f"--preset={name}", f"--preset quick --preset {name}"):
            text = plain(dopt_says(f"sweep heterogeneity {line} --help")[1])
            assert f"(default: {PRESETS[name].settings.target})" in text


def test_options_override_presets():
    command = cli.parse(
        ["sweep", "heterogeneity", "--seeds", "7", "--preset", "smoke", "--kept", "0.5", "1"]
    )
    smoke = PRESETS["smoke"].settings
    settings = command.study.settings
    assert (settings.seeds, settings.kept) == (7, (0.5, 1.0))
    assert settings.workers == smoke.workers
    for name, kind in STUDIES.items():
        assert cli.parse(["sweep", name]).study.settings == kind.presets["quick"].settings


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['dopt', '--help']\n"
        "from experiments import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print('imported', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    imported = {name.split(".")[0] for name in done.stdout.split("imported")[1].split()}
    heavy = {"jax", "numpy", "scipy", "pandas", "pyarrow", "matplotlib", "ray", "mlxtend"}
    assert not imported & (heavy | {"dopt", "compressors", "simulators"})
    assert "tyro" in imported


def classes(package, kind):
    """The names of the concrete classes of a kind that a package exports."""
    return {
        name
        for name, value in vars(package).items()
        if inspect.isclass(value) and issubclass(value, kind) and not inspect.isabstract(value)
    }


def lines(out):
    """What a list says: name and text of every indented line."""
    return dict(re.findall(r"^  (\S+) +(\S.*?)\s*$", out, flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("methods", classes(dopt.methods, Method)),
        ("compressors", classes(compressors, Compressor)),
        ("problems", classes(dopt.problems, Problem)),
        ("clusters", set(CLUSTERS)),
        ("kernels", {row.operation for row in operations()}),
    ],
)
def test_lists_have_a_line_for_everything_public(what, names, dopt_says):
    code, out, err = dopt_says(f"list {what}")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].strip() == what
    found = lines(out)
    assert found.keys() == names
    assert len(names) >= 3
    assert all(len(text) > 5 for text in found.values())


def test_kernels_are_listed_with_what_would_run_here(dopt_says):
    for text in lines(dopt_says("list kernels")[1]).values():
        assert re.match(r"xla +\(xla, [a-z, ]+\)  \S", text)


def test_studies_are_listed_with_their_presets(dopt_says):
    out = dopt_says("list studies")[1]
    expected = [(name, preset) for name, kind in STUDIES.items() for preset in kind.presets]
    assert re.findall(r"([\w-]+) --preset (\w+)  +\S", out) == expected


def test_help_of_sweep_has_a_line_for_every_study(dopt_says):
    text = plain(dopt_says("sweep --help")[1])
    for name, kind in STUDIES.items():
        assert f"{name} {kind.line}" in text


def test_all_is_every_list(dopt_says):
    whole = dopt_says("list all")[1]
    assert dopt_says("list")[1] == whole
    kinds = ("methods", "compressors", "problems", "clusters", "kernels", "studies")
    assert "".join(dopt_says(f"list {kind}")[1] for kind in kinds) == whole


def test_a_reader_that_leaves_early_sees_no_traceback():
    for line in (["list"], ["--help"]):
        code = "import sys; from experiments import cli; cli.main()"
        dopt = subprocess.Popen(
            [sys.executable, "-c", code, *line], cwd=ROOT, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        dopt.stdout.close()
        assert dopt.stderr.read() == ""
        dopt.stderr.close()
        assert dopt.wait(60) == 1


# Wrong usage.


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("swep", "Available subcommands: sweep, live, measure-cluster, plot, list"),
        ("sweep", "Expected one of {heterogeneity, "),
        ("sweep heterogenity", "Available subcommands: heterogeneity, marina-quadratics"),
        ("sweep heterogeneity --preset smok", "'smok' for argument '--preset'. Expected one of"),
        ("sweep heterogeneity --preset", "--preset"),
        ("sweep heterogeneity --targt 3", "Perhaps you meant: --target"),
        ("sweep heterogeneity --seeds many", "Error parsing --seeds"),
        ("sweep heterogeneity --step-sizes 1", "--step-sizes"),
        ("sweep heterogeneity --problem cifar", "'cifar' for argument '--problem'"),
        ("list method", "Expected one of ('all', 'methods'"),
        ("check", "Missing from dopt check: {compressors}"),
        ("check operators", "invalid choice 'operators'"),
        ("check compressors --dim many", "Error parsing --dim"),
        ("bench compresors", "Available subcommands: simulator, compressors, kernels"),
        ("plot", "Missing from dopt plot: compressors|quantizers|FOLDER"),
    ],
)
def test_wrong_words_are_refused_with_a_hint(line, says, dopt_says):
    code, out, err = dopt_says(line)
    assert (code, out) == (2, "")
    assert says in plain(err)
    assert "--help" in err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--target 1e9", "target = 1e+09 is already met at x⁰, where ‖∇f‖² = 7.3"),
        ("--target -1", "target = -1.0 must be positive"),
        ("--target nan", "target = nan must be positive"),
        ("--workers 0", "workers = 0 must be at least 1"),
        ("--seeds 0", "seeds = 0 must be at least 1"),
        ("--tune-seeds 0", "tune_seeds = 0 must be at least 1"),
        ("--tune-seeds 1001", "tune_seeds = 1001 must be at most 1000"),
        ("--rounds 0", "rounds = 0 must be at least 1"),
        ("--gradients -5", "gradients = -5 must be at least 1"),
        ("--timeline-seed -1", "timeline_seed = -1 must be at least 0"),
        ("--kept 2.0", "kept: 2.0 is no share of coordinates; give numbers in (0, 1]"),
        ("--kept 0.1 -0.1", "kept: -0.1 is no share"),
        ("--kept nan", "kept: nan is no share"),
        ("--kept", "kept is empty; give at least one"),
        ("--kept 0.1 0.1", "kept = (0.1, 0.1): give each of them once"),
        ("--noise-ratios -1", "noise_ratios: -1.0 must be finite and at least 0"),
        ("--noise-ratios nan", "noise_ratios: nan must be finite"),
        ("--noise-ratios inf", "noise_ratios: inf must be finite"),
        ("--regimes", "regimes is empty; give at least one"),
        ("--regimes high high", "give each of them once"),
        ("--regimes hihg", "no cluster preset is named 'hihg'; did you mean 'high'?"),
        ("--step-sizes 2 1", "step_sizes = (2, 1): give exponents -126 ≤ first ≤ last ≤ 127"),
        ("--step-sizes 0 5000", "step_sizes = (0, 5000): give exponents"),
        ("--noise 2", "p = 2.0; a probability"),
        ("--dimension 1", "d = 1; a chain has at least 2 coordinates"),
        ("--problem mnist --batch 0", "batch = 0 must be at least 1"),
        ("--problem mnist --samples 0", "samples = 0"),
        ("--problem mnist --data nowhere", "the folder asked for, nowhere, is not a folder"),
        ("--cluster nowhere.csv", "nowhere.csv: cannot be read: No such file or directory"),
    ],
)
def test_bad_values_are_refused_in_a_sentence(line, says, dopt_says, tmp_path):
    code, out, err = dopt_says(f"{TINY} {line} --out", tmp_path / "never")
    assert (code, out) == (2, "")
    assert err.startswith("dopt: ")
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("h,uplink\n1,0\n2,:fire:\n", "line 3, column 2 (uplink): ':fire:' is not a time"),
        ("h,uplink\n1\n", "1 values for 2 columns"),
        ("h\n1\n", "there is no column 'uplink'"),
        ("", "the file is empty"),
        ("h,uplink\n1,0\n0,0\n", "h = 0 of worker 1, counted from 0; give every gradient"),
        ("h,uplink\ninf,0\n", "none of the 1 workers ever answers"),
    ],
)
def test_a_broken_file_of_a_cluster_is_refused_in_a_sentence(text, says, dopt_says, tmp_path):
    path = tmp_path / "[red]workers.csv"
    path.write_text(text)
    code, out, err = dopt_says(f"{TINY} --cluster", path, "--out", tmp_path / "never")
    assert (code, out) == (2, "")
    assert str(path) in err
    assert says in err
    assert err.count("\n") == 1


def test_an_out_that_is_a_file_is_refused(dopt_says, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = dopt_says(f"{TINY} --out", tmp_path / "file")
    assert code == 1
    assert "file: Not a directory; choose another folder" in err


def test_what_is_no_folder_of_results_cannot_be_plotted(dopt_says, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    for folder in (tmp_path, tmp_path / "nowhere", tmp_path / "notes.txt"):
        code, out, err = dopt_says("plot", folder)
        assert (code, out) in ((1, ""), (2, ""))
        assert err.startswith("dopt: ")
        assert str(folder) in err
        assert err.count("\n") == 1
    (tmp_path / "runs.parquet").write_bytes(b"PAR1 of somebody else PAR1")
    (tmp_path / "traces.parquet").write_bytes(b"PAR1 of somebody else PAR1")
    code, out, err = dopt_says("plot", tmp_path)
    assert (code, out) == (1, "")
    assert err.startswith("dopt: ")


# A study.


def test_a_study_by_the_command_line(few, dopt_says, tmp_path):
    code, out, err = dopt_says(f"{TINY} --out", tmp_path)
    assert code == 0
    assert err.splitlines()[0] == "[1/8] low: Minibatch SGD (dense), tune"
    assert len(err.splitlines()) == 8
    assert "Virtual time to ‖∇f(x)‖² ≤ 0.05" in out
    names = "runs.parquet, traces.parquet, summary.csv, gradient_vs_time.png"
    assert out.splitlines()[-1].startswith(f"In {tmp_path}: {names}")
    for name in ("gradient_vs_time", "gradient_vs_bits", "loss_vs_time"):
        assert {(tmp_path / f"{name}.{end}").exists() for end in ("png", "pdf")} == {True}
    runs, _ = load(tmp_path)
    assert list(runs["regime"].unique()) == ["high", "low"]
    table = pd.read_csv(tmp_path / "summary.csv")
    assert list(table["regime"]) == ["high", "high", "low", "low"]

    code, plotted, err = dopt_says("plot", tmp_path)
    assert (code, plotted, err) == (0, out, "")

    code, _, err = dopt_says(f"{TINY} --workers 6 --out", tmp_path)
    assert code == 2
    assert "cluster.n = 5, and now cluster.n = 6" in err
    assert "--out" in err


def test_a_second_driver_is_refused(few, dopt_says, tmp_path):
    with Store(tmp_path):
        code, out, err = dopt_says(f"{TINY} --out", tmp_path)
    assert (code, out) == (1, "")
    assert err.startswith(f"dopt: process {os.getpid()} is writing to {tmp_path}; wait for it")


def test_a_cluster_from_a_file_is_one_regime(few, dopt_says, tmp_path, monkeypatch):
    path = tmp_path / "two[b]:fire:.csv"
    rows = ["1,0.1,0.01,0.5", "2,0.1,0,0", "3,0,0,0", "4,0,0,0", "5,0,0,0"]
    path.write_text("\n".join(["h,uplink,downlink,latency", *rows]))
    monkeypatch.setattr(commands, "draw", lambda folder: [])
    code, out, err = dopt_says(f"{TINY} --cluster", path, "--out", tmp_path / "out")
    assert (code, len(err.splitlines())) == (0, 4)
    assert "two[b]:fire:.csv" in err.splitlines()[0]
    assert "two[b]:fire:.csv" in out
    runs, _ = load(tmp_path / "out")
    assert set(runs["regime"]) == {"two[b]:fire:.csv"}
    assert {json.loads(config)["n"] for config in runs["config"]} == {5}


def test_a_run_that_fails_is_told_at_the_end(few, dopt_says, tmp_path, monkeypatch):
    every = computing.Computing._trace

    def fails(self, batch, *told):
        if batch.label == "QSGD":
            raise dopt.errors.UnsupportedError("no way")
        return every(self, batch, *told)

    monkeypatch.setattr(computing.Computing, "_trace", fails)
    code, out, err = dopt_says(f"{TINY} --quiet --out", tmp_path)
    assert code == 1
    assert re.search(r"QSGD .* failed", out)
    assert "6 runs failed" in err
    assert "column `reason` of runs.parquet" in err


def test_a_signal_before_and_after_the_study_is_no_traceback(few, dopt_says, tmp_path, monkeypatch):
    def pressed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "summarize", pressed)
    assert dopt_says(f"{TINY} --quiet --out", tmp_path)[::2] == (130, "dopt: stopped on request\n")
    monkeypatch.setattr(heterogeneity, "build", pressed)
    assert dopt_says(f"{TINY} --quiet --out", tmp_path)[::2] == (130, "dopt: stopped on request\n")
