"""A published night in the monitoring run of its model; MLflow being away costs only that."""

from __future__ import annotations

import sys

from nocturne import report
from nocturne.config import Loaded
from nocturne.model.tracking import without_secret
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import logged_to, published_nights
from nocturne.records import Manifest, PublishedNight

__all__ = ["monitor"]


def monitor(loaded: Loaded, manifest: Manifest) -> None:
    """Log the night; again if need be."""
    try:
        state = Places.of(loaded).state.partition(manifest.partition)
        night = PublishedNight(manifest, state.judgement(manifest))
        report.watch(night, lambda: published_nights(loaded), **logged_to(loaded))
    except Exception as error:
        print(
            f"nocturne: {manifest.partition.key} is not in the monitoring run yet: "
            f"{type(error).__name__}: {without_secret(str(error))}. Running it again once MLflow "
            "answers adds it",
            file=sys.stderr,
        )
