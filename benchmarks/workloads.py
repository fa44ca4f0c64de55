"""What is scored: a table, a model's widths, the rows a file, and the two sizes of a slope."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["WORKLOADS", "Workload", "sized"]

MI = 1 << 20


@dataclass(frozen=True)
class Workload:
    """``sizes``: numbers of files of ``file_rows`` rows, the smaller first; ``table``: a name in
    ``benchmarks.tables``."""

    name: str
    hidden: tuple[int, ...]
    file_rows: int
    sizes: tuple[int, int]
    table: str = "numbers"

    @property
    def standard(self) -> bool:
        """Whether this is the workload that results are published of."""
        return WORKLOADS.get(self.name) == self

    def rows(self, files: int) -> int:
        return files * self.file_rows


WORKLOADS = {
    "light": Workload("light", (128, 64), MI, (8, 24)),
    # Fewer rows a file, so that two processes have the same to do.
    "heavy": Workload("heavy", (1024, 1024, 512), MI // 8, (4, 12)),
    "mixed": Workload("mixed", (128, 64), MI, (6, 18), "mixed"),
}


def sized(workload: Workload, millions: tuple[float, float], file_rows: int | None) -> Workload:
    """The workload with other sizes, in Mi rows, and if given other files."""
    file_rows = file_rows or workload.file_rows
    small, large = (max(1, round(m * MI / file_rows)) for m in millions)
    if small >= large:
        raise SystemExit(
            f"--rows: {millions[0]:g},{millions[1]:g} Mi rows are {small} and {large} files of "
            f"{file_rows} rows; give the smaller size first and at least one file more after it"
        )
    return replace(workload, file_rows=file_rows, sizes=(small, large))
