"""Counts a night's truth from its joined rows: of all, of each version, of each segment."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nocturne.config import Loaded
from nocturne.config.labels import Labels
from nocturne.encoding import MODEL_VERSION
from nocturne.errors import ConfigError, InputError
from nocturne.operate.truth.files import LabelFiles
from nocturne.operate.truth.rows import LABEL, WEIGHT, JoinedRows, Scored, of_challenger
from nocturne.operate.truth.sql import RowsForSpark, sql_metrics
from nocturne.operate.truth.values import known, values_of, words
from nocturne.records.profile import segment_name
from nocturne.records.truth import BETTER, Against, TruthPart
from nocturne.truth import Paired, Tally

__all__ = ["counted"]

_SEGMENTS = 200
"""The most values of a segment's column: each has figures of its own in every night."""
_EXACT_SEGMENT = 200_000
"""Distinct scores of a segment that are kept as they are: 10 MB, of each of many segments."""
Mask = NDArray[np.bool_] | None
"""Which rows, [n]; None: all."""


def counted(
    loaded: Loaded,
    labels: Labels,
    champion: Scored,
    challengers: Mapping[str, Scored],
    files: LabelFiles,
) -> dict[str, Any]:
    """The fields of a ``Truth`` that are counted from the rows.

    Memory is bounded: a large night is joined bucket by bucket, from files in the folder for
    temporary files (TMPDIR).

    Raises:
        ConfigError: a column of ``labels`` is not in the scores, or an expression is wrong.
        InputError: a key is there twice, or labels are of another type.
    """
    with tempfile.TemporaryDirectory(prefix="nocturne-truth-") as scratch:
        folder = Path(scratch)
        rows = JoinedRows(loaded, labels, champion, challengers, files, folder)
        for_spark = RowsForSpark(folder / "joined") if labels.metrics else None
        count = _Count(labels, champion, challengers, rows)
        for table in rows.tables():
            kept = count.add(table)
            if for_spark is not None:
                for_spark.add(*_shown(kept, labels, champion))
        own = {}
        if for_spark is not None:
            own = sql_metrics(
                for_spark,
                labels.metrics,
                loaded.pipeline.spark.conf,
                hides=bool(loaded.pipeline.quality.sensitive),
            )
    return {
        "kind": rows.kind,
        "output": champion.output,
        "rows": count.rows,
        "unlabelled": rows.scored - count.rows,
        "unscored": rows.unscored,
        "matched": rows.matched,
        "parts": count.parts(own),
        "against": {name: count.against(name) for name in challengers},
    }


class _Count:
    """The tallies of a night's parts; ``rows``: those that have a label."""

    def __init__(
        self,
        labels: Labels,
        champion: Scored,
        challengers: Mapping[str, Scored],
        joined: JoinedRows,
    ) -> None:
        self.rows = 0
        self._labels, self._kind = labels, joined.kind
        self._champion, self._challengers = champion, challengers
        self._parts: dict[str, Tally] = {"all": self._tally()}
        self._pairs = {
            name: Paired(self._kind, threshold=labels.threshold, quantile=labels.quantile)
            for name in challengers
        }
        self._sides = {name: {"": (self._tally(), self._tally())} for name in challengers}

    def _tally(self, part: str = "") -> Tally:
        exact = _EXACT_SEGMENT if "=" in part else None
        labels = self._labels
        return Tally(self._kind, threshold=labels.threshold, quantile=labels.quantile, exact=exact)

    def add(self, joined: pa.Table) -> pa.Table:
        """Count the rows that have a label and a score, which are returned."""
        output = self._champion.output
        rows = joined.filter(pc.and_(known(joined[LABEL]), known(joined[output])))
        self.rows += rows.num_rows
        actual = values_of(self._labels, self._kind, rows[LABEL])
        predicted, weights = self._predicted(rows[output], output), self._weights(rows)
        versions = rows[MODEL_VERSION].to_numpy()
        masks: dict[str, Mask] = {"all": None}
        masks |= {f"version {version}": versions == version for version in np.unique(versions)}
        for part, mask in (*masks.items(), *self._segments(rows)):
            if part not in self._parts:
                self._parts[part] = self._tally(part)
            self._parts[part].add(*_chosen(mask, predicted, actual, weights))
        ours = versions == self._champion.manifest.model.version
        for number, name in enumerate(self._challengers):
            theirs = rows[of_challenger(number)]
            # A canary's scores are published too, and are not the champion's.
            both = np.logical_and(known(theirs).to_numpy().astype(bool), ours)
            challenger = self._predicted(
                theirs.filter(pa.array(both)), self._challengers[name].output
            )
            first, labels, shares = _chosen(both, predicted, actual, weights)
            self._pair(name, rows.filter(pa.array(both)), first, challenger, labels, shares)
        return rows

    def _pair(self, name: str, rows: pa.Table, *columns: Any) -> None:
        """Count rows of both: the champion's scores, the challenger's, the labels, the weights."""
        self._pairs[name].add(*columns)
        sides = self._sides[name]
        for part, mask in (("", None), *self._segments(rows)):
            champion, challenger, actual, weights = _chosen(mask, *columns)
            first, second = sides.setdefault(part, (self._tally(part), self._tally(part)))
            first.add(champion, actual, weights)
            second.add(challenger, actual, weights)

    def _segments(self, rows: pa.Table) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        for column in self._labels.segments:
            encoded = segment_values(rows[column], column).dictionary_encode()
            codes = encoded.indices.to_numpy()
            for code, value in enumerate(encoded.dictionary.to_pylist()):
                self._refuse_many(column, name := segment_name(column, value))
                yield name, codes == code

    def _refuse_many(self, column: str, name: str) -> None:
        if name in self._parts:
            return
        if sum(part.startswith(f"{column}=") for part in self._parts) >= _SEGMENTS:
            raise InputError(
                f"labels.segments: {column} has more than {_SEGMENTS} values, and each is counted "
                "by itself; name a column with fewer"
            )

    def _predicted(self, column: pa.ChunkedArray, name: str) -> Any:
        if self._kind == "multiclass":
            return words(column, name)
        return column.cast(pa.float64()).to_numpy()

    def _weights(self, rows: pa.Table) -> NDArray[np.float64] | None:
        if self._labels.weight is None:
            return None
        column = rows[WEIGHT if WEIGHT in rows.column_names else self._labels.weight]
        if column.null_count:
            raise InputError(
                f"labels.weight: {self._labels.weight} is null in {column.null_count:,} rows that "
                "have a label; say 0 for rows that don't count"
            )
        weights: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
        return weights

    # What was counted

    def parts(self, own: Mapping[str, Mapping[str, float]]) -> dict[str, TruthPart]:
        """The figures of each part, and its bins. ``own``: those of ``labels.metrics``."""
        found = {}
        for part, tally in self._parts.items():
            bins = tuple((b.rows, b.score, b.positive) for b in tally.bins())
            figures = tally.figures(redraw="=" not in part)  # there may be many segments
            found[part] = TruthPart({**figures, **own.get(part, {})}, bins)
        return found

    def against(self, name: str) -> Against:
        """How a challenger compares on the rows that both have scored."""
        manifest = self._challengers[name].manifest
        sides = {
            part: (first.figures(redraw=not part), second.figures(redraw=not part))
            for part, (first, second) in self._sides[name].items()
        }
        champion, challenger = sides.pop("")
        segments = {
            part: {f: b[f] - a[f] for f in a if f in b and f in BETTER}
            for part, (a, b) in sorted(sides.items())
        }
        return Against(
            manifest.model.name,
            manifest.model.version,
            manifest.id,
            int(champion["rows"]),
            champion,
            challenger,
            self._pairs[name].figures(),
            segments,
        )


def _shown(rows: pa.Table, labels: Labels, champion: Scored) -> tuple[pa.Table, list[pa.Array]]:
    """The rows with the names that ``labels.metrics`` knows, and the parts that they belong to."""
    column = labels.column
    name = column if column not in champion.files.schema.names else f"label_{column}"
    kept = [n for n in rows.column_names if not n.startswith("__")]
    versions = pc.binary_join_element_wise(
        "version", rows[MODEL_VERSION].cast(pa.string()), " "
    ).combine_chunks()
    parts = [versions]
    for segment in labels.segments:
        words_ = segment_values(rows[segment], segment)
        parts.append(pc.binary_join_element_wise(segment_name(segment, ""), words_, ""))
    return rows.select(kept).append_column(name, rows[LABEL]), parts


def segment_values(column: pa.ChunkedArray, name: str) -> pa.Array:
    """The values of a segment's column as text: a null is null, and the word null has quotes.

    Raises:
        ConfigError: it is a list, or of another type that has no text.
    """
    try:
        text = column.cast(pa.string()).combine_chunks()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        raise ConfigError(
            f"labels.segments: {name} is {column.type}, expected words, numbers or dates"
        ) from None
    text = pc.if_else(pc.equal(text, "null"), '"null"', text)
    return text.fill_null("null")


def _chosen(mask: Mask, *columns: Any) -> Sequence[Any]:
    """The rows of each column, numpy's or Arrow's, that the mask has."""
    if mask is None:
        return columns
    return [
        column.filter(pa.array(mask))
        if isinstance(column, pa.Array)
        else column
        if column is None
        else column[mask]
        for column in columns
    ]
