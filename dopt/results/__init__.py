"""Results on disk: what a run is called, how it ended, and the folder that keeps both tables.

`dopt.results.store` (the writer, needs pyarrow) and `dopt.results.read` (the reader, needs pandas)
are imported by those who use them.
"""

from dopt.results.schema import SCHEMA_VERSION, Status, canonical_json, run_id


__all__ = ["SCHEMA_VERSION", "Status", "canonical_json", "run_id"]
