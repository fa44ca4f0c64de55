"""Files that the page serves: a night's report, its Data Docs, a manifest."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import HTTPException
from fastapi.responses import FileResponse, Response

from nocturne.config import Loaded
from nocturne.objects import Location, relative
from nocturne.pipeline.places import Places
from nocturne.records.partition import Partition
from nocturne_airflow.page.site import HEADERS, partition_of, pipeline

__all__ = ["document", "is_file"]

# The report and Data Docs show values from data and must not call Airflow's API with the reader's
# cookie. So they have an origin of their own; of Data Docs, those of earlier versions load styles.
_SANDBOX = HEADERS | {"Content-Security-Policy": "sandbox allow-scripts; frame-ancestors 'self'"}
_NO_SCRIPTS = HEADERS | {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'self'"
}


def document(dag_id: str, key: str, run: str, part: str) -> Response:
    """A report, a page of Data Docs, or a manifest."""
    loaded = pipeline(dag_id)
    path = _document(loaded, partition_of(loaded, key), run, part)
    if path is None:
        raise HTTPException(404, f"{dag_id} {key} has no {part} of the run {run}")
    headers = _NO_SCRIPTS if "data_docs" in path.parts else _SANDBOX
    if isinstance(path, Path):
        return FileResponse(path, headers=headers)
    kind, _ = mimetypes.guess_type(path.name)
    return Response(path.read_bytes(), media_type=kind or "text/plain", headers=headers)


def _document(loaded: Loaded, partition: Partition, run: str, part: str) -> Location | None:
    """A file that the page may serve: a run's report, its Data Docs, or a manifest.

    Args:
        run: the name of the run's directory, or ``manifests``.
    """
    state = Places.of(loaded).state.partition(partition)
    if run == "manifests":
        manifest = state.manifest_file(Path(part).stem)
        return manifest if is_file(manifest) and manifest.name == Path(part).name else None
    folder = next((folder for folder in state.runs() if folder.name == run), None)
    if folder is None:
        return None
    # Only these hide the values of sensitive columns.
    served = {relative(path, folder.path): path for path in (folder.docs_page, folder.report)}
    path = served.get(part)
    return path if path is not None and is_file(path) and not _is_link(path) else None


def _is_link(path: Location) -> bool:
    return isinstance(path, Path) and path.is_symlink()


def is_file(path: Location) -> bool:
    """Whether it is a file; False if the name can't be one's."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
