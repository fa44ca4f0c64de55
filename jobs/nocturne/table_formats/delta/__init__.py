"""Delta Lake tables: the format ``delta`` (extra ``delta``)."""

from nocturne.table_formats.delta.table import DeltaLakeTable

__all__ = ["DeltaLakeTable"]
