"""Files of a table's metadata that survive a power failure.

The catalog's own commit is durable (a database's is). If it outlived the files that it names, the
table could not be read at all, so these are on the disk before it.
"""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path
from typing import Any

from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from nocturne.store.files import sync_folder

__all__ = ["NAME", "DurableFileIO"]

NAME = f"{__name__}.DurableFileIO"
"""What the property ``py-io-impl`` of a catalog says."""


class _Durable(FileIO):
    """A new file that is on the disk, with its name, once it is closed."""

    def close(self) -> None:
        if not self.closed:
            os.fsync(self.fileno())
            sync_folder(Path(os.fsdecode(self.name)).parent)
        super().close()


class _DurableFile(PyArrowFile):
    def create(self, overwrite: bool = False) -> Any:
        """Open it for writing. Raises: FileExistsError."""
        path = Path(self._path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return _Durable(path, "wb" if overwrite else "xb")


class DurableFileIO(PyArrowFileIO):
    """pyiceberg's own files, but local ones are synced when they are closed."""

    def new_output(self, location: str) -> PyArrowFile:
        """A file that will be written."""
        file = super().new_output(location)
        if self.parse_location(location, self.properties)[0] != "file":
            return file
        return _DurableFile(file.location, file._path, file._filesystem)
