"""Status: every partition of a pipeline with its state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nocturne import publish
from nocturne.config import Loaded, from_path
from nocturne.errors import NocturneError, disk_errors
from nocturne.pipeline.layout import Layout
from nocturne.records import Manifest, Partition
from nocturne.store import state

__all__ = ["partitions", "status"]


def status(
    loaded: Loaded, first: str | None = None, last: str | None = None
) -> list[dict[str, Any]]:
    """One object a partition, oldest first: those of the input and those with a state.

    Args:
        first, last: partition keys that bound the list, both included.
    """
    layout = Layout.of(loaded)
    found = {p.key: p for p in partitions(loaded, layout)}
    return [
        _describe(layout, found[key])
        for key in sorted(found)
        if (first is None or key >= first) and (last is None or key <= last)
    ]


def partitions(loaded: Loaded, layout: Layout) -> Iterator[Partition]:
    """Those of the input, of the state and of the table; some come more than once."""
    config = loaded.pipeline.input.partition
    if not config:
        yield Partition("all")
        return
    pattern = "/".join(f"{name}=*" for name in config)
    for root in (layout.source, layout.state, layout.table):
        for folder in root.glob(pattern):
            found = from_path(config, folder.relative_to(root).as_posix())
            if found is not None and folder.is_dir():
                yield found


def _describe(layout: Layout, partition: Partition) -> dict[str, Any]:
    state_dir, target = layout.partition_state(partition), layout.output(partition)
    problem = ""
    manifest: Manifest | None = None
    unfinished: state.Current | None = None
    try:
        with disk_errors():
            manifest = publish.current(state_dir, target)
            unfinished = state.recall(state_dir, manifest.run_key if manifest else None)
    except NocturneError as error:
        problem = str(error)
    name = "published" if manifest else "missing"
    if problem:
        name = "failed"
    elif unfinished:
        name, problem = unfinished.state, unfinished.message
    seconds = manifest.seconds.get("score", 0) if manifest else 0
    return {
        "partition": partition.key,
        "state": name,
        "model_version": manifest.model.version
        if manifest
        else unfinished.model_version
        if unfinished
        else None,
        "rows_in": manifest.rows_in if manifest else None,
        "rows_published": manifest.rows_published if manifest else None,
        "rows_quarantined": manifest.rows_quarantined if manifest else None,
        "rows_per_second": round(manifest.rows_in / seconds) if manifest and seconds else None,
        "verdict": manifest.verdict if manifest else None,
        "drift_verdict": manifest.drift_verdict if manifest else None,
        "reasons": list(manifest.reasons) if manifest else [],
        "input": str(layout.input(partition)),
        "output": str(target) if manifest else None,
        "manifest": str(publish.path_of(state_dir, manifest.id)) if manifest else None,
        "report": _report(manifest, unfinished),
        "step": unfinished.step if unfinished else None,
        "rows_done": unfinished.rows_done if unfinished else None,
        "message": problem,
    }


def _report(manifest: Manifest | None, unfinished: state.Current | None) -> str | None:
    if unfinished and unfinished.run_dir:
        path = Path(unfinished.run_dir) / "report.html"
        return str(path) if path.exists() else None
    return manifest.report if manifest else None
