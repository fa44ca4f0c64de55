"""What a night was judged to be, and what was published of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

from nocturne.codec import Stored
from nocturne.records.drift import DriftResult, from_flat
from nocturne.records.findings import Finding, Verdict, verdict_of
from nocturne.records.partition import Partition
from nocturne.records.plan import ModelRef
from nocturne.records.quality import QualityResult
from nocturne.records.texts import ManifestId, Time

__all__ = [
    "Accepted",
    "Decision",
    "Judgement",
    "Logged",
    "Manifest",
    "OutputFile",
    "PublishedNight",
    "StoredFile",
]

Fields = dict[str, Any]

_RULES = (
    (re.compile(r"\d+ of \d+ expectations failed"), "quality.expectations"),
    (re.compile(r"\d+ rows have a key that another"), "quality.unique_keys"),
    (re.compile(r"not one of \d+ rows has a score"), "quality.model"),
    (re.compile(r"\d+ of \d+ rows \([\d.]+%\) are quarantined"), "quality.quarantined"),
    (re.compile(r"\d+ columns drifted"), "drift.columns"),
    (re.compile(r"a person should look"), "drift.page"),
    (re.compile(r"drifted in a segment alone"), "drift.segments"),
)
"""How the reasons of version 1 begin, which had no rules."""


def _findings(fields: Fields, columns: list[str]) -> list[Fields]:
    """The findings that the reasons and verdicts of version 1 stand for."""
    found = []
    for reason in fields.pop("reasons"):
        rule = next((name for form, name in _RULES if form.match(reason)), "person.hold")
        verdict = "hold" if rule == "person.hold" else fields[f"{rule.partition('.')[0]}_verdict"]
        if rule == "quality.quarantined" and "within the limit" in reason:
            verdict = "ok"
        if rule == "drift.segments":
            verdict = "warn"
        about = columns if rule == "drift.columns" else []
        found.append({"rule": rule, "verdict": verdict, "reason": reason, "columns": about})
    del fields["quality_verdict"], fields["drift_verdict"]
    return found


def _alarmed(columns: Any) -> list[str]:
    return [column["column"] for column in columns if column["alarmed"]]


def _by_name(drift: Fields) -> Fields:
    """Metrics of columns and of segments' columns, which had a field each, by name."""
    segments = [
        segment | {"columns": [from_flat(column) for column in segment["columns"]]}
        for segment in drift.get("segments", ())
    ]
    columns = [from_flat(column) for column in drift["columns"]]
    return drift | {"columns": columns, "segments": segments}


def _judgement_1(fields: Fields) -> Fields:
    """Reasons become findings, metrics go by name; the profile has a file of its own, which lay
    beside it already.
    """
    fields = {"quality_verdict": "ok", "drift_verdict": "ok", **fields}
    fields["findings"] = _findings(fields, _alarmed(fields["drift"]["columns"]))
    fields["drift"] = _by_name(fields["drift"])
    docs = fields["quality"].get("data_docs")
    if docs:
        _, name, inside = docs.rpartition("data_docs/")
        fields["quality"] = fields["quality"] | {"data_docs": name + inside}
    for gone in ("profile", "report"):
        fields.pop(gone, None)
    return fields


@dataclass(frozen=True)
class Judgement(Stored):
    """The night in one word, with what was found: ``judgement.json``."""

    VERSION: ClassVar[int] = 2
    UPGRADES: ClassVar = {1: _judgement_1}
    ON_ONE_LINE: ClassVar[bool] = True
    mend: ClassVar[str] = "Judge the run again (`nocturne judge RUN_DIR`)"

    verdict: Verdict
    findings: tuple[Finding, ...]
    rows_in: int
    rows_out: int
    quarantined: int
    quality: QualityResult
    drift: DriftResult
    seconds: dict[str, float] = field(default_factory=dict)
    mlflow_run_id: str | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """What was found, in words."""
        return tuple(finding.reason for finding in self.findings)

    def verdict_of(self, subject: str) -> Verdict:
        """By the findings about ``quality`` or ``drift`` alone."""
        return verdict_of(self.findings, subject)


@dataclass(frozen=True)
class Logged(Stored):
    """The MLflow run of a night that was published before MLflow answered: ``logged.json``."""

    mend: ClassVar[str] = "Move it away and judge the partition again"

    mlflow_run_id: str


@dataclass(frozen=True)
class OutputFile:
    """A published file; ``path`` is relative to the partition."""

    path: str
    sha256: str
    size: int
    rows: int
    split: str


@dataclass(frozen=True)
class StoredFile:
    """A file of the partition's state, by its path below it.

    ``sha256`` is empty in what an earlier version wrote, which kept none.
    """

    path: str
    sha256: str = ""


_COPIED = {
    "config_digest",
    "drift",
    "drift_baseline",
    "drift_history",
    "drift_paged",
    "drift_segments",
    "drift_segments_alarmed",
    "drift_verdict",
    "encoding_sha256",
    "format",
    "input_dir",
    "inputs",
    "mlflow_run_id",
    "pinned",
    "quality_verdict",
    "reasons",
    "report",
}
"""What version 1 copied from run and judgement."""


def _manifest_1(fields: Fields) -> Fields:
    """What was copied from run and judgement is read where it lies."""
    if fields["format"] != 2:
        raise ValueError(f"format: it says {fields['format']}")
    folder = f"runs/{fields['run_key'][:16]}"
    columns = _alarmed(fields["drift"])
    kept = {name: value for name, value in fields.items() if name not in _COPIED}
    return kept | {
        "findings": _findings(dict(fields), columns),
        "run": {"path": f"{folder}/run.json"},
        "judgement": {"path": f"{folder}/judgement.json"},
        "model": fields["model"] | {"path": ""},
    }


@dataclass(frozen=True)
class Manifest(Stored):
    """What was published: which files, of which run, with which judgement.

    ``id`` is the commit number and the run key. ``run`` and ``judgement`` name the files that say
    what the scores were made from, and what was found of them. ``restores``: after a rollback,
    the manifest whose files returned; ``approved_by`` then rolled it back. ``score_summary``: of
    each numeric output. ``precision_error``: the largest difference to float32, by output.
    ``output_version`` is the run's.
    """

    VERSION: ClassVar[int] = 2
    UPGRADES: ClassVar = {1: _manifest_1}
    mend: ClassVar[str] = (
        "Put back a copy of it. Without one move it away, and if it is of the scores in force, "
        "those too; then run the partition again"
    )

    id: ManifestId
    number: int
    pipeline: str
    partition: Partition
    run_key: str
    content_key: str
    replaces: ManifestId | None
    published: Time
    approved_by: str | None
    model: ModelRef
    environment: dict[str, str]
    run: StoredFile
    judgement: StoredFile
    outputs: tuple[OutputFile, ...]
    quarantine: tuple[OutputFile, ...]
    rows_in: int
    rows_published: int
    rows_quarantined: int
    verdict: Verdict
    findings: tuple[Finding, ...]
    score_summary: dict[str, dict[str, float]]
    seconds: dict[str, float]
    precision_error: dict[str, float] = field(default_factory=dict)
    restores: ManifestId | None = None
    output_version: int = 2

    @property
    def reasons(self) -> tuple[str, ...]:
        """What was found, in words."""
        return tuple(finding.reason for finding in self.findings)

    @property
    def pages(self) -> bool:
        """Whether a person should look at its drift."""
        return any(finding.rule == "drift.page" for finding in self.findings)

    @property
    def drifted(self) -> tuple[str, ...]:
        """The columns that drifted in the whole."""
        found = (f.columns for f in self.findings if f.rule == "drift.columns")
        return next(found, ())

    def verdict_of(self, subject: str) -> Verdict:
        """By the findings about ``quality`` or ``drift`` alone."""
        return verdict_of(self.findings, subject)


@dataclass(frozen=True)
class PublishedNight:
    """A manifest in force, with the judgement that it names."""

    manifest: Manifest
    judgement: Judgement

    @property
    def key(self) -> str:
        """The partition's key."""
        return self.manifest.partition.key


@dataclass(frozen=True)
class Accepted(Stored):
    """Who counted the drift of a published manifest as ordinary, and when."""

    by: str
    at: Time
    manifest: ManifestId


@dataclass(frozen=True)
class Decision(Stored):
    """Who decided about a held run, when and (of a rejection) why."""

    mend: ClassVar[str] = "Move it away and decide again (`nocturne approve` or `nocturne reject`)"

    by: str
    at: Time
    why: str = ""
