"""The publish room: staged files become the partition, exactly once, with a manifest."""

from nocturne.publish.commit import check_base, check_target, commit, restore, settle, staged
from nocturne.publish.garbage import Garbage, garbage, remove, scratch, tried, unused
from nocturne.publish.manifests import (
    current,
    current_path,
    file_name,
    history,
    intact,
    known_lineage,
    lineage,
    manifest_id,
    path_of,
    read_manifest,
    run_folder,
    version_of,
)
from nocturne.publish.reuse import reuse
from nocturne.publish.verify import Problem, verify

__all__ = [
    "Garbage",
    "Problem",
    "check_base",
    "check_target",
    "commit",
    "current",
    "current_path",
    "file_name",
    "garbage",
    "history",
    "intact",
    "known_lineage",
    "lineage",
    "manifest_id",
    "path_of",
    "read_manifest",
    "remove",
    "restore",
    "reuse",
    "run_folder",
    "scratch",
    "settle",
    "staged",
    "tried",
    "unused",
    "verify",
    "version_of",
]
