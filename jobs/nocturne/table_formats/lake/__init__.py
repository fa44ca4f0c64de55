"""What the tables of lake formats share: a log or a catalog decides which of their files count.

A format is a subclass of ``LakeTable``, and a ``Snapshot`` of its versions.
"""

from nocturne.table_formats.lake.columns import Column, column_problems, is_date
from nocturne.table_formats.lake.read import LakeInput
from nocturne.table_formats.lake.snapshot import (
    Added,
    Change,
    Conflict,
    DataFile,
    Mark,
    Misfit,
    Since,
    Snapshot,
    app_of,
    check_columns,
    folder_of,
    paths_of,
    typed,
)
from nocturne.table_formats.lake.table import LakePartition, LakeTable

__all__ = [
    "Added",
    "Change",
    "Column",
    "Conflict",
    "DataFile",
    "LakeInput",
    "LakePartition",
    "LakeTable",
    "Mark",
    "Misfit",
    "Since",
    "Snapshot",
    "app_of",
    "check_columns",
    "column_problems",
    "folder_of",
    "is_date",
    "paths_of",
    "typed",
]
