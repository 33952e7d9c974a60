"""All that a folder holds, read with as little work as its merged files allow."""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow.compute as pc

from dopt.results.files import (
    DamagedFileError,
    Inventory,
    Tables,
    read_batch,
    read_merged,
    take_inventory,
)
from dopt.results.places import Place
from dopt.results.tables import combine


log = logging.getLogger("dopt")

THREADS = 16
"""Files read at once: an object store answers each after tens of milliseconds."""

Damaged = Callable[[str, DamagedFileError], None]
"""What is done about a batch that cannot be read."""

T = TypeVar("T")


def gather(place: Place, inventory: Inventory, damaged: Damaged) -> Tables | None:
    """The runs and the traces in a folder, sorted, each run once; None if there are none.

    If all shards are as they were merged, or there are none left, the merged files serve. They
    serve beside the shards that came later too, unless these hold runs anew.

    Raises:
        DamagedFileError: the merged files are damaged, and there is no shard.
    """
    base = None
    if inventory.merged is not None and (inventory.base or not inventory.shards):
        try:
            base = read_merged(place)
            if take_inventory(place).merged != inventory.merged:
                base = None  # they are being replaced, and may not belong together
        except DamagedFileError as damage:
            if not inventory.shards:
                raise
            log.warning("%s; the shards are read instead", damage)
    later = inventory.shards.keys() - (inventory.base if base else {})
    batches = read_all(lambda batch_id: read_batch(place, batch_id), later, damaged)
    if base is not None:
        if not batches:
            return base
        names = base.runs["run_id"].combine_chunks()
        if not any(pc.is_in(b.runs["run_id"], names).to_numpy().any() for b in batches.values()):
            return combine({"": base} | batches)
        inside = inventory.base.keys()
        batches |= read_all(lambda batch_id: read_batch(place, batch_id), inside, damaged)
    return combine(batches) if batches else None


def read_all(read: Callable[[str], T], batch_ids: Iterable[str], damaged: Damaged) -> dict[str, T]:
    """What `read` gives for each batch, several at once; those that are damaged are left out."""
    found = {}
    with ThreadPoolExecutor(THREADS) as pool:
        futures = {batch_id: pool.submit(read, batch_id) for batch_id in sorted(batch_ids)}
        for batch_id, future in futures.items():
            try:
                found[batch_id] = future.result()
            except DamagedFileError as damage:
                damaged(batch_id, damage)
    return found


def leave_out(batch_id: str, damage: DamagedFileError) -> None:
    """What a reader does about a damaged batch."""
    log.warning("%s; its batch is left out", damage)
