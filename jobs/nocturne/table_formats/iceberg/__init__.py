"""Apache Iceberg tables on a local file system: the format ``iceberg`` (extra ``iceberg``)."""

from nocturne.table_formats.iceberg.table import IcebergTable

__all__ = ["IcebergTable"]
