"""The copies of pinned models: in the pipeline's state, under the hash of their content.

Of a state in a store, a model is fetched once for each machine, into the user's cache; all
processes there share it. Its hash is that of its run key, so what was fetched is what was pinned.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from nocturne.errors import ModelError, disk_errors
from nocturne.model.artifact import REGISTRATION
from nocturne.objects import Location, ObjectPath, relative, size_of
from nocturne.objects.together import TRANSFERS, together
from nocturne.records.plan import ModelRef
from nocturne.store.files import digest, fetch, file_digest, place
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.run import Run

__all__ = ["check_copy", "fetch_model", "fetch_models", "keep", "keep_copy", "tree_digest"]

_UNUSED_S = 30 * 86_400
"""Fetched models that were not used for this time are removed from this machine."""


def keep(download: Path, models: Location, what: str) -> tuple[Path, str]:
    """Make a downloaded model the copy in the pipeline's state, under the hash of its content.

    Args:
        download: a folder in ``models_here(models)``, which is moved.

    Returns:
        The folder with its files on this machine, and their hash.

    Raises:
        ModelError: the copy that is there already was changed.
        StoreUnavailable, ConfigError: the store does not answer, or refuses.
    """
    sha256 = tree_digest(download)
    folder = download.with_name(sha256[:32])
    if isinstance(models, ObjectPath):
        _upload(download, models / folder.name)
        if folder.is_dir() and tree_digest(folder) != sha256:
            shutil.rmtree(folder)  # of this machine alone
    if not _moved(download, folder) and tree_digest(folder) != sha256:
        raise ModelError(
            f"the stored copy of {what} in {folder} was changed; delete that folder and run this "
            "again"
        )
    os.utime(folder)  # by its time, gc knows that it is needed again
    return folder, sha256


def _moved(source: Path, target: Path) -> bool:
    """Whether a folder could be moved; False if the target is there already."""
    if target.exists():
        return False
    try:
        os.rename(source, target)
    except OSError:
        if not target.exists():
            raise
        return False
    return True


def keep_copy(folder: Path, copy: Location) -> None:
    """Bring what a stored copy of a model lacks, and make it young: a run needs it.

    Raises:
        StoreUnavailable, ConfigError: the store does not answer, or refuses.
    """
    if isinstance(copy, ObjectPath):
        _upload(folder, copy)
        return
    made = copy if copy.exists() else copy.with_name(f".download-{os.urandom(8).hex()}")
    for path in _files(folder):
        target = made / path.relative_to(folder)
        if not target.is_file() or target.stat().st_size != path.stat().st_size:
            place(path, target, link=False)
    if made != copy and not _moved(made, copy):
        shutil.rmtree(made)
    os.utime(copy)


def _upload(folder: Path, copy: ObjectPath) -> None:
    """Upload the files that the copy lacks. Each is there whole, or not at all.

    The smallest is always uploaded: by its time, gc knows that the copy is needed again.
    """
    sizes = {path: size_of(path) for path in copy.below()}
    files = {copy / path.relative_to(folder).as_posix(): path for path in _files(folder)}
    smallest = min(files.values(), key=lambda path: path.stat().st_size)
    missing = {t: f for t, f in files.items() if f == smallest or sizes.get(t) != f.stat().st_size}
    together(ObjectPath.upload, missing, missing.values(), at_once=TRANSFERS)


def fetch_model(run: Run) -> None:
    """Make the run's model available on this machine, in the folder that its plan names.

    Raises:
        ModelError: the state has no such copy, or it was changed.
        StoreUnavailable, ConfigError: the store does not answer, or refuses.
        RetryableError: there is no space left.
    """
    models = PipelineState(run.state.root).models
    if isinstance(models, ObjectPath):
        _fetched(run.plan.model, models)


def fetch_models(run: Run) -> None:
    """``fetch_model``, and those of its arms."""
    fetch_model(run)
    for arm in run.plan.each_arm:
        fetch_model(run.of_arm(arm))


def _fetched(ref: ModelRef, models: ObjectPath) -> None:
    folder = Path(ref.path)
    with disk_errors():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with open(folder.with_name(f".{folder.name}.lock"), "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the first process fetches it, the others wait
            if not _is_verified(folder, ref.sha256):
                shutil.rmtree(folder, ignore_errors=True)
                _remove_unused(folder.parent)
                _fetch(models / folder.name, ref, folder)
            os.utime(folder)


_verified: set[Path] = set()
"""Folders with the right bytes, as this process has seen."""


def _is_verified(folder: Path, sha256: str) -> bool:
    if not folder.is_dir():
        return False
    if folder not in _verified and tree_digest(folder) == sha256:
        _verified.add(folder)
    return folder in _verified


def _fetch(copy: ObjectPath, ref: ModelRef, folder: Path) -> None:
    download = folder.with_name(f".download-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        targets = {path: download / relative(path, copy) for path in copy.below()}
        together(fetch, targets, targets.values(), at_once=TRANSFERS)
        if not targets or tree_digest(download) != ref.sha256:
            raise ModelError(
                f"{copy} is not the copy of model {ref.name} version {ref.version} that was pinned "
                "(missing or changed). Remove what is left of it there, then score the partition "
                "again: it is copied anew from the registry"
            )
        os.rename(download, folder)
        _verified.add(folder)
    finally:
        shutil.rmtree(download, ignore_errors=True)


def _remove_unused(models: Path) -> None:
    for path in models.iterdir():
        with suppress(OSError):
            if path.is_dir() and time.time() - path.stat().st_mtime > _UNUSED_S:
                shutil.rmtree(path, ignore_errors=True)


def check_copy(ref: ModelRef) -> None:
    """Raises: ModelError if the pinned copy of a model is missing or was changed."""
    if not Path(ref.path).is_dir() or tree_digest(Path(ref.path)) != ref.sha256:
        raise ModelError(
            f"{ref.path} is not the copy of model {ref.name} version {ref.version} that was pinned "
            "(missing or changed), so nothing can be scored with it again. Score the partition "
            f"anew with --model-version {ref.version} --force"
        )


def tree_digest(folder: Path) -> str:
    """sha256 over the names and the bytes of a model's files, in hex.

    Without the file that MLflow writes at the top of each download: one of its name in a subfolder
    is the model's own.
    """
    return digest([(p.relative_to(folder).as_posix(), file_digest(p)) for p in _files(folder)])


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / REGISTRATION)
