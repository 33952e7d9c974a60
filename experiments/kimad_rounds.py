"""What Kimad's figures show beside progress: when each round's acts ended, and each layer's ratio.

Two tables beside those of the runs: `rounds.parquet`, one row a round and worker of what every
method reports in every regime, from the timeline; `layers.parquet`, one row a round and layer of
Kimad and Kimad+ in the first regimes, from a plain replay of the first rounds.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from compressors.ladders import TopKLadder
from dopt.errors import NoProgressError
from dopt.methods import Kimad, Method
from dopt.policies import RoundTime, Timing
from dopt.problems import FromLoss, leaf_names
from dopt.replay.plain import plain_replay
from dopt.results.read import load
from experiments.kimad import KIMAD, KIMAD_PLUS
from experiments.study import Entry, Regime, Study
from simulators.timeline import observe


SHOWN = 3
"""Regimes whose rounds are kept: of more, the first."""
LAYER_ROUNDS = 60
"""Rounds whose layers are kept: each message is packed and read again."""


def write(study: Study, folder: Path) -> None:
    """Both tables of a study that was run into a folder."""
    runs, traces = load(folder)
    rounds, layers = [], []
    for number, regime in enumerate(study.regimes[:SHOWN]):
        for entry in regime.entries:
            chosen = study.choice(regime, entry, runs, traces)
            if chosen is None:
                continue
            (variant,) = (v for v in entry.variants if v.name == chosen.variant)
            method = replace(variant.method, step_size=chosen.step_size)
            try:
                rounds.append(_rounds(regime, entry, method))
            except NoProgressError:
                continue
            if number == 0 and entry.label in (KIMAD, KIMAD_PLUS) and isinstance(method, Kimad):
                layers.append(_layers(regime, entry, method, study.report_seeds[0]))
    for name, tables in (("rounds", rounds), ("layers", layers)):
        if tables:
            _write(pd.concat(tables, ignore_index=True), folder / f"{name}.parquet")


def _write(table: pd.DataFrame, path: Path) -> None:
    """The whole file or nothing."""
    staged = path.with_name(f".{path.name}.tmp")
    table.to_parquet(staged, index=False)
    os.replace(staged, path)


def _rounds(regime: Regime, entry: Entry, method: Method) -> pd.DataFrame:
    """One row a round and worker."""
    costs, limits = regime.costs(method), regime.limits
    policy = method.policy(costs, regime.problem.d)
    schedule, timings = observe(policy, costs, steps=limits.steps, seconds=limits.seconds)
    a = schedule.arrivals
    table = pd.DataFrame(timings, columns=Timing._fields)
    moving = table["arrived"] - table["computed"] - costs.latency[a.worker]
    kimad = isinstance(method, Kimad)
    news = schedule.steps.budget[a.step]
    most = costs.message_bits if kimad else costs.dense_bits
    spending = method.spending if isinstance(method, Kimad) else None
    return table.assign(
        regime=regime.title,
        method=entry.label,
        round=a.step,
        worker=a.worker.astype(np.int64),
        up_budget=a.budget if kimad else -1,
        down_budget=news if kimad else -1,
        ratio=table["up_bits"] / most,
        bandwidth=table["up_bits"] / moving,
        seconds=spending.seconds if isinstance(spending, RoundTime) else math.nan,
    )


def _layers(regime: Regime, entry: Entry, method: Kimad, seed: int) -> pd.DataFrame:
    """One row a round and layer: the mean over workers of the ratio."""
    costs, problem, n = regime.costs(method), regime.problem, regime.cluster.n
    policy = method.policy(costs, problem.d)
    steps = min(LAYER_ROUNDS, regime.limits.steps or LAYER_ROUNDS)
    schedule = observe(policy, costs, steps=steps).schedule
    found: list[np.ndarray] = []
    ratios = _ratios(method)

    def see(row: Any, message: Any) -> None:
        within = method.compressor.within(int(row.budget))
        code = within.unpack(message, key=jax.random.key(0), d=problem.d)
        found.append(ratios[np.arange(len(ratios)), np.asarray(code.rungs)])

    plain_replay(problem, method, schedule, seed=seed, on_message=see)
    mean = np.array(found).reshape(schedule.K, n, -1).mean(axis=1)
    rounds, layers = (index.ravel() for index in np.indices(mean.shape))
    names = _names(problem, len(ratios))
    return pd.DataFrame(
        {
            "regime": regime.title,
            "method": entry.label,
            "round": rounds,
            "layer": layers,
            "name": np.array(names)[layers],
            "size": np.array(method.compressor.sizes)[layers],
            "ratio": mean.ravel(),
        }
    )


def _ratios(method: Kimad) -> np.ndarray:
    """The share of a layer's coordinates that travel, of each layer and rung."""
    rows = []
    for ladder, size in zip(method.compressor.ladders, method.compressor.sizes, strict=True):
        assert isinstance(ladder, TopKLadder)
        rows.append([max(1, round(ratio * size)) / size for ratio in ladder.ratios])
    return np.array(rows)


def _names(problem: Any, count: int) -> Sequence[str]:
    """The names of a network's arrays, or numbers."""
    if isinstance(problem, FromLoss):
        return list(leaf_names(problem.params))
    return [f"layer {layer}" for layer in range(count)]
