"""`bench kernels`: array versions give the same, the table and the file, what is left out."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from compressors.kernels.pack import unpack
from dopt.errors import ConfigurationError
from experiments.benchmarks import kernels as benchmark
from experiments.benchmarks.kernel_jobs import JOBS, LEAST
from experiments.benchmarks.pairs import PAIRS


@pytest.fixture
def bench(tmp_path):
    """Runs it: the rows, the table and what follows, the lines of progress."""

    def run(*names, sizes=(LEAST,)):
        file, out, lines = tmp_path / "rows.json", [], []
        benchmark.bench(names, sizes, file, out.append, lines.append)
        return json.loads(file.read_text()), out, lines

    return run


def agree(name, got, expected):
    if name == "pack, 1 bits":
        # `packbits` has the sequential layout.
        got = np.asarray(unpack(got, 1, LEAST))
        expected = np.asarray(unpack(jax.numpy.asarray(expected), 1, LEAST, layout="sequential"))
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    if got.dtype == np.uint32:
        # A number next to the end of a cell may be rounded either way.
        assert np.mean(got != expected) < 5e-3
    else:
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


WITH_ARRAYS = [name for name in JOBS if "random" not in name and name != "unpack, 1 bits"]


@pytest.mark.parametrize("name", WITH_ARRAYS)
def test_array_versions_give_what_the_kernels_give(name):
    job = JOBS[name](LEAST)
    if job.plain is None:
        pytest.skip("no version with arrays alone")
    got = job.run(*job.arrays, backend="auto")
    expected = job.plain(np, *map(np.asarray, job.arrays))
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        agree(name, one, other)


def test_random_rounding_with_arrays_has_the_same_mean():
    job = JOBS["quantize_pack, 4 bits, random"](1 << 16)
    theirs = JOBS["unpack_dequantize, 4 bits"](1 << 16)
    words = job.run(*job.arrays, backend="auto"), job.plain(np, *map(np.asarray, job.arrays))
    x = np.clip(np.asarray(job.arrays[0]), -3, 3)
    for word in words:
        back = np.asarray(theirs.run(jax.numpy.asarray(word), job.arrays[1], backend="auto"))
        error = back - x
        assert abs(error.mean()) < 5 * error.std() / 2**8
        assert error.std() == pytest.approx(3 / 7 * np.sqrt(1 / 6), rel=0.05)


def test_the_table_and_the_file(bench):
    names = ("pack, 4 bits", "hadamard, 64", "dequantize_matmul, 4 bits, 1 x")
    found, out, lines = bench(*names)
    assert [row["kernel"] for row in found["rows"]] == list(names)
    assert lines[0] == "[1/3] 8,192: pack, 4 bits"
    assert {"device", "threads", "JAX", "numpy", "processor"} <= found["machine"].keys()
    for row in found["rows"]:
        assert (row["size"], row["backend"], row["pairs"]) == (LEAST, "xla", PAIRS)
        assert row["gigabytes_per_second"] == pytest.approx(row["bytes"] / row["seconds"] / 1e9)
        assert row["rivals"].keys() >= {"copy", "numpy"}
        for rival in row["rivals"].values():
            assert 0 < rival["low"] <= rival["median"] <= rival["high"]
    assert [row["bytes"] for row in found["rows"][:2]] == [LEAST * 3 // 2, 8 * LEAST]
    assert "dense float32" in found["rows"][2]["rivals"]
    table, machine = out
    assert table.count("\n") == 3
    assert "% of a copy" in table
    assert machine.startswith("device cpu, processor ")


def test_what_takes_long_is_left_out_unless_it_is_named(bench, monkeypatch):
    monkeypatch.setattr(benchmark, "LONGEST", 1e-9)
    monkeypatch.setattr(benchmark, "JOBS", {"pack, 4 bits": JOBS["pack, 4 bits"]})
    found, out, _ = bench()
    assert found["rows"] == []
    assert out[1] == "pack, 4 bits, 8,192, left out: 0 s"
    found, _, _ = bench("pack")
    assert len(found["rows"]) == 1


def test_what_needs_more_memory_is_left_out(bench, monkeypatch):
    monkeypatch.setattr(benchmark, "memory", lambda: 4 * LEAST)
    _, out, _ = bench("pack, 4 bits")
    assert out[1] == "pack, 4 bits, 8,192, left out: too large for the memory"


@pytest.mark.parametrize(
    ("names", "sizes", "says"),
    [
        (("Pack",), (LEAST,), "no kernel is called 'Pack'; there are pack, 1 bits; "),
        ((), (10_000,), "size = 10000: give powers of two of at least 8192"),
        ((), (64,), "size = 64: give powers of two of at least 8192"),
    ],
)
def test_wrong_usage_is_refused(names, sizes, says, bench):
    with pytest.raises(ConfigurationError, match=says):
        bench(*names, sizes=sizes)


BARE = """
import sys
class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"rich", "pandas", "tyro", "ray", "psutil", "mlxtend"}:
            raise ImportError(name)
sys.meta_path.insert(0, Bare())
sys.argv = ["kernels", "pack, 4", "--sizes", "8192", "--json", sys.argv[1]]
from experiments.benchmarks.kernels import main
main()
"""


def test_it_runs_as_a_module_where_little_is_installed(tmp_path):
    command = [sys.executable, "-c", BARE, str(tmp_path / "rows.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "pack, 4 bits" in done.stdout
    assert json.loads((tmp_path / "rows.json").read_text())["rows"]
