"""The plan of a run: its partition, model, files, splits and settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

from nocturne.codec import Stored
from nocturne.columns.shares import SPACE
from nocturne.encoding import Encoding
from nocturne.objects import Location, ObjectPath, location
from nocturne.objects.path import Stat
from nocturne.records.partition import Partition
from nocturne.records.quality import Measure
from nocturne.records.texts import Time

__all__ = [
    "TABLE_MARK",
    "Arm",
    "Arms",
    "InputFile",
    "ModelRef",
    "Piece",
    "Pinned",
    "Query",
    "RunPlan",
    "Split",
    "Table",
    "Tuning",
    "located",
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

    ``blake3`` is the BLAKE3 hash of its bytes in hex, as ``b3sum`` prints it. It takes less than
    half the time of SHA-256, which matters since the whole input is hashed every night. It is ""
    if the bytes were not read (``input.fingerprint: version``); then ``tag`` stands for them: what
    the store, or the file system, calls this version of the file.
    """

    path: str
    blake3: str
    size: int
    mtime_ns: int
    inode: int
    rows: int
    tag: str = ""

    @property
    def fingerprint(self) -> str:
        """What its bytes are known by; equal only for equal bytes of files of the same name."""
        return self.blake3 or f"version {self.tag} {self.size}"


def located(folder: Location, file: InputFile) -> Location:
    """The location of a file in a folder; an object's is pinned to the one that was planned."""
    found = folder / file.path
    if isinstance(found, ObjectPath) and file.tag:
        return found.pinned(Stat(file.size, file.mtime_ns, file.tag))
    return found


@dataclass(frozen=True)
class Piece:
    """Whole row groups of one input file: a split without a key."""

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
    """The settings that decide bits, fixed before the first split is scored.

    ``kernel`` is the way the model is run (see ``nocturne.engine.KERNELS``), ``micro_batch`` the
    number of rows in a call of the model, ``batch_rows`` the number of rows that are read at once.
    """

    device: str
    micro_batch: int
    threads: int
    precision: str
    batch_rows: int
    kernel: str = "graph"


@dataclass(frozen=True)
class Arm:
    """A model that scores a share of the keys in the champion's place.

    Attributes:
        first, end: the share: keys with hashes from ``first`` on, and below ``end``.
        model: its ``path`` as that of the plan.
        encoding: with the champion's outputs.
        profile_centers: as those of the plan, from its own model's baseline.
        budget: how long it may take, in multiples of the champion's time.
    """

    name: str
    first: int
    end: int
    model: ModelRef
    encoding: Encoding
    pinned: Pinned
    profile_centers: dict[str, float | int | None]
    budget: float

    @property
    def percent(self) -> float:
        """Its share of the keys, in percent."""
        return round((self.end - self.first) * 100 / SPACE, 6)


@dataclass(frozen=True)
class Arms:
    """How keys are shared between the champion and other models.

    Attributes:
        name: "canary", or that of the split.
        key, salt: what the hash is of (``nocturne.columns.shares``).
        without: the key of the run without arms, which takes this one's place if one is dropped.
    """

    name: str
    key: tuple[str, ...]
    salt: str
    arms: tuple[Arm, ...]
    without: str


@dataclass(frozen=True)
class Query:
    """The query that Spark reads for a run: files of any format, and optionally SQL on them.

    ``tables``: the names that the SQL uses besides ``input`` -> their folders.
    """

    format: str
    options: dict[str, str]
    sql: str | None
    tables: dict[str, str]


@dataclass(frozen=True)
class Tuning(Stored):
    """The fastest kernel and micro-batch for a model, device and row width.

    ``seconds_per_million``: ``kernel/micro_batch`` -> the measured seconds for a million rows.
    ``found``: whether a search has found it; otherwise it is where a search would start.
    """

    kernel: str
    micro_batch: int
    found: bool
    seconds_per_million: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """The ``input`` or ``output`` of a run, as far as it is known before it is scored.

    ``schema``: the Arrow schema, as base64 of its IPC form. ``measures``: what is counted.
    """

    schema: str
    measures: tuple[Measure, ...]


def _plan_1(fields: dict[str, Any]) -> dict[str, Any]:
    """Paths follow from the location of the file, and the settings have their own file."""
    if (number := fields.pop("format")) != 2:
        raise ValueError(f"format: got {number}, expected 2")
    config = fields.pop("config")
    input_settings = config.get("input", {})
    for removed in ("run_dir", "output_dir", "state_dir"):
        del fields[removed]
    root = fields["model"]["path"].rpartition("/models/")
    return fields | {
        "model": fields["model"] | {"path": f"models/{root[2]}" if root[1] else root[2]},
        "key_formats": input_settings.get("partition", {}),
        "cast": input_settings.get("cast", {}),
        "checksums": input_settings.get("checksums", True),
        "costly": config.get("model", {}).get("calls") == "costly",
        "sensitive_columns": config.get("quality", {}).get("sensitive", ()),
    }


@dataclass(frozen=True)
class RunPlan(Stored):
    """Everything that scoring a partition needs: the content of ``run.json``.

    Attributes:
        run_key: the key of the run. It equals ``content_key`` (model, settings, input) unless the
            same contents are scored again, by force or since published files were lost.
        input_dir: the partition's folder in the input.
        input_version: the version of the input that was looked at; "" if it has no versions.
        model: its ``path`` is stored relative to the pipeline's state.
        splits: a run with a ``query`` has one split, whose rows only Spark can count.
        profile_centers: profiled column -> its centre; None for a category.
        based_on: the id of the manifest that was in force when the run was planned.
        key_formats: partition key -> its strftime format or fixed value.
        cast: ``input.cast``: column -> the type that the model gets.
        checksums: whether the checksums of the input's pages are verified.
        costly: whether the model's calls cost (``model.calls``); then it gets each row once.
        segments: column -> the values whose rows are also profiled separately.
        sensitive_columns: columns whose values must not be shown (``quality.sensitive``).
        hold: why a person must look at it before it is published, whatever the checks find.
        caller: versions of the program that started it: of Airflow, of Nocturne there, and of the
            DAG's bundle; empty for a command.
        page: the URL of the night's page in Airflow; "" for a command.
        asked_by: who triggered the run in Airflow; "" for a command, or if nobody did.
        output_version: see ``nocturne.plan``; plans without it have version 2.
        types: the types of columns that have none in some files, since all values there are null;
            a schema as packed by ``nocturne.columns.normal``.
        path_keys: columns that come from the files' paths (``nocturne.source.path_columns``).
        format: the format of the table (``output.format``).
        output_uri: the URI of the table in an object store; "" if it lies beside the state.
        table: its name in a catalog (``output.table``), "" if it has none.
        lake_types: whether the scores have the types of lake tables (``columns.lake_type``).
        partition_columns: columns of the partition that the files of scores have too
            (``TablePartition.partition_columns``); a schema, packed as ``types`` is.
        evolve: ``output.evolve``; "" if the columns must be those that are there.
        staging: the folder of the attempts' files, relative to the run directory.
        champion: of a challenger, the key of the champion's run (without arms) that it is scored
            beside; it has the same splits, and shares the quarantined rows. "" for a champion.
        challenged: whether the pipeline has challengers (``challengers.json`` of the run).
        arms: the models that score a share of the keys; None if the champion scores all.
        beside: the keys of the splits by which challengers know them, which arms don't change; ()
            if they are those of the splits.
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
    table: str = ""
    evolve: str = ""
    staging: str = "attempts"
    lake_types: bool = False
    input_version: str = ""
    output_uri: str = ""
    partition_columns: str = ""
    page: str = ""
    asked_by: str = ""
    champion: str = ""
    challenged: bool = False
    arms: Arms | None = None
    beside: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(split.rows for split in self.splits)

    @property
    def each_arm(self) -> tuple[Arm, ...]:
        """The models that score a share of the keys; () if the champion scores all."""
        return self.arms.arms if self.arms else ()

    @property
    def own_split_keys(self) -> tuple[str, ...]:
        """The keys of the splits without arms, by which challengers know them."""
        return self.beside or tuple(split.key for split in self.splits)

    @property
    def versions(self) -> str:
        """The versions that score it, as ``Manifest.versions`` has them."""
        others = (f"{arm.model.version} ({arm.percent:g} %)" for arm in self.each_arm)
        return " + ".join([str(self.model.version), *others])

    @property
    def models(self) -> list[ModelRef]:
        """The models that score it: the champion, and the arms."""
        return [self.model, *(arm.model for arm in self.each_arm)]

    def with_models(self, changed: Callable[[ModelRef], ModelRef]) -> RunPlan:
        """The plan with each model changed."""
        arms = self.arms
        if arms is not None:
            each = tuple(replace(arm, model=changed(arm.model)) for arm in arms.arms)
            arms = replace(arms, arms=each)
        return replace(self, model=changed(self.model), arms=arms)

    def of_arm(self, arm: Arm) -> RunPlan:
        """The plan as if the arm were the champion."""
        return replace(
            self,
            model=arm.model,
            encoding=arm.encoding,
            pinned=arm.pinned,
            profile_centers=arm.profile_centers,
            arms=None,
        )

    def input_file(self, name: str) -> Location:
        """The location of a file of the plan; a joined table's file has the table in its name.

        An object's is pinned to the one that was planned.
        """
        table, mark, path = name.rpartition(TABLE_MARK)
        if self.query is not None and mark:
            return location(self.query.tables[table]) / path
        folder, file = location(self.input_dir), self._files.get(name)
        return located(folder, file) if file else folder / name

    @cached_property
    def _files(self) -> dict[str, InputFile]:
        return {file.path: file for file in self.files}

    @property
    def sensitive(self) -> frozenset[str]:
        """The columns whose values must not be shown."""
        return frozenset(self.sensitive_columns)

    @property
    def is_whole(self) -> bool:
        """Whether it is scored as a whole: the rows of a query have no splits."""
        return self.query is not None

    def reads(self, features: Sequence[str]) -> list[str]:
        """The columns to read if the input has them, each once."""
        measured = (name for measure in self.measures("input") for name in measure.reads())
        return list(dict.fromkeys((*self.keys, *self.passthrough, *features, *sorted(measured))))

    def measures(self, table: str) -> tuple[Measure, ...]:
        """The measures that are counted on the rows of ``input`` or ``output``."""
        return self.tables[table].measures if table in self.tables else ()
