"""The page Scoring in a terminal: what needs a person, and the last nights of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nocturne.cli.tables import printable
from nocturne.config import Loaded
from nocturne.operate.needs import Need, needs, next_due
from nocturne.operate.status import PartitionStatus, Recent, recent

__all__ = ["frame"]

_COLOURS = {
    "published": "green",
    "warned": "yellow",
    "held": "magenta",
    "rejected": "bright_black",
    "failed": "red",
    "late": "red",
    "unanswered": "magenta",
    "running": "cyan",
    "missing": "bright_black",
}
_MARKS = {
    "published": "✓",
    "warned": "!",
    "held": "?",
    "rejected": "×",
    "failed": "×",
    "running": "…",
    "missing": "·",
}
_NIGHTS = 10
_WAYS = 3


def frame(loaded: Loaded, height: int | None = None) -> RenderableType:
    """What there is to see now, at most ``height`` lines of nights."""
    near = recent(loaded)
    found = needs(loaded, near)
    running = [status for status in near.statuses if status.state == "running"]
    nights = _NIGHTS if height is None else max(3, min(_NIGHTS, height - 8 - 5 * len(found)))
    return Group(
        _title(loaded, near),
        *(_need(need) for need in found),
        *([] if found else [Text("Nothing needs you.", style="green")]),
        *(_progress(status) for status in running),
        Text(""),
        _last(near, nights, {key: need.why for need in found for key in need.keys}),
    )


def _title(loaded: Loaded, near: Recent) -> Text:
    title = Text(f"{loaded.pipeline.name}  ", style="bold")
    for status in near.statuses:
        title.append(_MARKS[status.shown], style=_COLOURS[status.shown])
    if (due := next_due(loaded, near)) is not None:
        title.append(f"  {due[0]} is due {due[1]:%a %H:%M} UTC", style="bright_black")
    if near.waiting:
        title.append(f"  {near.waiting:,} not scored", style="bright_black")
    return title


def _need(need: Need) -> RenderableType:
    head = Text()
    head.append(need.what.upper(), style=f"bold {_COLOURS[need.what]}")
    head.append(f" {need.nights}", style="bold")
    if need.age:
        head.append(f" for {need.age}", style="bright_black")
    ways = [Text(f"{way.command}", style="cyan") for way in need.remedies[:_WAYS]]
    return Group(
        head, *(Padding(line, (0, 0, 0, 2)) for line in (Text(printable(need.why)), *ways))
    )


def _progress(status: PartitionStatus) -> RenderableType:
    run = status.unfinished
    assert run is not None
    line = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(run.rows, 1), completed=run.rows_done, width=30)
    done = f"{run.rows_done:,} of {run.rows:,} rows" if run.rows else ""
    line.add_row(Text(f"{status.key} {run.step}", style="cyan"), bar, done)
    return line


def _last(near: Recent, count: int, reasons: Mapping[str, str]) -> Table:
    table = Table(box=None, header_style="bright_black", pad_edge=False, expand=True)
    table.add_column("partition", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("model", justify="right", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("why", overflow="ellipsis", no_wrap=True, ratio=1)
    tried = [status for status in near.statuses if status.state != "missing"]
    for status in reversed(tried[-count:]):
        rows = status.manifest.rows_published if status.manifest else None
        table.add_row(
            status.key,
            Text(status.shown, style=_COLOURS[status.shown]),
            "" if status.model_version is None else str(status.model_version),
            "" if rows is None else f"{rows:,}",
            Text(printable(reasons.get(status.key) or " ".join(status.remark.split()))),
        )
    return table
