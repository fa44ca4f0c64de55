"""Tells MLflow of a published night: its own run, and the monitoring run of its model."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from nocturne import drift, report
from nocturne.config import Loaded
from nocturne.errors import RegistryUnavailable
from nocturne.model.tracking import without_secret
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import logged_to
from nocturne.pipeline.tagging import tag
from nocturne.records.manifest import Manifest, PublishedNight

__all__ = ["monitor"]

log = logging.getLogger(__name__)


def monitor(loaded: Loaded, manifest: Manifest, decision: Mapping[str, str] | None = None) -> None:
    """Log the night, and tag its own run as published.

    If MLflow does not answer, a warning is logged and nothing else happens.

    Args:
        decision: the tags of the decision to publish it; see ``report.decision_tags``.
    """
    try:
        state = Places.of(loaded).state.partition(manifest.partition)
        night = PublishedNight(manifest, state.judgement(manifest))
        report.log_to_monitoring(
            night,
            PublishedNights(loaded).all,
            metrics=drift.METRICS,
            **logged_to(loaded),
        )
    except Exception as error:
        log.warning(
            "%s is not in the monitoring run yet: %s: %s. Running it again once MLflow answers "
            "adds it",
            manifest.partition.key,
            type(error).__name__,
            without_secret(str(error)),
        )
        if isinstance(error, RegistryUnavailable):
            return  # it would be waited for again
    tag(loaded, manifest, "published", decision or {})
