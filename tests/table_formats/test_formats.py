"""Every table format is one that the configuration offers, and says what the protocol asks."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from forked import in_child
from formats import CATALOG, OUTPUT, catalog_in
from nocturne.config.models import Output
from nocturne.errors import PublishError
from nocturne.records.partition import Partition
from nocturne.store.pipeline_state import PipelineState
from nocturne.table_formats import FORMATS
from nocturne.table_formats.iceberg.table import IcebergTable

PLAIN = {"path": "x", "keys": ["id"]}
DAY = Partition("2024-01-01", (("ds", "2024-01-01"),))


def test_the_configuration_offers_these_formats() -> None:
    outputs = [Output.model_validate(PLAIN | OUTPUT[name]) for name in FORMATS]
    assert [output.format for output in outputs] == list(FORMATS)
    assert list(FORMATS) == list(
        dict.fromkeys(OUTPUT[name].get("format", "parquet") for name in OUTPUT)
    )
    with pytest.raises(ValidationError, match=" or ".join(map(repr, FORMATS))):
        Output.model_validate(PLAIN | {"format": "none"})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"format": "iceberg"}, "needs a table, such as catalog.namespace.table"),
        ({"format": "iceberg", "table": "scores"}, "String should match pattern"),
        ({"format": "iceberg", "table": "prod..scores"}, "String should match pattern"),
        ({"format": "delta", "table": "prod.ml.scores"}, "is for iceberg, and format is delta"),
    ],
)
def test_only_a_table_of_a_catalog_has_a_name(settings: dict[str, str], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Output.model_validate(PLAIN | settings)


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_table_has_nothing_in_force_and_can_be_published_into(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CATALOG, catalog_in(tmp_path))
    in_child(lambda: _empty(name, tmp_path))


def _empty(name: str, tmp_path: Path) -> None:
    state = PipelineState.beside(tmp_path / "scores")
    state.root.mkdir(parents=True)
    table = FORMATS[name](state, OUTPUT[name].get("table", ""))
    table.check()
    assert list(table.partitions(["ds"])) == []
    output = table.partition(state.partition(DAY))
    output.state.folder.mkdir()
    output.check(pa.schema([("id", pa.int64()), ("score", pa.float32())]))
    assert output.in_force() is None
    assert output.files() == {}
    assert list(table.half_made([output])) == []
    with output.exclusive():
        assert output.in_force() is None


def test_columns_that_no_iceberg_table_can_have_are_an_error_of_publishing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library says so too, should one come to it."""
    monkeypatch.setenv(CATALOG, catalog_in(tmp_path))
    schema = pa.schema([("a.b", pa.int64()), ("a", pa.struct([("b", pa.int64())]))])

    def make() -> None:
        table = IcebergTable(OUTPUT["iceberg"]["table"], tmp_path / "scores")
        with pytest.raises(PublishError, match="can't be made: .*a.b"):
            table.create(schema, DAY)

    in_child(make)
