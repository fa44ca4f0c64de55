"""What the rooms hand each other: frozen dataclasses, stored as JSON that a person can open.

``dump`` and ``load`` turn any of them into JSON and back; unknown or missing fields are
refused, so that a state directory of another format is noticed and not misread.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, cast

from nocturne.errors import StateError
from nocturne.failpoints import reach
from nocturne.texts import Key, ManifestId, Sketch, Time

if TYPE_CHECKING:
    from pydantic import TypeAdapter

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
    "Split",
    "SplitResult",
    "Table",
    "Tuning",
    "VerdictName",
    "condition_columns",
    "content",
    "dump",
    "find",
    "load",
    "read",
    "strange",
    "strange_output",
    "write",
]

STATE_FORMAT = 2
"""Raised whenever a stored record changes shape."""

VerdictName = Literal["ok", "warn", "hold", "fail"]
Kind = Literal["numeric", "category"]


@dataclass(frozen=True)
class Partition:
    """One night: ``keys`` as in the path, ``key`` as people and Airflow write it."""

    key: Key
    keys: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        """Below the table: ``ds=2013-04-01/hour=05``, or "" for an unpartitioned table."""
        return "/".join(f"{name}={value}" for name, value in self.keys)

    @property
    def state_path(self) -> str:
        """Below the pipeline's state: as ``path``, with a name for an unpartitioned table."""
        return self.path or "all"


@dataclass(frozen=True)
class ModelRef:
    """A registered model version, pinned. ``path`` is the verified local copy."""

    name: str
    version: int
    selector: str
    backend: Literal["torch", "torch_pickled", "pyfunc"]
    sha256: str
    path: str
    run_id: str | None = None
    model_id: str | None = None
    flavors: tuple[str, ...] = ()


TABLE_MARK = "://"
"""Between a table's name and its file's path. A relative path has no double slash."""


@dataclass(frozen=True)
class InputFile:
    """A file of the input partition, or (``table://path``) of a table that its query joins.

    ``blake3`` (of its bytes, in hex) costs less than half the time of sha256, which counts on
    what is read whole every night; ``b3sum`` prints the same.
    """

    path: str
    blake3: str
    size: int
    mtime_ns: int
    inode: int
    rows: int


@dataclass(frozen=True)
class Split:
    """Whole row groups of one input file. ``first_row`` counts from the file's start."""

    index: int
    key: str
    file: str
    row_groups: tuple[int, ...]
    first_row: int
    rows: int


@dataclass(frozen=True)
class Pinned:
    """What decides bits, fixed before the first split is scored.

    ``kernel`` names how the model is run (see ``nocturne.engine.KERNELS``), ``micro_batch``
    the rows that go through it at once, ``batch_rows`` those that are read at once.
    """

    device: str
    micro_batch: int
    threads: int
    precision: str
    batch_rows: int
    kernel: str = "graph"


@dataclass(frozen=True)
class Query:
    """What Spark reads for a run whose reader it is: files of any format, through SQL if given.

    ``tables`` maps the names that the SQL uses, beside ``input``, to their folders.
    """

    format: str
    options: dict[str, str]
    sql: str | None
    tables: dict[str, str]


@dataclass(frozen=True)
class Tuning:
    """What the search found fastest for a model, device and row width, and how fast it was.

    ``seconds_per_million`` maps ``kernel/micro_batch`` to the measured seconds for a million
    rows; ``found`` says whether it was measured, or is where a search would start.
    """

    kernel: str
    micro_batch: int
    found: bool
    seconds_per_million: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measure:
    """What an expectation wants to know of a table's rows, counted while they are scored.

    ``kind``: ``rows``; ``missing`` (null or NaN); ``column_rule`` and ``row_rule``: how many rows
    are not as ``rule`` says, with ``args``; ``moments``; ``values``, each with its number. Only
    rows for which ``condition`` holds count, and for several columns those that ``ignore`` leaves.
    """

    kind: Literal["rows", "missing", "column_rule", "row_rule", "moments", "values"]
    columns: tuple[str, ...] = ()
    rule: str = ""
    args: dict[str, Any] = field(default_factory=dict)
    condition: dict[str, Any] | None = None
    ignore: str = ""

    def reads(self) -> set[str]:
        """The columns that it reads."""
        return {*self.columns, *condition_columns(self.condition)}

    @property
    def key(self) -> str:
        """Equal for measures that count the same."""
        return json.dumps(vars(self), sort_keys=True, default=str)


def condition_columns(condition: Any) -> Iterator[str]:
    """The columns that a row condition reads."""
    if isinstance(condition, Mapping):
        if "column" in condition:
            yield condition["column"]["name"]
        for part in condition.get("conditions") or ():
            yield from condition_columns(part)


@dataclass(frozen=True)
class Measured:
    """What came out of a measure. Infinite numbers are words, times ISO text.

    ``squares`` are around the mean; ``type`` is the first column's Arrow type; ``beyond`` says
    that there are more distinct ``values`` than are told apart.
    """

    rows: int = 0
    missing: int = 0
    unexpected: int = 0
    examples: tuple[Any, ...] = ()
    total: int | float | str | None = None
    squares: float | str | None = None
    minimum: Any = None
    maximum: Any = None
    values: tuple[tuple[Any, int], ...] = ()
    beyond: bool = False
    type: str = ""


@dataclass(frozen=True)
class Table:
    """What is known of a run's ``input`` or ``output`` before it is scored.

    ``schema``: Arrow's, as base64 of its IPC form; ``measures``: what is counted of its rows.
    """

    schema: str
    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class Run:
    """Everything that scoring a partition needs: the content of ``run.json``.

    ``run_key`` names the run; it is ``content_key`` (model, settings, input) unless the same
    contents are scored once more, by force or because published files were lost. A run with
    a ``query`` is planned as one split, of rows that only Spark can count. ``segments``: column
    -> the values whose rows are profiled apart too. ``hold``: why a person must look before it is
    published, whatever the checks say. ``caller``: what started it, if not a command: versions of
    Airflow, of its Nocturne and of the DAG's bundle. ``output_version``: see
    ``nocturne.plan``; runs of before it was written down were of 2. ``types``: of the columns that
    come without one in some files, since all their values are null; a schema as
    ``nocturne.normal`` packs it. ``path_keys``: columns that are keys of the files' paths (see
    ``nocturne.path_columns``).
    """

    mend: ClassVar[str] = "Move its folder away and run the partition again"

    format: int
    pipeline: str
    partition: Partition
    run_key: str
    content_key: str
    run_dir: str
    input_dir: str
    output_dir: str
    state_dir: str
    model: ModelRef
    encoding: dict[str, Any]
    pinned: Pinned
    keys: tuple[str, ...]
    passthrough: tuple[str, ...]
    files: tuple[InputFile, ...]
    splits: tuple[Split, ...]
    profile_centers: dict[str, float | int | None]
    based_on: str | None
    config_digest: str
    config: dict[str, Any]
    created: Time
    query: Query | None = None
    cast_text: bool = False
    tables: dict[str, Table] = field(default_factory=dict)
    unique_keys: bool = False
    segments: dict[str, tuple[str, ...]] = field(default_factory=dict)
    hold: str = ""
    caller: dict[str, str] = field(default_factory=dict)
    output_version: int = 2
    types: str = ""
    path_keys: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(split.rows for split in self.splits)

    def reads(self, features: Sequence[str]) -> list[str]:
        """What is read of the input, each column once, if it is there."""
        asked = (name for measure in self.measures("input") for name in measure.reads())
        return list(dict.fromkeys((*self.keys, *self.passthrough, *features, *sorted(asked))))

    @property
    def sensitive(self) -> frozenset[str]:
        """The columns whose values are shown nowhere (``quality.sensitive``)."""
        return frozenset(self.config.get("quality", {}).get("sensitive", ()))

    @property
    def casts(self) -> dict[str, str]:
        """``input.cast``: as what the model sees a column."""
        return dict(self.config.get("input", {}).get("cast", {}))

    @property
    def costly(self) -> bool:
        """Whether the model's calls cost (``model.calls``): then it is given each row once."""
        return bool(self.config.get("model", {}).get("calls") == "costly")

    @property
    def checksums(self) -> bool:
        """Whether pages of the input are compared with their checksums."""
        return bool(self.config.get("input", {}).get("checksums", True))

    def measures(self, table: str) -> tuple[Measure, ...]:
        """What is counted of the rows of ``input`` or ``output``."""
        return self.tables[table].measures if table in self.tables else ()


@dataclass(frozen=True)
class ColumnProfile:
    """Mergeable statistics of one column.

    ``counts`` maps a bucket id (numeric, see ``nocturne.buckets``) or a value (category) to
    its exact number of rows; ``other`` are category rows beyond the cap on distinct values, of
    which there are about ``distinct`` in all (``sketch`` says, and can be merged).
    ``null`` includes neither ``nan`` nor the counted rows. A ``center`` that is an integer is
    subtracted exactly, also where float64 would round. ``away``: the mean of the finite values
    less ``center``; None for a category. Records of before have the sum of the values, ``total``,
    and of their squares instead: of large values such sums forget how they differ.
    """

    kind: Kind
    rows: int
    null: int
    counts: dict[str, int]
    nan: int = 0
    other: int = 0
    center: float | int = 0.0
    total: float = 0.0
    total_squares: float = 0.0
    minimum: float | int | None = None
    maximum: float | int | None = None
    distinct: int | None = None
    sketch: Sketch = ""
    away: float | None = None

    @property
    def finite(self) -> int:
        """Rows of a numeric column with a finite value."""
        return sum(self.counts.values()) if self.kind == "numeric" else 0

    @property
    def mean(self) -> float | None:
        """Of the finite values; None without any. Rounding takes no mean out of their range."""
        if not self.finite:
            return None
        mean = self.center + (mean_away([self]) or 0.0)
        mean = mean if self.maximum is None else min(mean, self.maximum)
        return float(mean if self.minimum is None else max(mean, self.minimum))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Called by pydantic when its adapter is made: reading one checks it whole."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_counted, handler(source))


def _counted(column: ColumnProfile) -> ColumnProfile:
    """Raises: ValueError where a count is negative, or is that of no bucket."""
    numeric = column.kind == "numeric"
    for bucket, rows in column.counts.items():
        if rows < 0 or (numeric and not (bucket.isdecimal() and len(bucket) <= 5)):
            raise ValueError(f"counts: got {bucket[:20]!r}: {rows}, expected buckets and rows")
    return column


def mean_away(parts: Sequence[ColumnProfile]) -> float | None:
    """``ColumnProfile.away`` of all rows of some parts, which have one centre.

    Merged in the order given, by weights that are shares: no sum of large numbers is made.
    """
    rows, mean = 0, 0.0
    for part in parts:
        if part.finite:
            away = part.total / part.finite - part.center if part.away is None else part.away
            mean = mean_of_both(rows, mean, part.finite, away)
            rows += part.finite
    return mean if any(part.kind == "numeric" for part in parts) else None


def mean_of_both(rows: int, mean: float, more: int, other: float) -> float:
    """The mean of ``rows`` values and ``more`` others, which is not 0, from the mean of each."""
    share = more / (rows + more)
    return mean * (1 - share) + other * share


@dataclass(frozen=True)
class Profile:
    """Statistics of a partition (or split): input features and predictions by column.

    ``segments`` holds the same of the rows with one value of a category: ``origin=JFK``.
    """

    rows: int
    columns: dict[str, ColumnProfile]
    segments: dict[str, Profile] = field(default_factory=dict)


def segment_name(column: str, value: str) -> str:
    """How the rows with ``value`` in ``column`` are called."""
    return f"{column}={value}"


@dataclass(frozen=True)
class ColumnBaseline:
    """How a column looked in training, in the bins that drift compares.

    ``edges``: for numeric columns the sorted bucket ranks at which a new bin starts;
    ``values``: for categories the values with a bin of their own. Every count vector has
    one entry a bin, then one for "other" (categories outside ``values``, zero for numbers),
    then one for nulls (and NaN). ``partitions`` holds one such vector a training partition.
    """

    kind: Kind
    center: float | int
    edges: tuple[int, ...]
    values: tuple[str, ...]
    counts: tuple[int, ...]
    partitions: dict[str, tuple[int, ...]]
    known: tuple[str, ...] = ()
    profile: ColumnProfile | None = None


@dataclass(frozen=True)
class Baseline:
    """The profile of the training data, logged with the model as ``baseline.json``.

    ``importance``: of the features, in any unit; those without one weigh as the mean of the rest.
    ``segments``: segment (``origin=JFK``) -> its columns.
    """

    version: int
    columns: dict[str, ColumnBaseline]
    outputs: tuple[str, ...] = ()
    importance: dict[str, float] = field(default_factory=dict)
    segments: dict[str, dict[str, ColumnBaseline]] = field(default_factory=dict)


RAISED = "the model raised "
"""How the reason of a row begins on which the model raised."""
_STRANGE = re.compile(
    r"the prediction (?P<output>.*) is no (?P<type>\w+(?:\[[a-z][\w, ]*\])?)(?P<length>\[\d+\])?",
    re.DOTALL,
)


def strange(output: str, type_: str) -> str:
    """The reason of a row whose prediction is not of its column's type, or of another length."""
    return f"the prediction {output} is no {type_}"


def strange_output(reason: str) -> tuple[str, str, str] | None:
    """Output, type and length (``[3]``, or "") of a reason that ``strange`` made, else None."""
    found = _STRANGE.fullmatch(reason)
    return (found["output"], found["type"], found["length"] or "") if found else None


@dataclass(frozen=True)
class SplitResult:
    """What one split came to; its file's existence decides which attempt counts.

    ``started`` and ``finished`` are seconds since 1970, equal if the split was taken over.
    ``micro_batch`` is the pinned one unless the device's memory ran out.
    ``precision_error``: the largest difference to float32 in the first batch, by output; only
    of the first split, and empty in float32. ``measured``: table -> a measure's key -> answer.
    """

    mend: ClassVar[str] = "Run the partition again: it scores the split again"

    key: str
    index: int
    file: str
    rows_in: int
    rows_out: int
    sha256: str
    size: int
    quarantined: int
    quarantine_file: str | None
    reasons: dict[str, int]
    started: float
    finished: float
    profile: Profile
    micro_batch: int = 0
    precision_error: dict[str, float] = field(default_factory=dict)
    measured: dict[str, dict[str, Measured]] = field(default_factory=dict)

    @property
    def by_model(self) -> dict[str, int]:
        """Of the reasons those that may be the model's fault: it raised, or gave another type."""
        return {
            why: rows
            for why, rows in self.reasons.items()
            if why.startswith(RAISED) or strange_output(why) is not None
        }


@dataclass(frozen=True)
class Expectation:
    """One evaluated expectation, in words."""

    suite: str
    type: str
    column: str | None
    success: bool
    observed: str
    detail: str


@dataclass(frozen=True)
class QualityResult:
    """Great Expectations' answers; ``data_docs`` is the path of the HTML index, if made."""

    expectations: tuple[Expectation, ...] = ()
    data_docs: str | None = None

    @property
    def failed(self) -> tuple[Expectation, ...]:
        return tuple(e for e in self.expectations if not e.success)


@dataclass(frozen=True)
class FeatureDrift:
    """One column against its baseline. Rates are fractions of rows; ``js`` is a distance.

    ``wasserstein`` is in standard deviations of the baseline; 0 if that has none (a constant), and
    for a category, as is ``ks``, which needs an order.
    """

    column: str
    kind: Kind
    is_output: bool
    psi: float
    js: float
    threshold: float
    alarmed: bool
    null_rate: float
    baseline_null_rate: float
    new_rate: float
    new_values: tuple[str, ...]
    counts: tuple[int, ...]
    wasserstein: float = 0.0
    ks: float = 0.0
    linf: float = 0.0

    @property
    def excess(self) -> float:
        """PSI over threshold; a floor of 0 on equal, endless samples leaves no threshold."""
        return self.psi / self.threshold if self.threshold else float(self.psi > 0)


@dataclass(frozen=True)
class SegmentDrift:
    """The columns of a segment's rows (``origin=JFK``), worst first."""

    name: str
    rows: int
    columns: tuple[FeatureDrift, ...]


@dataclass(frozen=True)
class DriftResult:
    """All columns, worst first (by PSI over threshold); empty without a baseline.

    ``paged``: the score drifted, or so many features that a person should look. ``share``: of
    the features that drifted, weighted by importance. ``reference`` says in words what the night
    was compared with, ``baseline`` the nights (partition:manifest) if it was made of published
    ones, ``history`` which earlier nights counted as ordinary.
    ``segments`` are those with the most drifted columns first.
    """

    columns: tuple[FeatureDrift, ...] = ()
    note: str = ""
    paged: bool = False
    share: float = 0.0
    reference: str = ""
    history: tuple[str, ...] = ()
    segments: tuple[SegmentDrift, ...] = ()
    baseline: tuple[str, ...] = ()

    @property
    def alarmed(self) -> tuple[FeatureDrift, ...]:
        return tuple(c for c in self.columns if c.alarmed)

    @property
    def only_in_segments(self) -> tuple[tuple[SegmentDrift, FeatureDrift], ...]:
        """Columns that drifted in a segment and not in the whole, worst first."""
        known = {c.column for c in self.alarmed}
        found = [
            (segment, column)
            for segment in self.segments
            for column in segment.columns
            if column.alarmed and column.column not in known
        ]
        return tuple(sorted(found, key=lambda pair: -pair[1].excess))


@dataclass(frozen=True)
class Judgement:
    """The night in one word, with its reasons in plain ones: ``judgement.json``."""

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


@dataclass(frozen=True)
class Format:
    """The format of a pipeline's state: ``format.json``."""

    mend: ClassVar[str] = "Put back a copy of it, or use another output.path"

    format: int


T = TypeVar("T")

_MOST_BYTES = 1 << 30
"""Of a record: what is larger is none. The largest ones, with profiles, have some megabytes."""
_MEND = "Move it away and run the partition again"


@lru_cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Building one takes milliseconds, and a worker reads records for every split.

    Imported here, so that the engine runs where there is no pydantic.
    """
    from pydantic import ConfigDict, TypeAdapter, with_config

    if is_dataclass(kind) and not hasattr(kind, "__pydantic_config__"):
        with_config(ConfigDict(extra="forbid", allow_inf_nan=False))(kind)
    return TypeAdapter(kind)


def dump(record: Any) -> str:
    """JSON with sorted keys, so that equal records are equal bytes. NaN is refused.

    Records with a profile, thousands of numbers, go on one line.
    """
    indent = None if isinstance(record, (SplitResult, Profile, Judgement, Baseline)) else 1
    return (
        json.dumps(
            record,
            sort_keys=True,
            indent=indent,
            allow_nan=False,
            ensure_ascii=False,
            default=_stored,
        )
        + "\n"
    )


def _stored(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else vars(value)


def load(kind: type[T], text: str | bytes, source: str = "text") -> T:
    """The record that ``dump`` wrote.

    Raises:
        StateError: the JSON is not such a record; names ``source``, the field and what to do.
    """
    from pydantic import ValidationError

    try:
        found: T = _adapter(cast(Any, kind)).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        said = f"{where}: {first['msg'].removeprefix('Value error, ')}"
        raise _damaged(kind, source, said) from None
    if isinstance(found, (Run, Manifest)) and found.format != STATE_FORMAT:
        raise _damaged(kind, source, f"format: it says {found.format}")
    return found


def _damaged(kind: type[Any], source: str, why: str) -> StateError:
    return StateError(
        f"{source} is not a {kind.__name__} of state format {STATE_FORMAT}: {why}. It was written "
        f"by another version or is damaged. {getattr(kind, 'mend', _MEND)}",
        source=source,
    )


def find(kind: type[T], path: str | Path) -> T | None:
    """``load`` from a file; None if there is none.

    Raises:
        StateError: it can't be read, or it is not such a record.
    """
    try:
        text = content(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(kind, str(path), f"it can't be read: {error.strerror or error}") from None
    except ValueError as error:  # a path with a null byte, from another damaged record
        raise _damaged(kind, repr(str(path)), str(error)) from None
    return load(kind, text, str(path))


def content(path: str | Path) -> bytes:
    """The bytes of a file of the state.

    Raises:
        OSError: there is none, or it is no file (a pipe would be waited for, a device never ends).
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        there = os.fstat(file.fileno())
        if not stat.S_ISREG(there.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if there.st_size > _MOST_BYTES:
            raise OSError(errno.EFBIG, f"{there.st_size:,} bytes", str(path))
        return file.read()


def read(kind: type[T], path: str | Path) -> T:
    """``load`` from a file.

    Raises:
        StateError: there is no such file, or it is not such a record.
    """
    found = find(kind, path)
    if found is None:
        raise StateError(
            f"{path} does not exist; expected a {kind.__name__}. Run the step that writes it "
            "(`nocturne prepare`, then score, judge, publish).",
            source=str(path),
        )
    return found


def write(path: str | Path, record: Any, *, exclusive: bool = False, durable: bool = True) -> bool:
    """Write a record whole or not at all; with ``exclusive`` the first writer wins.

    ``durable`` survives a power failure, at the price of a wait for the disk.

    Returns:
        False if ``exclusive`` and the file was there already (it is left as it was).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(dump(record))
        file.flush()
        if durable:
            os.fsync(file.fileno())
    reach("record.written")
    if not exclusive:
        os.replace(temporary, path)
        return True
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    return True
