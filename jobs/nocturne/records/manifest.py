"""The judgement of a night, and the manifest of its published scores."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from nocturne.codec import Stored
from nocturne.records.arms import Served
from nocturne.records.drift import DriftResult, from_flat
from nocturne.records.findings import Finding, Verdict, verdict_of
from nocturne.records.partition import Partition
from nocturne.records.plan import ModelRef
from nocturne.records.quality import QualityResult
from nocturne.records.texts import ManifestId, Time
from nocturne.records.volume import Volume

__all__ = [
    "Accepted",
    "Columns",
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
"""How the reasons of each rule begin: records of version 1 have reasons but no rules."""


def _findings(fields: Fields, columns: list[str]) -> list[Fields]:
    """The findings for the reasons and verdicts of version 1."""
    findings = []
    for reason in fields.pop("reasons"):
        rule = next((name for pattern, name in _RULES if pattern.match(reason)), "person.hold")
        verdict = "hold" if rule == "person.hold" else fields[f"{rule.partition('.')[0]}_verdict"]
        if rule == "quality.quarantined" and "within the limit" in reason:
            verdict = "ok"
        if rule == "drift.segments":
            verdict = "warn"
        columns_drifted = columns if rule == "drift.columns" else []
        findings.append(
            {"rule": rule, "verdict": verdict, "reason": reason, "columns": columns_drifted}
        )
    del fields["quality_verdict"], fields["drift_verdict"]
    return findings


def _alarmed(columns: Any) -> list[str]:
    return [column["column"] for column in columns if column["alarmed"]]


def _by_name(drift: Fields) -> Fields:
    """The drift with the metrics of all columns by name; in version 1 each had a field."""
    segments = [
        segment | {"columns": [from_flat(column) for column in segment["columns"]]}
        for segment in drift.get("segments", ())
    ]
    columns = [from_flat(column) for column in drift["columns"]]
    return drift | {"columns": columns, "segments": segments}


def _judgement_1(fields: Fields) -> Fields:
    """Reasons become findings, and metrics get names. The profile already had its own file."""
    fields = {"quality_verdict": "ok", "drift_verdict": "ok", **fields}
    fields["findings"] = _findings(fields, _alarmed(fields["drift"]["columns"]))
    fields["drift"] = _by_name(fields["drift"])
    docs = fields["quality"].get("data_docs")
    if docs:
        _, name, page = docs.rpartition("data_docs/")
        fields["quality"] = fields["quality"] | {"data_docs": name + page}
    for removed in ("profile", "report"):
        fields.pop(removed, None)
    return fields


@dataclass(frozen=True)
class Judgement(Stored):
    """The verdict of a night and its findings: the content of ``judgement.json``.

    ``by``: who wanted it judged again; "" for the first time. ``volume``: None if the night was
    judged before rows were compared.
    """

    VERSION: ClassVar[int] = 2
    UPGRADES: ClassVar = {1: _judgement_1}
    ON_ONE_LINE: ClassVar[bool] = True
    mend: ClassVar[str] = (
        "Put back a copy of it. Without one, judge the run again (`nocturne judge RUN_DIR`), or, "
        "if it is published, score the partition again with --force"
    )

    verdict: Verdict
    findings: tuple[Finding, ...]
    rows_in: int
    rows_out: int
    quarantined: int
    quality: QualityResult
    drift: DriftResult
    seconds: dict[str, float] = field(default_factory=dict)
    mlflow_run_id: str | None = None
    by: str = ""
    volume: Volume | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons of all findings."""
        return tuple(finding.reason for finding in self.findings)

    def verdict_of(self, subject: str) -> Verdict:
        """The verdict by the findings about ``quality`` or ``drift`` alone."""
        return verdict_of(self.findings, subject)


@dataclass(frozen=True)
class Logged(Stored):
    """The MLflow run of a night that was published before MLflow answered: ``logged.json``."""

    mend: ClassVar[str] = "Move it away and judge the partition again"

    mlflow_run_id: str


@dataclass(frozen=True)
class OutputFile:
    """A published file; ``path`` is relative to the partition.

    ``result``: the SHA-256 of the record with its split's counts and statistics, which later nights
    may take over; "" if there is none.
    """

    path: str
    sha256: str
    size: int
    rows: int
    split: str
    result: str = ""


@dataclass(frozen=True)
class StoredFile:
    """A file of the partition's state, by its path below it.

    ``sha256`` is empty if an earlier version wrote the record.
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
"""The fields that version 1 copied from the run and its judgement."""


def _manifest_1(fields: Fields) -> Fields:
    """Copied fields are dropped, since they are read from the run and its judgement."""
    if fields["format"] != 2:
        raise ValueError(f"format: got {fields['format']}, expected 2")
    folder = f"runs/{fields['run_key'][:16]}"
    columns = _alarmed(fields["drift"])
    kept = {name: value for name, value in fields.items() if name not in _COPIED}
    return kept | {
        "findings": _findings(dict(fields), columns),
        "run": {"path": f"{folder}/run.json"},
        "judgement": {"path": f"{folder}/judgement.json"},
        "model": fields["model"] | {"path": ""},
    }


def _manifest_2(fields: Fields) -> Fields:
    """Nothing was adopted before version 3."""
    return fields


@dataclass(frozen=True)
class Manifest(Stored):
    """Published scores: their files, their run and their judgement.

    ``id`` consists of the commit number and the run key. ``run`` and ``judgement`` refer to the
    files with the plan of the run and with its judgement. ``restores``: after a rollback, the
    manifest whose files are in force again; ``approved_by`` is then who rolled back.
    ``score_summary``: numeric output -> quantiles and mean. ``precision_error``: output -> largest
    difference to float32. ``output_version``: that of the run. ``input_version``: what the input
    calls the version that was scored, if it has versions. ``adopted``: another program wrote
    its files; "files": they have the rows of the manifest that it replaces, "rows": they may have
    others, which ``approved_by`` took as they are. The ``content_key`` is then "", or says which
    rows they were if their files were written anew since. ``arms``: how its keys were shared with a
    canary, or between the models of a split. ``profile_sha256``: of the file with its statistics,
    which may become a baseline. ``signature``: over all the rest, by who published it
    (``nocturne.table.signatures``).
    """

    VERSION: ClassVar[int] = 3
    UPGRADES: ClassVar = {1: _manifest_1, 2: _manifest_2}
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
    adopted: Literal["", "files", "rows"] = ""
    input_version: str = ""
    arms: Served | None = None
    profile_sha256: str = ""
    signature: str = ""

    @property
    def others(self) -> tuple[str, ...]:
        """The versions that had a share of the keys: ``8 (5 %)``."""
        arms = self.arms.in_it if self.arms else ()
        return tuple(f"{arm.version} ({arm.percent:g} %)" for arm in arms)

    @property
    def versions(self) -> str:
        """The versions that scored it: ``7``, or ``7 + 8 (5 %)``."""
        return " + ".join([str(self.model.version), *self.others])

    @property
    def own_key(self) -> str:
        """The key of its splits without arms, by which challengers know it."""
        return (self.arms.own_key if self.arms else "") or self.run_key

    @property
    def content(self) -> tuple[str, str]:
        """Manifests with equal ones have the same rows."""
        if self.adopted != "rows":
            return self.run_key, ""
        hashes = sorted(file.sha256 for file in self.outputs)
        return self.run_key, self.content_key or " ".join(["adopted", *hashes])

    @property
    def kept_key(self) -> str:
        """The ``content_key`` of a manifest whose files have the same rows in other bytes."""
        return self.content_key or self.content[1]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons of all findings."""
        return tuple(finding.reason for finding in self.findings)

    @property
    def pages(self) -> bool:
        """Whether a person should look at its drift."""
        return any(finding.rule == "drift.page" for finding in self.findings)

    @property
    def drifted(self) -> tuple[str, ...]:
        """The columns that drifted in the whole night."""
        drifted = (f.columns for f in self.findings if f.rule == "drift.columns")
        return next(drifted, ())

    def verdict_of(self, subject: str) -> Verdict:
        """The verdict by the findings about ``quality`` or ``drift`` alone."""
        return verdict_of(self.findings, subject)


@dataclass(frozen=True)
class Columns(Stored):
    """``columns.json`` of a pipeline: the predictions that nights have had -> their types."""

    mend: ClassVar[str] = "Move it away"

    types: dict[str, str]


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
    """Who accepted the drift of a published manifest as ordinary, and when."""

    by: str
    at: Time
    manifest: ManifestId


@dataclass(frozen=True)
class Decision(Stored):
    """Who decided about a held run, when and, if it was rejected, why.

    ``unanswered``: nobody decided before the deadline.
    """

    mend: ClassVar[str] = "Move it away and decide again (`nocturne approve` or `nocturne reject`)"

    by: str
    at: Time
    why: str = ""
    unanswered: bool = False
