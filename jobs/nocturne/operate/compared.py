"""What a judged night was compared with, column by column."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from nocturne import drift
from nocturne.codec import load
from nocturne.config import Loaded
from nocturne.errors import NocturneError
from nocturne.model.artifact import BASELINE_FILE
from nocturne.model.registry import Resolved
from nocturne.objects import ObjectPath
from nocturne.operate.judged import JudgedNight
from nocturne.pipeline.baselines import baseline_of_nights
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.runs import open_run
from nocturne.records.drift import Baseline, ComparedBins
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.run import Run

__all__ = ["compared_column"]


def compared_column(loaded: Loaded, night: JudgedNight, column: str) -> ComparedBins | None:
    """The column of a night and of its baseline, in the bins that were compared.

    None if it was not compared, or the baseline can't be read.
    """
    feature = next((f for f in night.judgement.drift.columns if f.column == column), None)
    if feature is None:
        return None
    try:
        names = night.judgement.drift.baseline
        baseline = _of_nights(loaded, names) if names else _of_model(open_run(night.run.path))
    except (NocturneError, OSError):
        return None
    trained = baseline.columns.get(column) if baseline is not None else None
    if trained is None or len(feature.counts) != len(trained.counts):
        return None
    source = night.judgement.drift.reference if names else "the training data"
    return drift.compared_bins(trained, feature.counts, drift.day_of(night.key), source)


def _of_nights(loaded: Loaded, names: tuple[str, ...]) -> Baseline | None:
    nights = PublishedNights(loaded)
    there = [night for name in names if (night := nights.by_name(name))]
    return baseline_of_nights(loaded, there) if len(there) == len(names) else None


def _of_model(run: Run) -> Baseline | None:
    """The baseline logged with the model; of a state in a store, nothing else of it is fetched."""
    models, ref = PipelineState(run.state.root).models, run.plan.model
    if isinstance(models, ObjectPath):
        return _fetched(models / Path(ref.path).name)
    return Resolved(ref).baseline


@lru_cache(maxsize=16)
def _fetched(model: ObjectPath) -> Baseline | None:
    file = next((path for path in model.below() if path.name == BASELINE_FILE), None)
    return load(Baseline, file.read_bytes(), str(file)) if file is not None else None
