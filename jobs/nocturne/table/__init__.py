"""The table room: publishes runs into tables, exactly once, with a manifest."""

from collections.abc import Callable

from nocturne.store.pipeline_state import PipelineState
from nocturne.store.run import Run
from nocturne.table.commit import (
    check_base,
    commit,
    is_intact,
    published_manifest,
    restore,
    settle,
    staged,
)
from nocturne.table.folders import FolderTable
from nocturne.table.garbage import Garbage, garbage, half_made, remove, scratch, unused
from nocturne.table.protocol import Table, TablePartition, file_name
from nocturne.table.reuse import reuse
from nocturne.table.verify import Problem, verify

__all__ = [
    "FORMATS",
    "Garbage",
    "Problem",
    "Table",
    "TablePartition",
    "check_base",
    "commit",
    "file_name",
    "garbage",
    "half_made",
    "is_intact",
    "published_manifest",
    "remove",
    "restore",
    "reuse",
    "scratch",
    "settle",
    "staged",
    "table_of",
    "unused",
    "verify",
]

FORMATS: dict[str, Callable[[PipelineState], Table]] = {"parquet": FolderTable}
"""``output.format`` -> the class of such tables; it takes the pipeline's state."""


def table_of(run: Run) -> TablePartition:
    """The partition into which a run is published."""
    return FORMATS[run.plan.format](PipelineState(run.state.root)).partition(run.state)
