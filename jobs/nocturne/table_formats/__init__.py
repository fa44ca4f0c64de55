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
    from nocturne.objects import Location
    from nocturne.source.protocol import InputTable
    from nocturne.store.pipeline_state import PipelineState
    from nocturne.table_formats.protocol import Table

__all__ = ["FORMATS", "INPUTS", "IN_CATALOGS", "IN_STORES"]


def _parquet(state: PipelineState, name: str) -> Table:
    from nocturne.table_formats.folders import FolderTable

    return FolderTable(state)


def _delta(state: PipelineState, name: str) -> Table:
    from nocturne.table_formats.delta import DeltaLakeTable

    return DeltaLakeTable(state.table, state.root)


def _iceberg(state: PipelineState, name: str) -> Table:
    from nocturne.table_formats.iceberg import IcebergTable

    return IcebergTable(name, state.table, state.root)


FORMATS: dict[str, Callable[[PipelineState, str], Table]] = {
    "parquet": _parquet,
    "delta": _delta,
    "iceberg": _iceberg,
}
"""``output.format`` -> a function that makes such a table.

Its arguments are the state of a pipeline and ``output.table``, the name in a catalog ("" without).
"""


def _read_delta(folder: Location, name: str) -> InputTable:
    from nocturne.table_formats.delta import DeltaLakeTable
    from nocturne.table_formats.lake import LakeInput

    return LakeInput(DeltaLakeTable(folder))


def _read_iceberg(folder: Location, name: str) -> InputTable:
    from nocturne.table_formats.iceberg import IcebergTable
    from nocturne.table_formats.lake import LakeInput

    return LakeInput(IcebergTable(name, folder))


INPUTS: dict[str, Callable[[Location, str], InputTable]] = {
    "delta": _read_delta,
    "iceberg": _read_iceberg,
}
"""``input.format`` -> a function that opens such a table to read it.

Its arguments are the table's folder and ``input.table``, the name in a catalog ("" without).
"""

IN_STORES = frozenset({"delta", "iceberg"})
"""Formats whose tables may be in object stores."""

IN_CATALOGS = frozenset({"iceberg"})
"""Formats whose tables have a name in a catalog."""
