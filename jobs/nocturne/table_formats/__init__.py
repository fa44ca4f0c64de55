"""The table formats. Each publishes the files of a partition at once, and says what is in force.

A new format is one file that implements ``protocol.Table`` and ``TablePartition``, and its entry in
``FORMATS``. The configuration offers the names, so an entry imports its file when it is called:
parsing a DAG must not load Arrow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nocturne.store.pipeline_state import PipelineState
    from nocturne.table_formats.protocol import Table

__all__ = ["FORMATS"]


def _parquet(state: PipelineState) -> Table:
    from nocturne.table_formats.folders import FolderTable

    return FolderTable(state)


def _delta(state: PipelineState) -> Table:
    from nocturne.table_formats.delta import DeltaLakeTable

    return DeltaLakeTable(state)


FORMATS: dict[str, Callable[[PipelineState], Table]] = {"parquet": _parquet, "delta": _delta}
"""``output.format`` -> a function that makes such a table from the state of a pipeline."""
