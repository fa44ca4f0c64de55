"""The publish room: staged files become the partition, exactly once, with a manifest."""

from nocturne.publish.commit import commit, staged
from nocturne.publish.manifests import current, history, intact, manifest_id, path_of
from nocturne.publish.reuse import reuse

__all__ = ["commit", "current", "history", "intact", "manifest_id", "path_of", "reuse", "staged"]
