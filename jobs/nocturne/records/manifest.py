"""What a night was judged to be, and what was published of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from nocturne.records.drift import DriftResult, FeatureDrift
from nocturne.records.plan import InputFile, ModelRef, Partition, Pinned
from nocturne.records.profile import Profile
from nocturne.records.quality import QualityResult
from nocturne.records.texts import ManifestId, Time

__all__ = ["Decision", "Judgement", "Manifest", "OutputFile", "VerdictName"]

VerdictName = Literal["ok", "warn", "hold", "fail"]


@dataclass(frozen=True)
class Judgement:
    """The night in one word, with its reasons in plain ones: ``judgement.json``."""

    on_one_line: ClassVar[bool] = True

    mend: ClassVar[str] = "Judge the run again (`nocturne judge RUN_DIR`)"

    verdict: VerdictName
    reasons: tuple[str, ...]
    rows_in: int
    rows_out: int
    quarantined: int
    quality: QualityResult
    drift: DriftResult
    profile: Profile
    drift_verdict: VerdictName = "ok"
    quality_verdict: VerdictName = "ok"
    report: str | None = None
    mlflow_run_id: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class OutputFile:
    """A published file; ``path`` is relative to the partition."""

    path: str
    sha256: str
    size: int
    rows: int
    split: str


@dataclass(frozen=True)
class Manifest:
    """What made the published scores. ``id`` is the commit number and the run key.

    ``restores``: after a rollback, the manifest whose files returned; ``approved_by`` then
    rolled it back. ``drift_segments``: segment -> column -> PSI; ``drift_segments_alarmed``:
    segment -> columns that drifted in it. ``output_version`` is the run's.
    """

    mend: ClassVar[str] = (
        "Put back a copy of it. Without one move it away, and if it is of the scores in force, "
        "those too; then run the partition again"
    )

    format: int
    id: ManifestId
    number: int
    pipeline: str
    partition: Partition
    run_key: str
    content_key: str
    replaces: ManifestId | None
    published: Time
    model: ModelRef
    encoding_sha256: str
    pinned: Pinned
    config_digest: str
    environment: dict[str, str]
    input_dir: str
    inputs: tuple[InputFile, ...]
    outputs: tuple[OutputFile, ...]
    quarantine: tuple[OutputFile, ...]
    rows_in: int
    rows_published: int
    rows_quarantined: int
    verdict: VerdictName
    reasons: tuple[str, ...]
    quality_verdict: VerdictName
    drift_verdict: VerdictName
    drift: tuple[FeatureDrift, ...]
    score_summary: dict[str, dict[str, float]]
    report: str | None
    mlflow_run_id: str | None
    approved_by: str | None
    seconds: dict[str, float]
    precision_error: dict[str, float] = field(default_factory=dict)
    restores: ManifestId | None = None
    drift_history: tuple[str, ...] = ()
    drift_baseline: tuple[str, ...] = ()
    drift_paged: bool = False
    drift_segments: dict[str, dict[str, float]] = field(default_factory=dict)
    drift_segments_alarmed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    output_version: int = 2


@dataclass(frozen=True)
class Decision:
    """Who decided about a held run, when and (of a rejection) why."""

    mend: ClassVar[str] = "Move it away and decide again (`nocturne approve` or `nocturne reject`)"

    by: str
    at: Time
    why: str = ""
