"""What ``output`` says for each table format, and the catalog of those that need one."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CATALOG", "OUTPUT", "catalog_in"]

OUTPUT: dict[str, dict[str, str]] = {
    "parquet": {},
    "delta": {"format": "delta"},
    "delta on s3": {"format": "delta"},
    "iceberg": {"format": "iceberg", "table": "test.nights.scores"},
    "iceberg on s3": {"format": "iceberg", "table": "test.nights.scores"},
}
"""Table format -> settings of ``output``; where its tables are in a store, without their place."""
CATALOG = "PYICEBERG_CATALOG__TEST__URI"
"""The variable that tells pyiceberg of the catalog ``test``."""


def catalog_in(folder: Path) -> str:
    """The catalog's URI: a database in the folder."""
    return f"sqlite:///{folder}/catalog.db"
