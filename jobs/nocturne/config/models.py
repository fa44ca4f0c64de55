"""The sections and fields of a pipeline YAML: typed and frozen; unknown keys are refused."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Literal, Self
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
from nocturne.config.labels import Labels, Promote
from nocturne.config.local_paths import PathOrUri, PathText
from nocturne.config.partitions import is_reversible, period
from nocturne.config.section import HIDDEN_VALUE, Section
from nocturne.errors import ConfigError
from nocturne.host.machine import cores_without_spark
from nocturne.objects import is_uri
from nocturne.table_formats import FORMATS, IN_CATALOGS, IN_STORES, INPUTS

__all__ = [
    "OF_A_VERSION",
    "Canary",
    "Challenger",
    "Drift",
    "Gate",
    "Input",
    "Labels",
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
    "Split",
    "StopOn",
    "Which",
]

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
Name = Annotated[str, StringConstraints(pattern=rf"^{NAME.pattern}$")]
_CALLED = r"[A-Za-z0-9_-]{1,64}"
PipelineName = Annotated[str, StringConstraints(pattern=rf"^{NAME.pattern}(@{_CALLED})?$")]
"""That of a file, or with ``@`` that of a challenger (``nocturne.config.challengers``)."""
DEFAULT_POOL = "default_pool"
"""The pool that every Airflow has."""
CASTS = ("double", "integer", "boolean", "category", "text", "local", "utc")
"""The values of ``input.cast``, besides time zones; ``nocturne.fitting.roles`` applies them."""
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
TableName = Annotated[str, StringConstraints(pattern=r"^[\w-]+(\.[\w-]+){2,}$")]
Day = Annotated[dt.date, Field(ge=dt.date(1000, 1, 1), le=dt.date(9998, 12, 31))]
"""Days up to 9998, since the schedule needs a day after the last one."""


def _is_zone(name: str) -> bool:
    try:
        return "/" in name and bool(ZoneInfo(name))
    except (KeyError, ValueError, OSError):
        return False


def _text(value: Any) -> Any:
    """Numbers and booleans of YAML as text, in Spark's notation."""
    if isinstance(value, dict):
        return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in value.items()}
    return value


def _no_secrets(value: dict[str, str]) -> dict[str, str]:
    secrets = [k for k, text in value.items() if _SECRET.search(k) or _CREDENTIALS.search(text)]
    if secrets:
        raise PydanticCustomError(
            HIDDEN_VALUE,
            "{keys} would show in argument lists and in the run directory; give secrets through "
            "the environment or Spark's credential providers instead",
            {"keys": ", ".join(secrets)},
        )
    return value


Settings = Annotated[dict[str, str], BeforeValidator(_text), AfterValidator(_no_secrets)]
"""Settings of Spark by name: text without secrets."""


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
                HIDDEN_VALUE,
                "a URI with credentials in it; set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD in the environment instead",
            )
        return value


Names = Annotated[list[str], Field(min_length=1)]
Scalar = bool | int | float | str


Which = Literal["current", "as_of", "pinned"]
"""Which version scores a night: that of now, of its scheduled time, or that scored it before."""


class Model(Section):
    """Which registered model scores, by alias, tags or version; and its inputs and params."""

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
    require_digest: bool = Field(
        False,
        description="Refuse a version without the tag nocturne.sha256, the digest of its files, "
        "which registering by nocturne.contract sets, and `nocturne digest`. A tag that is there "
        "is always compared.",
    )
    require_signature: PathText | None = Field(
        None,
        description="A public key (PEM, an elliptic curve's), relative to the project: refuse a "
        "version that is not signed with its private key (nocturne sign). docs/history.md.",
    )
    calls: Literal["free", "costly"] = Field(
        "free",
        description="costly: a call of the model costs money or time (a paid API, a slow pyfunc "
        "model), so the model gets each row only once: there is no trial and no search for "
        "micro_batch (auto is 16 rows), and if a call raises, all of its rows are quarantined and "
        "not tried one by one.",
    )
    outputs: dict[str, str] = Field(
        {},
        description="The outputs of a model that does not declare them, or declares wrong ones: "
        "name -> type, e.g. {label: string, score: double, embedding: 'float[384]'}. Types are "
        "boolean, integer, long, float, double, string, date and datetime, or a vector of one of "
        "them. Matched by name if the model names what it returns, otherwise in this order.",
    )
    trial_seconds: float = Field(
        60,
        ge=1,
        le=3600,
        description="How long a new version may take to load and to score some rows, in a process "
        "of its own, before it scores a partition.",
    )
    on_new_model: Literal["nothing", "latest", "hold"] = Field(
        "nothing",
        description="What happens when alias or tags select another version. nothing: it is used "
        "from the next night on; latest: the last published partition is scored again; hold: it "
        "is scored again and held for a person. A separate DAG watches the registry.",
    )
    backfill: Which = Field(
        "current",
        description="Which version a backfill takes. current: the one that is selected now; as_of: "
        "the one that was behind the alias at the night's scheduled time (nocturne history), else "
        "it is refused; pinned: the one that scored the published night.",
    )
    poll_seconds: float = Field(60, ge=1, description="How often on_new_model checks the registry.")
    inputs: Names | Annotated[dict[str, Names | str], Field(min_length=1)] | None = Field(
        None,
        description="The columns for a model whose signature names none: in order ([a, b]), by "
        "tensor ({x: [a, b], y: [c]}; a single column of lists may fill a tensor), or, for a model "
        "without a signature, with their types ({a: double, b: string}).",
    )
    params: dict[str, Scalar | list[Scalar]] = Field(
        {}, description="Inference params that the model's signature declares, with their values."
    )

    @field_validator("name", mode="before")
    @classmethod
    def _no_uri(cls, value: Any) -> Any:
        if isinstance(value, str) and "/" in value:
            raise ValueError(
                f"got {value!r}, expected the name that a model is registered by, with alias: "
                "champion (or version: 3) on a line of its own. To register a model, call "
                "mlflow.register_model(URI, NAME)"
            )
        return value

    @field_validator("inputs")
    @classmethod
    def _once(cls, value: Any) -> Any:
        lists = value.values() if isinstance(value, dict) else [value]
        for names in (n for n in lists if isinstance(n, list)):
            if duplicates := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"{duplicates[0]} is listed twice, expected each column once")
        return value

    @field_validator("params", mode="before")
    @classmethod
    def _dates(cls, value: Any) -> Any:
        """Dates of YAML as text, which MLflow parses."""
        if not isinstance(value, dict):
            return value
        return {k: v.isoformat() if isinstance(v, dt.date) else v for k, v in value.items()}

    @field_validator("outputs")
    @classmethod
    def _types(cls, value: dict[str, str]) -> dict[str, str]:
        if value:
            from nocturne.encoding import output_of  # imports Arrow, which no DAG file needs

            for name, text in value.items():
                output_of(name, text)
        return value

    @model_validator(mode="after")
    def _one_selector(self) -> Model:
        selectors = [n for n in ("alias", "tags", "version") if getattr(self, n)]
        if len(selectors) != 1:
            raise ValueError(
                f"exactly one of alias, tags and version selects the model; got "
                f"{' and '.join(selectors) or 'none'}"
            )
        if self.version and self.on_new_model != "nothing":
            raise ValueError(
                f"on_new_model: {self.on_new_model} watches an alias or tags; version never changes"
            )
        return self


class _Other(Section):
    """A model beside the champion, given as in ``model``; what is left out is the champion's."""

    called: Annotated[str, StringConstraints(pattern=rf"^{_CALLED}$")] = Field(
        "",
        description="Its name in commands (PIPELINE@NAME) and in the path of its table. Default: "
        "the alias, or v and the version.",
    )
    name: str | None = Field(
        None, min_length=1, description="Registered model name. Default: model.name."
    )
    alias: str | None = Field(None, description="For example: challenger.")
    tags: dict[str, str] | None = Field(
        None, description="The newest version that carries all of these tags."
    )
    version: int | None = Field(None, ge=1, le=2**31 - 1, description="Exactly this version.")
    allow_pickle: bool = Field(
        False, description="As model.allow_pickle, for this model; the champion's does not count."
    )
    outputs: dict[str, str] = Field({}, description="As model.outputs.")
    inputs: Names | Annotated[dict[str, Names | str], Field(min_length=1)] | None = Field(
        None, description="As model.inputs."
    )
    params: dict[str, Scalar | list[Scalar]] = Field({}, description="As model.params.")
    budget: float = Field(
        1.0,
        gt=0,
        description="How long it may take, as a multiple of the champion's time; over it, it is "
        "dropped for the night.",
    )

    @model_validator(mode="before")
    @classmethod
    def _its_name(cls, given: Any) -> Any:
        """The name that it has if none is given."""
        if isinstance(given, dict) and "called" not in given:
            alias, version = given.get("alias"), given.get("version")
            called = alias or (f"v{version}" if version else None)
            if isinstance(called, str):
                return {**given, "called": called}
            if given.get("tags"):
                raise ValueError("a model by tags needs a name here: called: NAME")
        return given

    @model_validator(mode="after")
    def _is_a_model(self) -> Self:
        given = self.model_dump(include={*OF_A_VERSION}, exclude_none=True)
        Model.model_validate({"name": "m", **given})
        return self


OF_A_VERSION = ("name", "alias", "tags", "version", "allow_pickle", "outputs", "inputs", "params")
"""What another model may be given by; the rest of ``model`` is the champion's."""


class Challenger(_Other):
    """A model that scores beside the champion, into a table of its own: ``<output.path>__<name>``.

    It is given as in ``model``; what is left out is the champion's.
    """

    threshold: float | None = Field(
        None,
        description="The score from which on a row is decided upon; the comparison counts on how "
        "many rows both models decide alike.",
    )
    top: int = Field(
        100,
        ge=0,
        le=10_000,
        description="How many of the greatest scores of both models are compared.",
    )


class StopOn(Section):
    """What takes a canary, or a split, out of the nights that are planned after it."""

    failed: float | None = Field(
        0.01,
        ge=0,
        le=1,
        description="It failed on more than this share of its rows, whose scores are the "
        "champion's; null: never.",
    )
    difference: float | None = Field(
        None,
        gt=0,
        description="On average, its predictions differ by more than this from the champion's for "
        "the same rows; null: never.",
    )
    drift: bool = Field(
        True, description="The night's drift is such that a person should look (drift.on_drift)."
    )
    verdict: Literal["warn", "hold", "fail"] | None = Field(
        "hold", description="The night's verdict is this, or worse; null: never."
    )


Key = Annotated[
    list[str],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    Field(min_length=1, json_schema_extra={"type": ["array", "string"]}),
]
Percent = Annotated[float, Field(ge=0.001, le=100)]


class Canary(_Other):
    """A model whose scores are published for a share of the keys: the same ones every night."""

    percent: Percent = Field(
        description="The share of the keys, in percent. A greater one only adds keys."
    )
    key: Key = Field(
        description="Which of output.keys decides: a column, or several. Rows with the same values "
        "always have the same model."
    )
    salt: str = Field(
        "", max_length=200, description="Another text selects other keys for the same share."
    )
    stop_on: StopOn = StopOn()


class Split(Section):
    """Several models, each of which scores a share of the keys for as long as this stands."""

    name: Name = Field(
        description="Kept in every manifest. Another name selects other keys for the same shares."
    )
    key: Key = Field(description="As canary.key.")
    arms: dict[Name, Percent] = Field(
        min_length=1,
        description="Alias of the registered model -> its share of the keys, in percent. The rest "
        "is the champion's. Shares are cut off in the order of the names.",
    )
    allow_pickle: bool = Field(False, description="As model.allow_pickle, for each.")
    budget: float = Field(1.0, gt=0, description="As canary.budget, for each.")
    stop_on: StopOn = StopOn()

    @field_validator("arms")
    @classmethod
    def _are_a_whole_at_most(cls, arms: dict[str, float]) -> dict[str, float]:
        if sum(arms.values()) > 100:
            raise ValueError(f"they are {sum(arms.values()):g} percent, expected at most 100")
        return arms


def _check_name(format_: str, table: str | None) -> None:
    """Raises: ValueError if a table has no name and needs one, or has one that is for nothing."""
    if format_ in IN_CATALOGS and table is None:
        raise ValueError(f"format: {format_} needs a table, such as catalog.namespace.table")
    if format_ not in IN_CATALOGS and table is not None:
        raise ValueError(
            f"table: {table!r} is for {' and '.join(sorted(IN_CATALOGS))}, and format is "
            f"{format_}, which has no name: its place is path"
        )


class Ready(Section):
    """When a partition is complete. Every configured condition must be met."""

    success_file: bool = Field(False, description="A file named _SUCCESS must exist.")
    min_rows: int = Field(1, ge=0, description="The least number of rows.")
    min_age_minutes: float = Field(
        0, ge=0, description="Minutes since the newest file was last written."
    )
    timeout_minutes: float = Field(
        720, gt=0, description="How long the DAG's sensor waits for the partition."
    )


class Input(Section):
    """The table that is scored."""

    path: PathOrUri = Field(
        description="Folder of the table, relative to the project; or a URI of an object store, "
        "s3://bucket/folder (docs/stores.md)."
    )
    format: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.]*$")] = Field(
        "parquet",
        description="parquet; delta, iceberg: a lake table, one version of it (docs/lakes.md); or "
        "any format that Spark reads (scoring.reader: spark).",
    )
    table: TableName | None = Field(
        None, description="The name of an Iceberg table, catalog.namespace.table."
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
        description="A short form of `cast` for all columns of text: read text as numbers where "
        "the model takes numbers. Empty text is null; a row with any other text that is not a "
        "number is quarantined. Without it, such files are refused.",
    )
    cast: dict[str, str] = Field(
        {},
        description="The type as which the model sees a column that it can't take otherwise: "
        "double, integer (also whole floats; NaN is null), boolean, category (a value of the "
        "model's vocabulary), text; for times with a time zone local (the clock of their zone), "
        "utc, or the clock of a zone such as Europe/Berlin. A row with a value that the cast would "
        "change is quarantined. Keys, passthrough and expectations keep the original column.",
    )
    fingerprint: Literal["content", "version"] | None = Field(
        None,
        description="How a changed file is known. content: by the hash of its bytes, which are all "
        "read once; version: by what the file system (inode, size, time) or the store (ETag, size) "
        "says of it. Default: content for local files, version for objects.",
    )
    checksums: bool = Field(
        True,
        description="Compare Parquet pages with their checksums, if the writer stored them.",
    )
    ready: Ready = Ready()
    on_missing: Literal["fail", "skip"] = Field(
        "fail", description="What happens if the partition of a night is missing."
    )

    @model_validator(mode="after")
    def _named(self) -> Input:
        _check_name(self.format, self.table)
        if self.format in INPUTS and self.ready.success_file:
            raise ValueError(
                f"ready.success_file is for folders; a {self.format} table has no such files: what "
                "is committed is complete. Drop it"
            )
        return self

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

    path: PathOrUri = Field(
        description="Folder of the scores; the state is kept beside it. Or, of a lake table, a URI "
        "of an object store, s3://bucket/folder (docs/stores.md)."
    )
    state: PathOrUri | None = Field(
        None,
        description="Folder, or URI, of the state of a table in an object store. Default: beside "
        "the table.",
    )
    keys: Annotated[list[str], Field(min_length=1)] = Field(
        description="Columns that identify a row; a null in one quarantines the row."
    )
    passthrough: list[str] = Field([], description="Input columns to copy into the scores.")
    nullable: list[str] | None = Field(
        None,
        description="Predictions that may be null: a row without one of them is still published. "
        "Default: all but the model's first output; a row without that one is quarantined.",
    )
    format: TableFormat = Field(
        "parquet",
        description="parquet: folders of files; delta, iceberg: a lake table (docs/lakes.md).",
    )
    table: TableName | None = Field(
        None,
        description="The name of an Iceberg table, catalog.namespace.table; pyiceberg's own "
        "configuration describes the catalog.",
    )
    evolve: Literal["add", "replace"] | None = Field(
        None,
        description="What happens if a model's predictions are other columns than those of the "
        "table's last night. null: it is refused before a row is scored. add: columns may be "
        "added, or be missing, and read as null. replace: each night has the columns of its model. "
        "A lake table has one schema: add adds columns to it; replace is for format: parquet.",
    )
    keep: int = Field(
        2, ge=0, description="How many replaced versions of a partition stay on disk."
    )
    require_signature: PathText | None = Field(
        None,
        description="A public key (PEM, an elliptic curve's), relative to the project: nights are "
        "published only where NOCTURNE_SIGNING_KEY names its private key, which signs their "
        "manifests, and `nocturne verify` checks them. docs/history.md.",
    )

    @model_validator(mode="after")
    def _named(self) -> Output:
        _check_name(self.format, self.table)
        return self

    @model_validator(mode="after")
    def _evolves(self) -> Output:
        if self.evolve == "replace" and self.format != "parquet":
            raise ValueError(
                f"evolve: replace is for format: parquet (it is {self.format}), since a lake table "
                "has one schema: change it by its own ALTER TABLE, or choose another path"
            )
        return self

    @model_validator(mode="after")
    def _in_a_store(self) -> Output:
        if not is_uri(self.path):
            if self.state is not None:
                raise ValueError("state is for a path in an object store; it lies beside others")
            return self
        if self.format not in IN_STORES:
            raise ValueError(
                f"path is in an object store, where a reader of {self.format} files could see a "
                "half published night: no store replaces several objects at once. Use format: "
                f"{' or '.join(sorted(IN_STORES))}, or a path on a local file system"
            )
        return self

    @model_validator(mode="after")
    def _no_duplicates(self) -> Output:
        columns = [*self.keys, *self.passthrough]
        duplicates = sorted({c for c in columns if columns.count(c) > 1})
        if duplicates:
            raise ValueError(
                f"columns listed twice in keys and passthrough: {', '.join(duplicates)}"
            )
        return self


class Scoring(Section):
    """How rows go through the model."""

    reader: Literal["pyarrow", "spark"] = Field(
        "pyarrow",
        description="pyarrow: each worker reads whole row groups of Parquet files itself. spark: "
        "Spark reads, for input.sql and other formats; slower, and a night is resumed as a whole.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where the model runs.")
    micro_batch: Literal["auto"] | Annotated[int, Field(ge=64, le=1 << 20)] = Field(
        "auto",
        description="The rows in a call of the model; the last batch is padded. auto: measured "
        "once for a model, device and row width.",
    )
    kernel: Literal["auto", "graph", "onednn", "mkl"] = Field(
        "auto",
        description="How the model runs: operator by operator, or with linear layers packed for "
        "oneDNN, or for MKL. auto: the fastest of them, measured with micro_batch.",
    )
    batch_rows: int = Field(
        65_536,
        ge=64,
        le=1 << 24,
        description="The rows in a batch that is read; fewer if rows are wide (32 MiB a batch).",
    )
    threads: int = Field(
        1, ge=1, le=256, description="Cores of a Spark task, and torch's threads in it."
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Precision of the model's weights and arithmetic. bfloat16 is faster if the "
        "CPU or GPU supports it; its error against float32 is written to the manifest.",
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
        description="none: expectations are evaluated from what is counted while the rows are "
        "scored. If counts are not enough for an expectation, the columns in the suites are read a "
        "second time. pandas: the driver reads them whole into memory; spark: a separate Spark "
        "session on spark.master reads them.",
    )
    on_failure: Literal["warn", "hold", "fail"] = Field(
        "hold", description="What happens to the night if an expectation fails."
    )
    sensitive: list[str] = Field(
        [],
        description="Columns whose values Data Docs, reports and quarantine do not show; "
        "quarantine leaves these columns out, even keys.",
    )
    unique_keys: bool = Field(
        False,
        description="Hold the night if two of its rows have the same output.keys. Exact; needs 8 "
        "bytes of the driver's memory for each row.",
    )
    max_quarantined: float = Field(
        0.01, ge=0, le=1, description="The fraction of rows above which the night is held."
    )
    volume: Literal["off", "warn", "hold"] = Field(
        "warn",
        description="What happens if far fewer or far more rows came than on earlier nights of the "
        "same weekday (and hour). With too few of those, nothing.",
    )

    @field_validator("volume", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML 1.1 reads off as false


class Span(Section):
    """Published nights of this pipeline, from the first to the last partition."""

    first: str
    last: str


class Weeks(Section):
    """The same weekday of this many past weeks; only nights that were published without drift."""

    weeks: int = Field(ge=2, le=53)


class Drift(Section):
    """How drift is judged, and what it does."""

    baseline: Literal["model"] | Span | Weeks = Field(
        "model",
        description="What nights are compared with: model, the training data logged with it; "
        "{first: 2013-04-01, last: 2013-06-30}, published nights; or {weeks: 8}, the same weekday "
        "of past weeks (which absorbs slow drift).",
    )

    on_drift: Literal["warn", "hold", "fail"] = Field(
        "warn",
        description="What happens on drift that a person should look at: drift of a score, or of a "
        "page_share of the features. A single feature only warns.",
    )
    page_share: float = Field(
        0.3,
        gt=0,
        le=1,
        description="The share of the features, weighted by importance, that must drift for "
        "on_drift to apply.",
    )
    floor: float = Field(0.02, ge=0, description="No alarm at a PSI below this.")
    segments: list[str] = Field(
        [],
        max_length=2,
        description="At most two categories, e.g. [origin]: drift is also judged separately for "
        "each of their 20 most frequent values. Only warns. These rows are profiled twice.",
    )


class Schedule(Section):
    """When the DAG runs: at midnight (hourly partitions: at the hour), for the partition just over.

    No cron can be set: only under this schedule do a scheduled run, a manual run and a backfill
    with the same key mean the same partition. ``input.ready`` waits for late data.
    """

    timezone: str = Field("UTC", description="IANA name.")
    start_date: Day = Field(dt.date(2020, 1, 1), description="First partition.")
    end_date: Day | None = Field(None, description="Last partition; null: no end.")
    max_active_runs: int = Field(1, ge=1, description="Runs of this DAG at once.")
    retries: int = Field(2, ge=0, description="Retries of a task after a retryable error.")
    pool: str = Field(
        DEFAULT_POOL,
        description="The Airflow pool in which the task score takes a slot, one for each GPU or "
        "cluster that pipelines share; conf/pools.json lists the pools.",
    )
    connection: Annotated[str, StringConstraints(min_length=1)] | None = Field(
        None,
        description="Id of the Airflow connection with the credentials for object stores; null: "
        "they are those of the environment.",
    )
    on_skew: Literal["warn", "fail"] = Field(
        "warn",
        description="What happens to a night if the code of Nocturne differs between Airflow and "
        "the jobs (NOCTURNE_PYTHON).",
    )
    priority: int = Field(
        1, ge=1, le=1000, description="The pipeline with the highest priority gets a slot first."
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
    """How long a held night waits for a decision, in Airflow's task ``gate``."""

    deadline_hours: float = Field(
        12,
        gt=0,
        le=24 * 28,
        description="How long a held night waits in Airflow for a person's decision; after that it "
        "is rejected. Backfills don't wait: their held nights are decided later.",
    )


class Slo(Section):
    """The deadline of a night: a time or a period. After it, an alert `late` is sent.

    Only scheduled runs are watched; a manual run or a backfill has no deadline.
    """

    by: str | None = Field(
        None,
        description="For daily partitions: a time of day in schedule.timezone, e.g. '06:30'. The "
        "deadline is the first such time after the partition is over.",
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

    def after(self, end: dt.datetime, timezone: str) -> dt.datetime | None:
        """The deadline of a partition that ended at ``end``; None if there is none.

        Args:
            end: with its time zone.
            timezone: where ``by`` is a time of day.
        """
        if self.within_minutes is not None:
            # In UTC: minutes are added to an instant, not to what clocks show there.
            return end.astimezone(dt.UTC) + dt.timedelta(minutes=self.within_minutes)
        if self.by is None:
            return None
        zone = ZoneInfo(timezone)
        start, time = end.astimezone(zone), dt.time.fromisoformat(self.by)
        day = start.date() if time >= start.time() else start.date() + dt.timedelta(days=1)
        return dt.datetime.combine(day, time, zone).astimezone(dt.UTC)


class Spark(Section):
    """Spark's own settings."""

    master: str = Field(
        "local[*]",
        description="Master of runs started by the CLI. On a cluster, workers try a new model "
        "version that can't be tried where `prepare` runs. none, or none[N] for N cores: processes "
        "of this machine score the same splits without Spark and Java. (The DAG always submits to "
        "Spark.)",
    )
    conf: Settings = Field({}, description="Extra spark.* configuration.")

    @field_validator("master")
    @classmethod
    def _is_a_master(cls, master: str) -> str:
        try:
            cores_without_spark(master)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return master


class Pipeline(Section):
    """One nightly scoring job."""

    name: PipelineName = Field(description="The file's own name, and the DAG's id.")
    description: str = Field("", description="Shown in Airflow.")
    owner: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f,]*$", max_length=200)] = Field(
        "",
        description="Who answers for it: a person or a team. Also the DAG's owner, and in alerts.",
    )
    docs: Annotated[str, StringConstraints(pattern=r"^(https?://[^\s\x00-\x1f]+)?$")] = Field(
        "",
        description="The URL of what to do when it fails (a runbook), shown on the page and in "
        "alerts.",
    )
    tags: list[str] = Field([], description="Airflow tags.")
    registry: Registry = Registry()
    model: Model
    challengers: list[Challenger] = Field(
        [],
        description="Other models that score the same rows in the same pass, into tables of their "
        "own beside the champion's. None of them can cost the night.",
    )
    canary: Canary | None = Field(
        None,
        description="Another model whose scores are published for a share of the keys, in place of "
        "the champion's.",
    )
    split: Split | None = Field(
        None, description="Several models, each for a share of the keys: an A/B test over time."
    )
    input: Input
    output: Output
    scoring: Scoring = Scoring()
    quality: Quality = Quality()
    drift: Drift = Drift()
    labels: Labels | None = Field(None, description="The truth, which comes later.")
    promote: Promote | None = Field(
        None, description="When labels speak for a challenger, it is proposed as champion."
    )
    gate: Gate = Gate()
    schedule: Schedule = Schedule()
    slo: Slo = Slo()
    alerts: list[Alert] = Field(
        [], description="Where Airflow sends alerts when something needs a person."
    )
    spark: Spark = Spark()

    @property
    def spark_conf(self) -> dict[str, str]:
        """The Spark settings of this pipeline; a task has as many cores as torch has threads."""
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
    def _tells_challengers_apart(self) -> Pipeline:
        names = [challenger.called for challenger in self.challengers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"challengers: two are called {twice[0]}; give each a name of its own (called:)"
            )
        if names and self.scoring.reader == "spark":
            raise ValueError(
                "challengers score the batches that the champion reads, and with scoring.reader: "
                "spark there are none. Drop them, or score them in a pipeline of their own"
            )
        return self

    @model_validator(mode="after")
    def _shares_keys(self) -> Pipeline:
        if self.canary and self.split:
            raise ValueError(
                "give canary or split, not both: each decides which model scores a key"
            )
        shared = self.canary or self.split
        if shared is None:
            return self
        what = "canary" if self.canary else "split"
        if others := [name for name in shared.key if name not in self.output.keys]:
            raise ValueError(
                f"{what}.key: {others[0]} is none of output.keys, which are "
                f"{', '.join(self.output.keys)}"
            )
        if self.scoring.reader == "spark":
            raise ValueError(f"{what} needs scoring.reader: pyarrow (it is spark)")
        if self.model.calls == "costly":
            raise ValueError(
                f"{what}: a row that its model scores is scored by the champion too, and "
                "model.calls is costly"
            )
        return self

    @model_validator(mode="after")
    def _promotes_by_labels(self) -> Pipeline:
        hidden = {*(self.labels.segments if self.labels else ())} & {*self.quality.sensitive}
        if hidden:
            raise ValueError(
                f"labels.segments names {min(hidden)}, whose values quality.sensitive keeps from "
                "being shown; take it out of one of them"
            )
        if (promote := self.promote) is None:
            return self
        if self.labels is None:
            raise ValueError("promote needs labels: they are the evidence")
        if self.model.alias is None:
            raise ValueError("promote moves model.alias, and the model is not selected by an alias")
        names = [challenger.called for challenger in self.challengers]
        if promote.challenger not in names and (promote.challenger or len(names) != 1):
            raise ValueError(
                f"promote.challenger: got {promote.challenger}, expected one of challengers: "
                f"{', '.join(names) or 'there are none'}"
            )
        others = [c for c in self.challengers if c.called == (promote.challenger or c.called)]
        if others[0].name not in (None, self.model.name):
            raise ValueError(
                f"promote moves an alias of {self.model.name}, and the challenger is the model "
                f"{others[0].name}"
            )
        if promote.unless and promote.unless.segment not in self.labels.segments:
            raise ValueError(
                f"promote.unless.segment: got {promote.unless.segment}, expected one of "
                f"labels.segments: {', '.join(self.labels.segments) or 'there are none'}"
            )
        return self

    @model_validator(mode="after")
    def _spark_can_read(self) -> Pipeline:
        for what, by_spark in (
            ("scoring.reader: spark", self.scoring.reader == "spark"),
            ("quality.scan: spark", self.quality.scan == "spark"),
        ):
            if by_spark and is_uri(self.input.path):
                raise ValueError(
                    f"input.path is in an object store, and {what} reads local files only. Drop "
                    "it, or copy the files to a local folder"
                )
            if by_spark and cores_without_spark(self.spark.master) is not None:
                raise ValueError(
                    f"{what} needs Spark, and spark.master is {self.spark.master}. Drop it, or say "
                    "another master, such as local[*]"
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
            if self.input.format in INPUTS:
                raise ValueError(
                    f"input.format: {self.input.format} is read by scoring.reader: pyarrow, since "
                    "Spark would need the format's own packages. Drop scoring.reader, or have the "
                    "rows written as Parquet"
                )
            return self
        for name, needs in (
            ("sql", self.input.sql),
            ("options", self.input.options),
            ("format", self.input.format not in ("parquet", *INPUTS)),
        ):
            if needs:
                raise ValueError(f"input.{name} needs scoring.reader: spark (it is pyarrow)")
        return self
