import ast
from pathlib import Path

import jax

import compressors.kernels
from compressors.kernels import operations
from compressors.kernels.listing import OPERATIONS


def test_every_operation_of_the_folders_is_listed():
    root = Path(compressors.kernels.__file__).parent
    made = sum(
        isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Operation"
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
    )
    assert made == len(OPERATIONS) == len({row.operation for row in operations()})


def test_on_a_cpu_everything_runs_by_xla():
    for row in operations():
        assert row.here == "xla"
        assert {"xla", "triton", "interpret"} <= set(row.backends)


def test_on_a_gpu_kernels_come_first(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert {row.here for row in operations()} == {"triton"}
