"""The table room: publishes runs into tables, exactly once, with a manifest."""

from nocturne.objects import ObjectPath
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.run import Run
from nocturne.table.commit import (
    adopt,
    check_base,
    commit,
    is_intact,
    published_manifest,
    restore,
    settle,
    staged,
    take_over,
)
from nocturne.table.fitted import fitted
from nocturne.table.garbage import Garbage, garbage, half_made, remove, scratch, unused
from nocturne.table.rearranged import difference, other_rows, rows_with_keys
from nocturne.table.reuse import reuse
from nocturne.table.signatures import manifest_problem, signed
from nocturne.table.verify import Problem, verify
from nocturne.table_formats import FORMATS
from nocturne.table_formats.protocol import TablePartition, file_name

__all__ = [
    "Garbage",
    "Problem",
    "adopt",
    "check_base",
    "commit",
    "difference",
    "file_name",
    "fitted",
    "garbage",
    "half_made",
    "is_intact",
    "manifest_problem",
    "other_rows",
    "published_manifest",
    "remove",
    "restore",
    "reuse",
    "rows_with_keys",
    "scratch",
    "settle",
    "signed",
    "staged",
    "table_of",
    "take_over",
    "unused",
    "verify",
]


def table_of(run: Run) -> TablePartition:
    """The partition into which a run is published."""
    uri, make = run.plan.output_uri, FORMATS[run.plan.format]
    state = PipelineState(run.state.root, ObjectPath.of(uri) if uri else None)
    table = make(state, run.plan.table)
    table.evolves = run.plan.evolve == "add"
    return table.partition(run.state)
