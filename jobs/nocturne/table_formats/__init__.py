"""The table formats. Each publishes the files of a partition at once, and says what is in force.

A new format is one file that implements ``protocol.Table`` and ``TablePartition``, and its entry in
``FORMATS``; for a lake format, a package that implements ``lake.LakeTable`` and ``Snapshot``. The
configuration offers the names, so an entry imports its file when it is called: parsing a DAG must
not load Arrow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nocturne.store.pipeline_state import PipelineState
    from nocturne.table_formats.protocol import Table

__all__ = ["FORMATS", "IN_CATALOGS"]


def _parquet(state: PipelineState, name: str) -> Table:
    from nocturne.table_formats.folders import FolderTable

    return FolderTable(state)


def _delta(state: PipelineState, name: str) -> Table:
    from nocturne.table_formats.delta import DeltaLakeTable

    return DeltaLakeTable(state)


def _iceberg(state: PipelineState, name: str) -> Table:
    from nocturne.table_formats.iceberg import IcebergTable

    return IcebergTable(state, name)


FORMATS: dict[str, Callable[[PipelineState, str], Table]] = {
    "parquet": _parquet,
    "delta": _delta,
    "iceberg": _iceberg,
}
"""``output.format`` -> a function that makes such a table.

Its arguments are the state of a pipeline and ``output.table``, the name in a catalog ("" without).
"""

IN_CATALOGS = frozenset({"iceberg"})
"""Formats whose tables have a name in a catalog."""
