"""The rows that truth is counted from: scores, their labels and challengers' scores, by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from nocturne.config import Loaded
from nocturne.config.labels import Labels
from nocturne.encoding import MODEL_VERSION
from nocturne.errors import ConfigError, InputError, choices
from nocturne.operate.truth.files import LabelFiles
from nocturne.operate.truth.joining import Buckets, buckets_for, repeated
from nocturne.operate.truth.scores import ScoreFiles
from nocturne.operate.truth.sides import key_of
from nocturne.operate.truth.values import Kind, are_two, is_number, kind_of, refuse_unlike
from nocturne.records.manifest import Manifest

__all__ = ["LABEL", "WEIGHT", "JoinedRows", "RepeatedKeys", "Scored", "of_challenger"]

LABEL, WEIGHT = "__label", "__weight"
"""The columns of the label, and of the weight if it comes with the labels."""


class RepeatedKeys(InputError):
    """The scores have keys more than once, so a challenger's rows can't be told apart."""


@dataclass(frozen=True)
class Scored:
    """A model's scores of a night, and which column of them is compared."""

    manifest: Manifest
    files: ScoreFiles
    output: str


def of_challenger(number: int) -> str:
    """The column with the scores of a challenger."""
    return f"__challenger_{number}"


class JoinedRows:
    """The scored rows of a night with their labels, bucket by bucket.

    Columns: those of the scores that are needed, ``LABEL``, ``WEIGHT`` if the labels have it, the
    challengers' scores (``of_challenger``), and with ``labels.metrics`` all others, of which one
    that both have is ``label_<name>`` of the labels.

    Args:
        scratch: a folder for what does not fit into memory.

    Raises:
        ConfigError: the scores lack a column that ``labels`` names.
        InputError: a key is there twice, or labels are of another type.
    """

    def __init__(
        self,
        loaded: Loaded,
        labels: Labels,
        champion: Scored,
        challengers: Mapping[str, Scored],
        files: LabelFiles,
        scratch: Path,
    ) -> None:
        self._labels, self._champion, self._files = labels, champion, files
        self._challengers, self._scratch = list(challengers.values()), scratch
        self._own_key, self._key = list(loaded.pipeline.output.keys), key_of(loaded)
        schema = champion.files.schema
        columns = self._score_columns(schema)
        self._schema = pa.schema([schema.field(name) for name in columns])
        count = buckets_for(max(files.rows, champion.files.rows))
        self._label_rows = self._label_buckets(count)
        self._scores = Buckets(scratch, "scores", self._with_challengers(), self._key, count)
        for table in self._score_tables(columns):
            self._scores.add(table)
        self._matched = 0

    @property
    def kind(self) -> Kind:
        """What the labels are."""
        return self._kind

    @property
    def scored(self) -> int:
        """The rows of the scores."""
        return self._scores.rows

    @property
    def matched(self) -> int:
        """The labels, nulls too, with a scored row, once all tables were read."""
        return self._matched

    @property
    def unscored(self) -> int:
        """The labels without a scored row, once all tables were read."""
        return self._label_rows.rows - self._matched

    def tables(self) -> Iterator[pa.Table]:
        """All scored rows that have a key; those without a label have a null."""
        names = ", ".join(self._key)
        for scores, labels in zip(self._scores.tables(), self._label_rows.tables(), strict=True):
            if repeated(labels, self._key):
                raise InputError(
                    f"the labels have more than one row of a key ({names}): which one counts? Name "
                    "more columns (labels.key), or have one label a key"
                )
            if repeated(scores, self._key):
                raise InputError(
                    f"the scores have keys ({names}) more than once, so one label would count for "
                    "several rows: name more columns (labels.key)"
                )
            found = labels.join(scores.select(self._key), self._key, join_type="left semi")
            self._matched += found.num_rows
            yield scores.join(labels, self._key, join_type="left outer")

    # Scores

    def _score_columns(self, schema: pa.Schema) -> list[str]:
        labels = self._labels
        self._check_weight(schema)
        wanted = {
            "labels.key": self._key,
            "labels.segments": labels.segments,
            "labels.output": [self._champion.output, MODEL_VERSION],
            "output.keys": self._own_key if self._challengers else [],
        }
        if labels.weight and labels.weight not in self._files.schema.names:
            wanted["labels.weight"] = [labels.weight]
        for what, names in wanted.items():
            if missing := [name for name in names if schema.names and name not in schema.names]:
                raise ConfigError(
                    f"{what} names {choices(missing)}, which the scores do not have: publish it "
                    "(output.keys, output.passthrough), or name others"
                )
        if labels.metrics:  # Spark compares no lists
            return [field.name for field in schema if not pa.types.is_nested(field.type)]
        return list(dict.fromkeys(name for names in wanted.values() for name in names))

    def _check_weight(self, scores: pa.Schema) -> None:
        """Raises: InputError if the column of the weights, if there is one, is no number."""
        for schema in (self._files.schema, scores):
            if (name := self._labels.weight) is not None and name in schema.names:
                type_ = schema.field(name).type
                if not (is_number(type_) or pa.types.is_boolean(type_) or pa.types.is_null(type_)):
                    raise InputError(f"labels.weight: {name} is {type_}, expected numbers")
                return

    def _with_challengers(self) -> pa.Schema:
        """The columns of the scores, and those of the challengers."""
        own = [
            pa.field(of_challenger(number), other.files.schema.field(other.output).type)
            for number, other in enumerate(self._challengers)
        ]
        return pa.schema([*self._schema, *own])

    def _score_tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The scores, some rows at a time, each with those of the challengers.

        Challengers have the keys of the output, which need not be the key of the labels.
        """
        schema = self._with_challengers()
        tables = (t.cast(self._schema) for t in self._champion.files.tables(columns))
        if not self._challengers:
            yield from tables
            return
        others = [(other.files, other.output) for other in self._challengers]
        count = buckets_for(max(self._champion.files.rows, *(files.rows for files, _ in others)))
        sides = [Buckets(self._scratch, "champion", self._schema, self._own_key, count)]
        for table in tables:
            sides[0].add(table)
        keys = [self._schema.field(name) for name in self._own_key]
        for number, (files, output) in enumerate(others):
            of = pa.schema([*keys, schema.field(of_challenger(number))])
            sides.append(Buckets(self._scratch, f"beside-{number}", of, self._own_key, count))
            for table in files.tables([*self._own_key, output]):
                sides[-1].add(table.rename_columns(of.names).cast(of))
        for first, *beside in zip(*(side.tables() for side in sides), strict=True):
            for other in beside:
                if repeated(first, self._own_key) or repeated(other, self._own_key):
                    raise RepeatedKeys(f"keys ({', '.join(self._own_key)}) are there twice")
                first = first.join(other, self._own_key, join_type="left outer")
            yield first.select(schema.names).cast(schema)

    # Labels

    def _label_buckets(self, count: int) -> Buckets:
        """The labels, in the types of the scores' keys; ``kind`` is known then."""
        labels, there, names = self._labels, self._files.schema, self._schema.names
        keys = pa.schema([self._schema.field(name) for name in self._key])
        type_ = there.field(labels.column).type
        columns = {name: name for name in self._key}
        taken = {LABEL: labels.column}
        if labels.weight is not None and labels.weight in there.names:
            taken[WEIGHT] = labels.weight
        if labels.metrics:
            own = (*self._key, labels.column)
            extra = [f.name for f in there if f.name not in own and not pa.types.is_nested(f.type)]
            named = [n if n not in names else f"label_{n}" for n in extra]
            if twice := {n for n in named if named.count(n) > 1 or (n in names)}:
                raise ConfigError(
                    f"labels.metrics: two columns would be called {min(twice)}; rename one of them"
                )
            taken |= dict(zip(named, extra, strict=True))
        columns |= taken
        types = [*keys, *(there.field(of).with_name(name) for name, of in taken.items())]
        if pa.types.is_null(type_):  # none has a label
            types[len(keys)] = pa.field(LABEL, pa.bool_())
        schema = pa.schema([pa.field(field.name, field.type) for field in types])
        found, two = Buckets(self._scratch, "labels", schema, self._key, count), True
        for table in self._files.tables(list(dict.fromkeys(columns.values())), keys):
            as_named = pa.table([table[of] for of in columns.values()], names=list(columns))
            as_named = as_named.cast(schema)
            two = two and are_two(as_named[LABEL])
            found.add(as_named)
        self._kind: Kind = kind_of(labels, type_, two)
        if self._kind == "multiclass":
            refuse_unlike(type_, self._schema.field(self._champion.output).type, labels.column)
        return found
