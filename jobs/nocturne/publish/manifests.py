"""Which manifest is in force: the published files' own names say it, whatever crashed."""

from __future__ import annotations

import re
from pathlib import Path

from nocturne.errors import PublishError, StateError
from nocturne.records import Manifest, OutputFile
from nocturne.records.texts import MANIFEST_ID
from nocturne.store.files import file_digest
from nocturne.store.record_files import read

__all__ = [
    "current",
    "current_path",
    "file_name",
    "history",
    "intact",
    "known_lineage",
    "lineage",
    "manifest_id",
    "next_number",
    "path_of",
    "quarantine_folder",
    "read_manifest",
    "run_folder",
    "unchanged",
    "version_of",
]

_FILE = re.compile(r"part-(\d{5})-([0-9a-f]{16})\.parquet")


def file_name(index: int, run_key: str) -> str:
    """The published name of a split's file; it names the run, so it is never reused."""
    return f"part-{index:05d}-{run_key[:16]}.parquet"


def manifest_id(number: int, run_key: str) -> str:
    """Commit number and run key: ``000002-1f0c...``."""
    return f"{number:06d}-{run_key[:16]}"


def path_of(state: Path, id_: str) -> Path:
    """Where the manifest ``id_`` lies."""
    return state / "manifests" / f"{id_}.json"


def run_folder(state: Path, manifest: Manifest) -> Path:
    """The run directory in which the manifest's scores were made."""
    return state / "runs" / manifest.run_key[:16]


def quarantine_folder(state: Path, run_key: str) -> Path:
    """Where the rows lie that a run has quarantined."""
    return state / "quarantine" / run_key[:16]


def unchanged(path: Path, file: OutputFile) -> bool:
    """Whether ``path`` is there with the very bytes of a manifest's file."""
    return path.is_file() and file_digest(path) == file.sha256


def version_of(state: Path, manifest: Manifest) -> Path | None:
    """Where the files of a manifest that was replaced are kept; None if they are not."""
    found = sorted((state / "versions").glob(f"*-{manifest.run_key[:16]}"))
    return found[-1] if found else None


def _ids(state: Path) -> list[str]:
    """Of all that is named as a manifest is; other files in the folder are somebody else's."""
    found = (p.stem for p in (state / "manifests").glob("*.json"))
    return sorted(id_ for id_ in found if MANIFEST_ID.fullmatch(id_))


def next_number(state: Path) -> int:
    """One more than the highest commit number, also of commits that never came into force."""
    return max((int(id_.split("-")[0]) for id_ in _ids(state)), default=0) + 1


def current(state: Path, target: Path) -> Manifest | None:
    """The manifest of what is published now; None if nothing is.

    Raises:
        PublishError: the folder holds files that no manifest of ours names.
    """
    path = current_path(state, target)
    return read_manifest(path) if path else None


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file of its name.

    Raises:
        StateError: there is none, it is damaged, or it is another one's copy.
    """
    manifest = read(Manifest, path)
    if manifest.id != path.stem or manifest.id != manifest_id(manifest.number, manifest.run_key):
        raise StateError(
            f"{path} says that it is manifest {manifest.id}, number {manifest.number} of the run "
            f"{manifest.run_key[:16]}: it was copied, renamed or edited. {Manifest.mend}",
            source=str(path),
        )
    return manifest


def current_path(state: Path, target: Path) -> Path | None:
    """The file of the manifest that ``current`` reads."""
    names = sorted(p.name for p in target.iterdir()) if target.is_dir() else []
    if not names:
        return None
    keys = {m.group(2) if (m := _FILE.fullmatch(name)) else None for name in names}
    key = keys.pop() if len(keys) == 1 else None
    ids = [id_ for id_ in _ids(state) if key is not None and id_.endswith(f"-{key}")]
    if not ids:
        raise PublishError(
            f"{target} holds files that were not published from here ({', '.join(names[:3])}"
            f"{', ...' if len(names) > 3 else ''}; state: {state}). Move them away, or choose "
            "another output.path; nothing was changed",
            path=str(target),
        )
    return path_of(state, ids[-1])


def intact(manifest: Manifest, target: Path) -> bool:
    """Whether the published folder holds the manifest's files, by name and size."""
    there = {p.name: p.stat().st_size for p in target.iterdir()}
    return there == {file.path: file.size for file in manifest.outputs}


def lineage(state: Path, now: Manifest | None) -> list[Manifest]:
    """The manifest in force, the one that it replaced, and so on to the first.

    What ``history`` has beside them never came into force.

    Raises:
        StateError: one of them is damaged.
    """
    line, broken = known_lineage(state, now)
    if broken is not None:
        raise broken
    return line


def known_lineage(state: Path, now: Manifest | None) -> tuple[list[Manifest], StateError | None]:
    """``lineage`` as far back as it can be read, and what is wrong with the next one."""
    line: list[Manifest] = []
    while now is not None:
        line.append(now)
        try:
            now = _replaced_by(state, now)
        except StateError as broken:
            return line, broken
    return line, None


def _replaced_by(state: Path, manifest: Manifest) -> Manifest | None:
    if manifest.replaces is None:
        return None
    path = path_of(state, manifest.replaces)
    if not path.exists():
        return None
    before = read_manifest(path)
    if before.number >= manifest.number:  # following such ones would never end
        raise StateError(
            f"{path_of(state, manifest.id)} says that it replaced {before.id}, whose number is not "
            f"lower: a cycle in the chain of manifests. {Manifest.mend}",
            source=str(path_of(state, manifest.id)),
        )
    return before


def history(state: Path) -> list[Manifest]:
    """Every manifest that was written for the partition, oldest first."""
    return [read_manifest(path_of(state, id_)) for id_ in _ids(state)]
