"""The house stands: floors, sizes and names, what an import brings along, what the wheel holds."""

import ast
import graphlib
import importlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import dopt


ROOT = Path(__file__).parents[1]
FLOORS = {"compressors": 1, "dopt": 2, "simulators": 3, "theory_checks": 4, "experiments": 5}
LONGEST_FILE = 500
OTHER_NAMES = {"pillow": "PIL", "scikit-learn": "sklearn"}
"""Distributions that are imported under another name."""
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "stuff"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(path for package in FLOORS for path in (ROOT / package).rglob("*.py"))
MODULES = {module_name(path): path for path in FILES}
PACKAGES = [name for name, path in MODULES.items() if path.name == "__init__.py"]


def imported(tree):
    """The modules that import statements name; `from a import b` names a.b where that is one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in line {node.lineno}"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module


def at_import(tree):
    """The tree without what runs later: the bodies of functions."""

    class Drop(ast.NodeTransformer):
        def visit_FunctionDef(self, node):
            return None

        visit_AsyncFunctionDef = visit_FunctionDef

    return Drop().visit(tree)


def below(name, other):
    """Whether the module `name` may import the module `other`."""
    package, imported_package = name.split(".")[0], other.split(".")[0]
    if imported_package not in FLOORS:
        return True
    return package == imported_package or FLOORS[imported_package] < FLOORS[package]


def test_a_package_imports_only_from_lower_floors():
    wrong = [
        f"{name} imports {other}"
        for name, path in MODULES.items()
        for other in imported(ast.parse(path.read_text()))
        if not below(name, other)
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("name", "other", "allowed"),
    [
        ("dopt.costs", "compressors", True),
        ("dopt.costs", "dopt.errors", True),
        ("dopt.costs", "numpy.linalg", True),
        ("dopt.costs", "simulators.timeline", False),
        ("compressors.randk", "dopt.errors", False),
        ("theory_checks", "experiments.cli", False),
    ],
)
def test_the_table_of_floors_refuses_what_it_should(name, other, allowed):
    assert below(name, other) is allowed


def test_imports_are_found_wherever_they_stand():
    code = "import a.b\ndef f():\n    from dopt import costs, DoptError\nclass C:\n    import c"
    assert sorted(imported(ast.parse(code))) == ["a.b", "c", "dopt", "dopt.costs"]
    assert sorted(imported(at_import(ast.parse(code)))) == ["a.b", "c"]


def test_no_module_imports_itself_in_a_circle():
    graph = {
        name: set(imported(at_import(ast.parse(path.read_text())))) & MODULES.keys()
        for name, path in MODULES.items()
    }
    graphlib.TopologicalSorter(graph).prepare()


def test_third_party_imports_are_declared_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["llm"]
    known = {re.match(r"[\w-]+", line)[0] for line in lines}
    known |= {OTHER_NAMES[name] for name in known & OTHER_NAMES.keys()}
    found = {
        other.split(".")[0] for path in FILES for other in imported(ast.parse(path.read_text()))
    }
    assert found - FLOORS.keys() - set(sys.stdlib_module_names) <= known


def test_files_are_short_and_named_by_what_they_hold():
    tests = sorted((ROOT / "tests").rglob("*.py"))
    long = [path for path in FILES + tests if len(path.read_text().splitlines()) > LONGEST_FILE]
    assert not long
    assert not [path for path in FILES + tests if path.stem.strip("_") in VAGUE]


@pytest.mark.parametrize("name", PACKAGES)
def test_re_exported_names_resolve_under_their_own_name(name):
    package = importlib.import_module(name)
    tree = ast.parse(MODULES[name].read_text())
    for node in (n for n in tree.body if isinstance(n, ast.ImportFrom)):
        for alias in node.names:
            assert hasattr(package, alias.name)
            assert alias.asname in (None, alias.name)
            assert alias.asname or alias.name in package.__all__


def modules_after(statement):
    """The top-level names of `sys.modules` in a fresh interpreter after an import."""
    code = f"{statement}; import json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def test_imports_are_light():
    heavy = {
        "fsspec",
        "gguf",
        "matplotlib",
        "mlxtend",
        "pandas",
        "pyarrow",
        "ray",
        "rich",
        "safetensors",
        "scipy",
        "sklearn",
        "tyro",
    }
    brought = modules_after("import dopt, compressors, simulators") & heavy
    assert not brought
    assert modules_after("import scipy, rich") & heavy == {"rich", "scipy"}


def test_wheel_holds_the_five_packages_and_nothing_else(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT]
    done = subprocess.run(build, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    dist_info = f"dopt_jax-{dopt.__version__}.dist-info"
    (file,) = tmp_path.iterdir()
    with zipfile.ZipFile(file) as wheel:
        held = wheel.namelist()
        licence = wheel.read(f"{dist_info}/licenses/LICENSE")
    assert {name.split("/")[0] for name in held} == {*FLOORS, dist_info}
    modules = {path.relative_to(ROOT).as_posix() for path in FILES}
    assert {name for name in held if name.endswith(".py")} == modules
    assert licence == (ROOT / "LICENSE").read_bytes()
