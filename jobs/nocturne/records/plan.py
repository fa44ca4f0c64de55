"""What a run is planned from and with: partition, model, files, splits, settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from nocturne.codec import Stored
from nocturne.encoding import Encoding
from nocturne.records.partition import Partition
from nocturne.records.quality import Measure
from nocturne.records.texts import Time

__all__ = [
    "TABLE_MARK",
    "InputFile",
    "ModelRef",
    "Piece",
    "Pinned",
    "Query",
    "RunPlan",
    "Split",
    "Table",
    "Tuning",
]


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
class Piece:
    """Whole row groups of one input file: a split that has no key yet."""

    file: InputFile
    row_groups: tuple[int, ...]
    first_row: int
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
class Tuning(Stored):
    """What the search found fastest for a model, device and row width, and how fast it was.

    ``seconds_per_million`` maps ``kernel/micro_batch`` to the measured seconds for a million
    rows; ``found`` says whether it was measured, or is where a search would start.
    """

    kernel: str
    micro_batch: int
    found: bool
    seconds_per_million: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """What is known of a run's ``input`` or ``output`` before it is scored.

    ``schema``: Arrow's, as base64 of its IPC form; ``measures``: what is counted of its rows.
    """

    schema: str
    measures: tuple[Measure, ...]


def _plan_1(fields: dict[str, Any]) -> dict[str, Any]:
    """Places follow from where the file lies; the settings have a file of their own."""
    if fields.pop("format") != 2:
        raise ValueError("format: expected 2")
    config = fields.pop("config")
    given = config.get("input", {})
    for gone in ("run_dir", "output_dir", "state_dir"):
        del fields[gone]
    root = fields["model"]["path"].rpartition("/models/")
    return fields | {
        "model": fields["model"] | {"path": f"models/{root[2]}" if root[1] else root[2]},
        "key_formats": given.get("partition", {}),
        "cast": given.get("cast", {}),
        "checksums": given.get("checksums", True),
        "costly": config.get("model", {}).get("calls") == "costly",
        "sensitive_columns": config.get("quality", {}).get("sensitive", ()),
    }


@dataclass(frozen=True)
class RunPlan(Stored):
    """Everything that scoring a partition needs: the content of ``run.json``.

    Attributes:
        run_key: names the run; it is ``content_key`` (model, settings, input) unless the same
            contents are scored once more, by force or because published files were lost.
        input_dir: the partition's folder in the input.
        model: its ``path`` is stored relative to the pipeline's state.
        splits: of a run with a ``query`` one, of rows that only Spark can count.
        profile_centers: column -> around what it is counted; None for words.
        based_on: the manifest that was in force when this was planned.
        key_formats: partition key -> its strftime format or fixed value.
        cast: ``input.cast``: as what the model sees a column.
        checksums: whether pages of the input are compared with theirs.
        costly: whether the model's calls cost (``model.calls``): it is given each row once.
        segments: column -> the values whose rows are profiled apart too.
        sensitive_columns: those whose values are shown nowhere (``quality.sensitive``).
        hold: why a person must look before it is published, whatever the checks say.
        caller: what started it, if not a command: versions of Airflow, of its Nocturne and of the
            DAG's bundle.
        output_version: see ``nocturne.plan``; plans that do not say it were of version 2.
        types: of the columns that come without one in some files, since all their values are
            null; a schema as ``nocturne.columns.normal`` packs it.
        path_keys: columns that are keys of the files' paths (``nocturne.source.path_columns``).
        format: of the table (``output.format``).
        staging: the folder of the attempts' files, below the run directory.
    """

    VERSION: ClassVar[int] = 2
    UPGRADES: ClassVar = {1: _plan_1}
    mend: ClassVar[str] = "Move its folder away and run the partition again"

    pipeline: str
    partition: Partition
    run_key: str
    content_key: str
    input_dir: str
    model: ModelRef
    encoding: Encoding
    pinned: Pinned
    keys: tuple[str, ...]
    passthrough: tuple[str, ...]
    files: tuple[InputFile, ...]
    splits: tuple[Split, ...]
    profile_centers: dict[str, float | int | None]
    based_on: str | None
    config_digest: str
    created: Time
    query: Query | None = None
    key_formats: dict[str, str] = field(default_factory=dict)
    cast: dict[str, str] = field(default_factory=dict)
    cast_text: bool = False
    checksums: bool = True
    costly: bool = False
    tables: dict[str, Table] = field(default_factory=dict)
    unique_keys: bool = False
    segments: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sensitive_columns: tuple[str, ...] = ()
    hold: str = ""
    caller: dict[str, str] = field(default_factory=dict)
    output_version: int = 2
    types: str = ""
    path_keys: tuple[str, ...] = ()
    format: str = "parquet"
    staging: str = "attempts"

    @property
    def rows(self) -> int:
        return sum(split.rows for split in self.splits)

    def input_file(self, name: str) -> Path:
        """Where a file of the plan lies. A joined table's file has the table in its name."""
        table, mark, path = name.rpartition(TABLE_MARK)
        if self.query is not None and mark:
            return Path(self.query.tables[table]) / path
        return Path(self.input_dir) / name

    @property
    def sensitive(self) -> frozenset[str]:
        """The columns whose values are shown nowhere."""
        return frozenset(self.sensitive_columns)

    @property
    def is_whole(self) -> bool:
        """Whether it is scored as a whole, not split by split: what a query gives has no parts."""
        return self.query is not None

    def reads(self, features: Sequence[str]) -> list[str]:
        """What is read of the input, each column once, if it is there."""
        asked = (name for measure in self.measures("input") for name in measure.reads())
        return list(dict.fromkeys((*self.keys, *self.passthrough, *features, *sorted(asked))))

    def measures(self, table: str) -> tuple[Measure, ...]:
        """What is counted of the rows of ``input`` or ``output``."""
        return self.tables[table].measures if table in self.tables else ()
