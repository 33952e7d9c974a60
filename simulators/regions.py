"""Clusters across regions of the world, from measured delays and bandwidths of pairs of them.

    a,b,delay_ms,bandwidth_gbps
    Oregon,Virginia,67,0.79

A pair holds in both directions and stands once, or twice with the same numbers. A row with a = b is
a link within a region. Comments (`#`) and empty lines are left out.
"""

import csv
import math
import os
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from dopt.costs import Times
from dopt.errors import ConfigurationError, DataError
from simulators.cluster import Cluster


COLUMNS = ("a", "b", "delay_ms", "bandwidth_gbps")


class Regions(NamedTuple):
    """Links between regions, in the order of `names`; both matrices are symmetric."""

    names: tuple[str, ...]
    """Regions in the order in which the file names them."""

    delay: Float64[np.ndarray, "R R"]
    """Seconds from the beginning of a message's way to its end, as the file has them."""

    bandwidth: Float64[np.ndarray, "R R"]
    """Bits a second (1 Gbit/s is 10⁹)."""


def read_regions(path: str | os.PathLike[str]) -> Regions:
    """The matrices of the CSV file `path`.

    Within a region, where the file has no row for it, a link is assumed to be as good as the best
    ones that were measured: the smallest delay and the largest bandwidth of all pairs.

    Raises:
        DataError: a file that cannot be read or is not such a table, a pair that is missing or has
            two different links, a delay or bandwidth that is negative, NaN, infinite, or no number.
            The message gives the line where there is one.
    """
    path = Path(path)
    links = _links(path)
    names = tuple(dict.fromkeys(name for pair in links for name in pair))
    if len(names) < 2:
        raise DataError(f"{path} has no pair of regions; write one row for each pair")
    missing = [pair for pair in combinations(names, 2) if pair not in links]
    if missing:
        (a, b), more = missing[0], len(missing) - 1
        raise DataError(
            f"{path} has no link between {a} and {b}{f' (and {more} more pairs)' if more else ''}; "
            "add a row for each pair of its regions"
        )
    least = min(delay for delay, _ in links.values())
    most = max(bandwidth for _, bandwidth in links.values())
    found = np.array([[links.get((a, b), (least, most)) for b in names] for a in names])
    return Regions(names, found[..., 0].copy(), found[..., 1].copy())


def regions_cluster(
    path: str | os.PathLike[str],
    *,
    server: str,
    workers: Sequence[str],
    h: Times | float | int,
) -> Cluster:
    """A cluster of workers in the regions of a file, with fixed links to the server and back.

    A message of B bits takes delay + B/bandwidth seconds in either direction, with the numbers of
    the worker's region and the server's. Messages of several workers do not slow each other down.

    Args:
        path: what `read_regions` reads; it also says what is assumed within a region.
        server: the server's region.
        workers: the region of each worker; a region may stand several times.
        h: seconds per stochastic gradient, of each worker or of all.

    Raises:
        DataError: as `read_regions`.
        ConfigurationError: a region that the file does not have, no worker, as many `h` as there
            are not workers, a negative time.
    """
    regions = read_regions(path)
    for name in (server, *workers):
        if name not in regions.names:
            raise ConfigurationError(
                f"{path} has no region {name!r} (it has {', '.join(regions.names)})"
            )
    if not workers:
        raise ConfigurationError("no worker; name the region of at least one")
    there = [regions.names.index(name) for name in workers]
    here = regions.names.index(server)
    seconds = 1.0 / regions.bandwidth[there, here]
    times = np.full(len(there), h) if isinstance(h, float | int) else h
    return Cluster(times, seconds, seconds, regions.delay[there, here], unit="bit")


def _links(path: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """Delay in seconds and bandwidth in bits a second of each pair, both ways round."""
    links: dict[tuple[str, str], tuple[float, float]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = True
            for row in reader:
                place = f"{path}, line {reader.line_num}"
                cells = [cell.strip() for cell in row]
                if not any(cells) or cells[0].startswith("#"):
                    continue
                if header:
                    _check_header(place, cells)
                    header = False
                    continue
                a, b, link = _link(place, cells)
                if links.setdefault((a, b), link) != link:
                    raise DataError(
                        f"{place}: {a} and {b} had another link above; a link is the same in both "
                        "directions: keep one row"
                    )
                links[b, a] = link
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: not a text of comma-separated values in UTF-8 ({error})"
        ) from None
    return links


def _check_header(place: str, cells: list[str]) -> None:
    if tuple(cells) != COLUMNS:
        raise DataError(
            f"{place}: the columns are {','.join(cells)!r}; they must be {','.join(COLUMNS)!r}"
        )


def _link(place: str, cells: list[str]) -> tuple[str, str, tuple[float, float]]:
    if len(cells) != len(COLUMNS):
        raise DataError(f"{place}: {len(cells)} values for {len(COLUMNS)} columns")
    a, b, *texts = cells
    if not a or not b:
        raise DataError(f"{place}: a region without a name")
    delay = _number(place, COLUMNS[2], texts[0])
    bandwidth = _number(place, COLUMNS[3], texts[1])
    if bandwidth == 0:
        raise DataError(f"{place}: a bandwidth of 0 carries nothing; give Gbit/s > 0")
    return a, b, (delay / 1e3, bandwidth * 1e9)


def _number(place: str, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise DataError(f"{place}, column {column}: {text!r}; give a finite number >= 0")
    return value
