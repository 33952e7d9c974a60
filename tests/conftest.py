"""What all tests share: theory precision, strict promotion, their own cache, what may be absent."""

import importlib.util
import os
from pathlib import Path

import jax
import pytest


jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Ray makes its workers nice by 15: beside other tests they would hardly ever have a turn.
os.environ.setdefault("RAY_worker_niceness", "0")


MOST_MAPS = 20_000


@pytest.fixture(autouse=True, scope="module")
def _few_programs():
    """Compiled programs hold memory maps, of which Linux gives a process 65,530 and no more."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_text().count("\n") > MOST_MAPS:
        jax.clear_caches()


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Tests neither read nor fill the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOPT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_runtest_setup(item):
    if item.get_closest_marker("data") and not os.environ.get("DOPT_DATA"):
        pytest.skip("DOPT_DATA names no folder of real data")
    if item.get_closest_marker("ray") and importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
