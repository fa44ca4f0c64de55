"""What a pipeline YAML may say: typed, frozen, and refusing unknown keys."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from nocturne.config.alerts import Alert
from nocturne.config.local_paths import local_path
from nocturne.config.partitions import is_reversible, period
from nocturne.config.section import Section
from nocturne.table_formats import FORMATS

__all__ = [
    "Drift",
    "Gate",
    "Input",
    "Model",
    "Output",
    "Pipeline",
    "Quality",
    "Ready",
    "Registry",
    "Schedule",
    "Scoring",
    "Slo",
    "Spark",
]

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
Name = Annotated[str, StringConstraints(pattern=rf"^{NAME.pattern}$")]
PathText = Annotated[
    str,
    StringConstraints(min_length=1, pattern=r"^[^\x00-\x1f]+$"),
    AfterValidator(local_path),
]
DEFAULT_POOL = "default_pool"
"""Airflow's own."""
CASTS = ("double", "integer", "boolean", "category", "text", "local", "utc")
"""What ``input.cast`` may name, beside time zones: ``nocturne.fitting.roles`` makes them."""
UNSAID = "unsaid"
"""The type of an error whose value must not be said."""
_SECRET = re.compile(r"(?i)secret|passw|token|access\.?key|account\.key|credential|\bsas\b")
_CREDENTIALS = re.compile(r"(?i)://[^/\s]*@|[?&](user|password|token|key)=")
_KEY = re.compile(r"\{(\w*)\}")
_FORMAT = re.compile(r"(%[YmdHMSjUuVG]|[A-Za-z0-9_.\-])+")


def _table_format(name: str) -> str:
    if name not in FORMATS:
        raise PydanticKnownError("literal_error", {"expected": " or ".join(map(repr, FORMATS))})
    return name


TableFormat = Annotated[
    str, AfterValidator(_table_format), Field(json_schema_extra={"enum": list(FORMATS)})
]
Day = Annotated[dt.date, Field(ge=dt.date(1000, 1, 1), le=dt.date(9998, 12, 31))]
"""There is a day after it, which the schedule needs."""


def _is_zone(name: str) -> bool:
    try:
        return "/" in name and bool(ZoneInfo(name))
    except (KeyError, ValueError, OSError):
        return False


def _text(value: Any) -> Any:
    """YAML's numbers and booleans as Spark writes them."""
    if isinstance(value, dict):
        return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in value.items()}
    return value


def _no_secrets(value: dict[str, str]) -> dict[str, str]:
    found = [k for k, text in value.items() if _SECRET.search(k) or _CREDENTIALS.search(text)]
    if found:
        raise PydanticCustomError(
            UNSAID,
            "{keys} would show in argument lists and in the run directory; give secrets through "
            "the environment or Spark's credential providers instead",
            {"keys": ", ".join(found)},
        )
    return value


Settings = Annotated[dict[str, str], BeforeValidator(_text), AfterValidator(_no_secrets)]
"""What Spark is told by name: text, and no secret."""


class Registry(Section):
    """Where models are registered."""

    tracking_uri: str | None = Field(
        None,
        description="Where MLflow keeps runs and artifacts, and registered models too unless "
        "registry_uri says otherwise. The environment's MLFLOW_TRACKING_URI wins. Credentials "
        "belong in the environment, never here.",
    )
    registry_uri: str | None = Field(
        None,
        description="Where models are registered, if not at tracking_uri. The environment's "
        "MLFLOW_REGISTRY_URI wins.",
    )
    experiment: str | None = Field(
        None, description="MLflow experiment of the nightly runs. Default: nocturne/<pipeline>."
    )

    @field_validator("tracking_uri", "registry_uri")
    @classmethod
    def _no_credentials(cls, value: str | None) -> str | None:
        if value and _CREDENTIALS.search(value):
            raise PydanticCustomError(
                UNSAID,
                "a URI with credentials in it; set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD in the environment instead",
            )
        return value


Names = Annotated[list[str], Field(min_length=1)]
Scalar = bool | int | float | str


class Model(Section):
    """Which registered model scores: by alias, by tags, or by version; and what it is given."""

    name: Annotated[str, StringConstraints(min_length=1, pattern=r"^[^/:.\s][^/:]*$")] = Field(
        description="Registered model name."
    )
    alias: str | None = Field(None, description="For example: champion.")
    tags: dict[str, str] | None = Field(
        None, description="The newest version that carries all of these tags."
    )
    version: int | None = Field(None, ge=1, le=2**31 - 1, description="Exactly this version.")
    allow_pickle: bool = Field(
        False,
        description="Load artifacts that run code when they are loaded (pickle, cloudpickle).",
    )
    calls: Literal["free", "costly"] = Field(
        "free",
        description="costly: a call of the model costs (an API that is paid, a slow pyfunc model), "
        "so each row is given to it once: no trial, no search for micro_batch (auto is 16 rows), "
        "and where a call raises all of its rows are quarantined, not tried one by one.",
    )
    outputs: dict[str, str] = Field(
        {},
        description="What a model gives that does not say it itself, or not rightly: name -> type, "
        "e.g. {label: string, score: double, embedding: 'float[384]'}. Types are boolean, integer, "
        "long, float, double, string, date and datetime, or a vector of one. By name where the "
        "model names what it returns, else in this order.",
    )
    trial_seconds: float = Field(
        60,
        ge=1,
        le=3600,
        description="How long a new version may take to be loaded and to score some rows, in a "
        "process of its own, before anything is scored with it.",
    )
    on_new_model: Literal["nothing", "latest", "hold"] = Field(
        "nothing",
        description="What happens when alias or tags come to mean another version: nothing, until "
        "the next night; latest: the last published partition is scored again; hold: so it is, and "
        "held for a person. A DAG of its own watches the registry.",
    )
    poll_seconds: float = Field(60, ge=1, description="How often on_new_model asks the registry.")
    inputs: Names | Annotated[dict[str, Names | str], Field(min_length=1)] | None = Field(
        None,
        description="For a model whose signature names no columns: those that it takes, in order "
        "([a, b]), by tensor ({x: [a, b], y: [c]}; a column of lists fills one alone), or, without "
        "a signature, with the types that it would say ({a: double, b: string}).",
    )
    params: dict[str, Scalar | list[Scalar]] = Field(
        {}, description="Inference params that the model's signature names, with their values."
    )

    @field_validator("name", mode="before")
    @classmethod
    def _no_uri(cls, value: Any) -> Any:
        if isinstance(value, str) and "/" in value:
            raise ValueError(
                f"got {value!r}, expected the name that a model is registered by, and in lines of "
                "their own alias: champion (or version: 3). What is not registered yet is so by "
                "mlflow.register_model(URI, NAME)"
            )
        return value

    @field_validator("inputs")
    @classmethod
    def _once(cls, value: Any) -> Any:
        given = value.values() if isinstance(value, dict) else [value]
        for names in (n for n in given if isinstance(n, list)):
            if doubled := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"{doubled[0]} is listed twice, expected each column once")
        return value

    @field_validator("params", mode="before")
    @classmethod
    def _dates(cls, value: Any) -> Any:
        """YAML's dates as the text that MLflow reads."""
        if not isinstance(value, dict):
            return value
        return {k: v.isoformat() if isinstance(v, dt.date) else v for k, v in value.items()}

    @field_validator("outputs")
    @classmethod
    def _types(cls, value: dict[str, str]) -> dict[str, str]:
        if value:
            from nocturne.encoding import output_of  # with Arrow, which no DAG file needs

            for name, text in value.items():
                output_of(name, text)
        return value

    @model_validator(mode="after")
    def _one_selector(self) -> Model:
        given = [n for n in ("alias", "tags", "version") if getattr(self, n)]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of alias, tags and version selects the model; got "
                f"{' and '.join(given) or 'none'}"
            )
        if self.version and self.on_new_model != "nothing":
            raise ValueError(
                f"on_new_model: {self.on_new_model} watches an alias or tags; version never changes"
            )
        return self


class Ready(Section):
    """When a partition is complete. Every condition that is given must hold."""

    success_file: bool = Field(False, description="A file named _SUCCESS must be there.")
    min_rows: int = Field(1, ge=0, description="Least number of rows.")
    min_age_minutes: float = Field(
        0, ge=0, description="Minutes since the newest file was last written."
    )
    timeout_minutes: float = Field(
        720, gt=0, description="How long the DAG's sensor waits for the partition."
    )


class Input(Section):
    """The table that is scored."""

    path: PathText = Field(description="Folder of the table; relative to the project.")
    format: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.]*$")] = Field(
        "parquet", description="parquet, or any format that Spark reads (scoring.reader: spark)."
    )
    options: Settings = Field(
        {}, description="Options of Spark's reader, e.g. {header: true} for csv."
    )
    sql: str | None = Field(
        None,
        min_length=1,
        description="What to score, as a Spark SQL query over `input`, the partition, and over "
        "`tables` (scoring.reader: spark).",
    )
    tables: dict[Name, PathText] = Field(
        {},
        description="Folders of other Parquet tables that `sql` uses, by name; partition keys in "
        "braces are filled in, e.g. data/weather/ds={ds}.",
    )
    partition: dict[Name, str] = Field(
        default={"ds": "%Y-%m-%d"},
        description="Partition keys in path order, each with a strftime format or a fixed "
        "value, e.g. {ds: '%Y-%m-%d', hour: '%H'}; {} for an unpartitioned table.",
    )
    cast_text: bool = Field(
        False,
        description="The short form of `cast` for all columns of text: "
        "read text as numbers where the model wants numbers: empty text is null, and "
        "a row with anything else that is no number is quarantined. Without it such files are "
        "refused.",
    )
    cast: dict[str, str] = Field(
        {},
        description="As what the model sees a column, where it can't take it as it is: double, "
        "integer (also whole floats; NaN is null), boolean, category (what the model's vocabulary "
        "holds), text; of times with a time zone local (the clock of their zone), utc, or the "
        "clock of a zone such as Europe/Berlin. A row with a value that the cast would change is "
        "quarantined. Keys, passthrough and expectations keep the column as it is.",
    )
    checksums: bool = Field(
        True,
        description="Compare Parquet pages with their checksums, where the writer left some.",
    )
    ready: Ready = Ready()
    on_missing: Literal["fail", "skip"] = Field(
        "fail", description="What a night without a partition does."
    )

    @model_validator(mode="after")
    def _tables_are_used(self) -> Input:
        if self.tables and not self.sql:
            raise ValueError(
                "tables are for sql, which is not given; write the query, or drop them"
            )
        unknown = sorted(
            {k for t in self.tables.values() for k in _KEY.findall(t)} - set(self.partition)
        )
        if unknown:
            raise ValueError(
                f"tables: {{{unknown[0]}}} is no partition key; there are "
                f"{', '.join(self.partition) or 'none'}"
            )
        return self

    @field_validator("cast")
    @classmethod
    def _targets(cls, value: dict[str, str]) -> dict[str, str]:
        for column, target in value.items():
            if target not in CASTS and not _is_zone(target):
                raise ValueError(
                    f"{column}: {target!r} is no cast; expected {', '.join(CASTS)}, or a time zone "
                    "such as Europe/Berlin"
                )
        return value

    @field_validator("partition")
    @classmethod
    def _formats(cls, value: dict[str, str]) -> dict[str, str]:
        for key, text in value.items():
            if not _FORMAT.fullmatch(text) or text in (".", ".."):
                raise ValueError(
                    f"{key}: {text!r} is not a partition value; use letters, digits, '_', '-', "
                    "'.', and the codes %Y %m %d %H %M %S %j %U %u %V %G"
                )
        if value and not is_reversible(value):
            raise ValueError(
                f"{value} does not lead back from a folder to its day (or hour): each needs a "
                "folder of its own, e.g. {ds: '%Y-%m-%d'} or {year: '%Y', month: '%m', day: '%d'}"
            )
        return value


class Output(Section):
    """The table that is published."""

    path: PathText = Field(description="Folder of the scores; state lies beside it.")
    keys: Annotated[list[str], Field(min_length=1)] = Field(
        description="Columns that identify a row; a null in one quarantines the row."
    )
    passthrough: list[str] = Field([], description="Input columns to copy into the scores.")
    nullable: list[str] | None = Field(
        None,
        description="Predictions that may be null: a row without one of them is published all the "
        "same. Default: all but the model's first output; without that a row is quarantined.",
    )
    format: TableFormat = Field("parquet", description="Table format.")
    keep: int = Field(
        2, ge=0, description="How many replaced versions of a partition stay on disk."
    )

    @model_validator(mode="after")
    def _no_doubles(self) -> Output:
        columns = [*self.keys, *self.passthrough]
        doubled = sorted({c for c in columns if columns.count(c) > 1})
        if doubled:
            raise ValueError(f"columns listed twice in keys and passthrough: {', '.join(doubled)}")
        return self


class Scoring(Section):
    """How rows go through the model."""

    reader: Literal["pyarrow", "spark"] = Field(
        "pyarrow",
        description="pyarrow: each worker reads whole row groups of Parquet files itself. spark: "
        "Spark reads, for input.sql and other formats; slower, and a night is resumed whole.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where the model runs.")
    micro_batch: Literal["auto"] | Annotated[int, Field(ge=64, le=1 << 20)] = Field(
        "auto",
        description="Rows through the model at once; tails are padded. auto: measured once for "
        "a model, device and row width.",
    )
    kernel: Literal["auto", "graph", "onednn"] = Field(
        "auto",
        description="How the model is run: operator by operator, or with linear layers packed "
        "for oneDNN. auto: the faster one, measured with micro_batch.",
    )
    batch_rows: int = Field(
        65_536,
        ge=64,
        le=1 << 24,
        description="Rows read at once; fewer where the rows are wide (32 MiB a batch).",
    )
    threads: int = Field(
        1, ge=1, le=256, description="Cores of a Spark task, and torch's threads in it."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Of the model's weights and arithmetic. bfloat16 is faster where the CPU or "
        "GPU has it; its error against float32 is put in the manifest.",
    )
    split_rows: int = Field(1_000_000, ge=1, description="About how many rows a split holds.")
    split_mb: int = Field(256, ge=1, description="About how many MiB on disk a split holds.")


class Quality(Section):
    """When a night is good enough."""

    input_suite: PathText | None = Field(
        None, description="Great Expectations suite for the input, in conf/expectations/."
    )
    output_suite: PathText | None = Field(
        None, description="Great Expectations suite for the scores, in conf/expectations/."
    )
    scan: Literal["none", "pandas", "spark"] = Field(
        "none",
        description="none: expectations are answered from what is counted while the rows are "
        "scored. For expectations that counts can't answer the columns that the suites name are "
        "read a second time: pandas, by the driver, whole, into memory; spark, by a Spark session "
        "of its own on spark.master.",
    )
    on_failure: Literal["warn", "hold", "fail"] = Field(
        "hold", description="What a failed expectation does to the night."
    )
    sensitive: list[str] = Field(
        [],
        description="Columns of which Data Docs, reports and quarantine show no values; quarantine "
        "leaves them out, keys too.",
    )
    unique_keys: bool = Field(
        False,
        description="Hold the night if two of its rows have the same output.keys. Exact; takes 8 "
        "bytes a row of the driver's memory.",
    )
    max_quarantined: float = Field(
        0.01, ge=0, le=1, description="Fraction of rows; over it the night is held."
    )


class Span(Section):
    """Published nights of this pipeline, the first and the last partition."""

    first: str
    last: str


class Weeks(Section):
    """The same weekday of so many past weeks, as far as it was published without drift."""

    weeks: int = Field(ge=2, le=53)


class Drift(Section):
    """What drift does."""

    baseline: Literal["model"] | Span | Weeks = Field(
        "model",
        description="What nights are compared with: model, the training data as they were logged "
        "with it; {first: 2013-04-01, last: 2013-06-30}, published nights; or {weeks: 8}, the same "
        "weekday of past weeks (which absorbs what drifts slowly).",
    )

    on_drift: Literal["warn", "hold", "fail"] = Field(
        "warn",
        description="What drift does that a person should look at: the score's own, or that of a "
        "page_share of the features. A single feature only ever warns.",
    )
    page_share: float = Field(
        0.3,
        gt=0,
        le=1,
        description="Share of the features, weighted by importance, whose drift is on_drift's.",
    )
    floor: float = Field(0.02, ge=0, description="No alarm at a PSI below this.")
    segments: list[str] = Field(
        [],
        max_length=2,
        description="Categories, at most two, for each of whose 20 most frequent values drift is "
        "judged apart too: [origin]. Only warns. Such rows are profiled twice.",
    )


class Schedule(Section):
    """When the DAG runs: at midnight (hourly partitions: at the hour), for what has just ended.

    There is no cron to set: it is the one schedule under which a scheduled run, a manual run
    and a backfill mean the same partition by the same key. Waiting for late data is
    ``input.ready``'s part.
    """

    timezone: str = Field("UTC", description="IANA name.")
    start_date: Day = Field(dt.date(2020, 1, 1), description="First partition.")
    end_date: Day | None = Field(None, description="Last partition; none: goes on.")
    max_active_runs: int = Field(1, ge=1, description="Runs of this DAG at once.")
    retries: int = Field(2, ge=0, description="Retries of a task after a retryable error.")
    pool: str = Field(
        DEFAULT_POOL,
        description="Airflow pool that the task score takes a slot of, one for each GPU or cluster "
        "that pipelines share; conf/pools.json says which there are.",
    )
    on_skew: Literal["warn", "fail"] = Field(
        "warn",
        description="What a night does where Airflow and the jobs (NOCTURNE_PYTHON) have Nocturnes "
        "whose code differs.",
    )
    priority: int = Field(
        1, ge=1, le=1000, description="Of two pipelines that wait for a slot the higher one goes."
    )

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"{value!r} is no IANA time zone; e.g. UTC, Europe/Vienna") from None
        return value


class Gate(Section):
    """Who lets a held night pass, and until when: Airflow's task ``gate``."""

    deadline_hours: float = Field(
        12,
        gt=0,
        le=24 * 28,
        description="How long a held night waits in Airflow for a person, whom it asks; then it is "
        "rejected. Backfills don't wait: their held nights are decided later.",
    )


class Slo(Section):
    """Until when a night must be published; later, an alert `late` is sent. One of the two.

    It is watched for scheduled runs only: a run by hand or a backfill has no such promise.
    """

    by: str | None = Field(
        None,
        description="Time of day in schedule.timezone, for daily partitions: '06:30', the first "
        "one after the partition is over.",
    )
    within_minutes: float | None = Field(
        None, gt=0, description="Minutes after the partition is over."
    )

    @field_validator("by", mode="before")
    @classmethod
    def _time(cls, value: Any) -> Any:
        if isinstance(value, int):  # YAML 1.1 reads 10:30 as 630, in base 60
            raise ValueError("write the time in quotes: '10:30'")
        if value is not None and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", str(value)):
            raise ValueError("expected hours and minutes from '00:00' to '23:59', as '06:30'")
        return value

    @model_validator(mode="after")
    def _one(self) -> Slo:
        if self.by is not None and self.within_minutes is not None:
            raise ValueError("give by or within_minutes, not both")
        return self


class Spark(Section):
    """Spark's own settings."""

    master: str = Field(
        "local[*]",
        description="Master of runs started by the CLI. Where it is a cluster, its workers try a "
        "new model version that can't be tried where `prepare` runs.",
    )
    conf: Settings = Field({}, description="Extra spark.* configuration.")


class Pipeline(Section):
    """One nightly scoring job."""

    name: Name = Field(description="Also the DAG's id.")
    description: str = Field("", description="Shown in Airflow.")
    tags: list[str] = Field([], description="Airflow tags.")
    registry: Registry = Registry()
    model: Model
    input: Input
    output: Output
    scoring: Scoring = Scoring()
    quality: Quality = Quality()
    drift: Drift = Drift()
    gate: Gate = Gate()
    schedule: Schedule = Schedule()
    slo: Slo = Slo()
    alerts: list[Alert] = Field([], description="Whom Airflow tells when something needs a person.")
    spark: Spark = Spark()

    @property
    def spark_conf(self) -> dict[str, str]:
        """Spark's settings of this pipeline: a task has as many cores as torch has threads."""
        cores = {"spark.task.cpus": str(self.scoring.threads)} if self.scoring.threads > 1 else {}
        return cores | self.spark.conf

    @model_validator(mode="after")
    def _is_due_once_a_day(self) -> Pipeline:
        if self.slo.by is not None and period(self.input.partition) < dt.timedelta(days=1):
            raise ValueError("slo.by is for daily partitions; use slo.within_minutes")
        return self

    @model_validator(mode="after")
    def _shows_no_sensitive_segment(self) -> Pipeline:
        for name in self.drift.segments:
            if name in self.quality.sensitive:
                raise ValueError(
                    f"drift.segments names {name}, whose values quality.sensitive keeps from being "
                    "shown; take it out of one of them"
                )
        return self

    @model_validator(mode="after")
    def _needs_spark(self) -> Pipeline:
        if self.scoring.reader == "spark":
            if local := [name for name, how in self.input.cast.items() if how == "local"]:
                raise ValueError(
                    f"input.cast has local for {', '.join(local)}, and Spark forgets the zone that "
                    "a file's times are in (scoring.reader: spark). Say utc, or a zone such as "
                    "Europe/Berlin"
                )
            if self.input.format != "parquet" and self.input.ready.min_rows > 1:
                raise ValueError(
                    "input.ready.min_rows counts rows in Parquet footers; input.format is "
                    f"{self.input.format}. Use success_file or min_age_minutes instead"
                )
            if self.input.format != "parquet" and self.quality.input_suite:
                raise ValueError(
                    f"quality.input_suite reads Parquet, input.format is {self.input.format}; "
                    "drop the suite, or have the input written as Parquet"
                )
            return self
        for name, needs in (
            ("sql", self.input.sql),
            ("options", self.input.options),
            ("format", self.input.format != "parquet"),
        ):
            if needs:
                raise ValueError(f"input.{name} needs scoring.reader: spark (it is pyarrow)")
        return self
