"""What the rooms hand each other: frozen dataclasses, stored as JSON that a person can open."""

from nocturne.records.codec import STATE_FORMAT, Format, damaged, dump, load
from nocturne.records.drift import Baseline, ColumnBaseline, DriftResult, FeatureDrift, SegmentDrift
from nocturne.records.manifest import Decision, Judgement, Manifest, OutputFile, VerdictName
from nocturne.records.plan import (
    TABLE_MARK,
    InputFile,
    ModelRef,
    Partition,
    Pinned,
    Query,
    Run,
    Split,
    Table,
    Tuning,
)
from nocturne.records.profile import (
    ColumnProfile,
    Kind,
    Profile,
    mean_away,
    mean_of_both,
    segment_name,
)
from nocturne.records.quality import (
    Expectation,
    Measure,
    Measured,
    QualityResult,
    condition_columns,
)
from nocturne.records.result import RAISED, SplitResult, strange, strange_output

__all__ = [
    "RAISED",
    "STATE_FORMAT",
    "TABLE_MARK",
    "Baseline",
    "ColumnBaseline",
    "ColumnProfile",
    "Decision",
    "DriftResult",
    "Expectation",
    "FeatureDrift",
    "Format",
    "InputFile",
    "Judgement",
    "Kind",
    "Manifest",
    "Measure",
    "Measured",
    "ModelRef",
    "OutputFile",
    "Partition",
    "Pinned",
    "Profile",
    "QualityResult",
    "Query",
    "Run",
    "SegmentDrift",
    "Split",
    "SplitResult",
    "Table",
    "Tuning",
    "VerdictName",
    "condition_columns",
    "damaged",
    "dump",
    "load",
    "mean_away",
    "mean_of_both",
    "segment_name",
    "strange",
    "strange_output",
]
