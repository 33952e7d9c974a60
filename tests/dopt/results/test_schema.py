import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dopt
from dopt.errors import ConfigurationError
from dopt.results import Status, canonical_json, run_id


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
configs = st.dictionaries(st.text(max_size=4), values, max_size=4)


def reordered(value):
    """The same value with the keys of every dict in the opposite order."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@given(configs)
def test_run_id_ignores_the_order_of_keys_and_survives_json(config):
    assert run_id(config) == run_id(reordered(config))
    assert run_id(config) == run_id(json.loads(canonical_json(config)))


@given(configs, configs)
def test_run_id_differs_where_configs_differ(one, other):
    same = repr(sorted_items(one)) == repr(sorted_items(other))
    assert (run_id(one) == run_id(other)) == same


def sorted_items(value):
    if isinstance(value, dict):
        return sorted((key, sorted_items(item)) for key, item in value.items())
    return [sorted_items(item) for item in value] if isinstance(value, list) else value


def test_run_id_changes_with_every_value():
    config = {"a": 1, "b": {"c": [0.5, True, None, "x"]}}
    changed = [
        {"a": 1.0, "b": {"c": [0.5, True, None, "x"]}},
        {"a": 1, "b": {"c": [math.nextafter(0.5, 1), True, None, "x"]}},
        {"a": 1, "b": {"c": [0.5, 1, None, "x"]}},
        {"a": 1, "b": {"c": [0.5, True, "None", "x"]}},
        {"a": 1, "b": {"c": [0.5, True, None, "x", None]}},
        {"a": 1, "b": {"d": [0.5, True, None, "x"]}},
        {"a": 1, "b": {"c": [0.5, True, None, "x"]}, "e": None},
    ]
    assert len({run_id(c) for c in (config, *changed)}) == 8


def test_run_id_is_the_hash_of_the_canonical_text():
    # Integers and text only: this name must never change, or finished runs would run again.
    assert canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"\\u00e9"]}'
    assert run_id({"b": [1, "é"], "a": None}) == "a44633ba036df25280e4"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"a": {"b": [1.0, math.nan]}}, r"config\['a'\]\['b'\]\[1\] = nan; .* finite"),
        ({"a": -math.inf}, r"config\['a'\] = -inf"),
        ({"a": {3: 1}}, r"config\['a'\] has the key 3; keys must be strings"),
        ({"a": np.int64(3)}, r"config\['a'\] = np.int64\(3\) is a int64"),
        ({"a": np.ones(2)}, r"config\['a'\] = .* is a ndarray"),
        ({"a": {1, 2}}, r"config\['a'\] = \{1, 2\} is a set"),
        ({"a": b"x"}, r"config\['a'\] = b'x' is a bytes"),
    ],
)
def test_what_json_has_not_is_refused_with_its_place(config, message):
    with pytest.raises(ConfigurationError, match=message):
        run_id(config)


def test_only_interrupted_and_failed_runs_run_again():
    assert {s.value for s in Status if not s.is_final} == {"interrupted", "failed"}
    assert len(Status) == 6


def test_names_and_statuses_need_no_heavy_package():
    heavy = "{'fsspec', 'pandas', 'pyarrow'}"
    code = f"import sys, dopt.results; print(sorted({heavy} & set(sys.modules)))"
    root = Path(dopt.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
