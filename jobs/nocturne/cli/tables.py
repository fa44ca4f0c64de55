"""Prints tables for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nocturne.records.comparison import FIGURES
from nocturne.records.truth import told

if TYPE_CHECKING:
    from nocturne.cli.doctor import Check
    from nocturne.operate.aliases import History
    from nocturne.operate.arms import Sharing
    from nocturne.operate.rows import QuarantinedRows
    from nocturne.operate.truth.nights import NightTruth
    from nocturne.pipeline.night import NightOutcome
    from nocturne.records.answers import PartitionAnswer, PipelineAnswer
    from nocturne.records.evidence import Evidence
    from nocturne.records.plan import Tuning
    from nocturne.records.truth import Truth

__all__ = [
    "baseline_table",
    "comparison_tables",
    "config_table",
    "doctor_table",
    "evidence_tables",
    "history_tables",
    "nights_table",
    "pipelines_table",
    "printable",
    "rows_table",
    "sharing_table",
    "status_table",
    "truth_tables",
    "tuning_table",
]

_COLOURS = {
    "published": "green",
    "unchanged": "green",
    "ok": "green",
    "warn": "yellow",
    "warned": "yellow",
    "broken": "red",
    "held": "yellow",
    "hold": "yellow",
    "failed": "red",
    "fail": "red",
    "rejected": "red",
    "running": "cyan",
    "missing": "dim",
    "skipped": "dim",
}


_NUMBERS = (
    "difference",
    "nights",
    "version",
    "before",
    "share",
    "held",
    "failed",
    "not scored",
    "rows",
    "published",
    "quarantined",
    "rows/s",
    "model",
    "nulls",
    "bins",
    "partitions",
    "rows a call",
    "us a row",
    "to the fastest",
)


def _print(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    table = Table(title=title, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
    for name in columns:
        number = name in _NUMBERS
        table.add_column(
            name,
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=number or name in ("pipeline", "partition", "state", "outcome", "verdict"),
        )
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console = Console()
    if not console.is_terminal:  # a log or a pipe: do not wrap lines
        console = Console(width=200)
    console.print(table)


def printable(text: str) -> str:
    """The text without characters that a terminal would obey: it may come from the data."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = escape(printable(str(value)))
    return f"[{_COLOURS[text]}]{text}[/]" if text in _COLOURS else text


def tuning_table(name: str, tuning: Tuning) -> None:
    """What a row costs by each kernel and micro-batch that was measured, the fastest first."""
    measured = sorted(tuning.seconds_per_million.items(), key=lambda item: item[1])
    taken = f"{tuning.kernel}/{tuning.micro_batch}"
    if taken not in tuning.seconds_per_million:  # a device whose memory allowed fewer rows
        print(f"{name}: {tuning.kernel}, {tuning.micro_batch:,} rows a call, is taken unmeasured")
    _print(
        name,
        ("kernel", "rows a call", "us a row", "to the fastest", ""),
        [
            (
                way.partition("/")[0],
                int(way.partition("/")[2]),
                f"{seconds:.3f}",
                f"{seconds / (measured[0][1] or 1):.2f}",
                "taken" if way == taken else "",
            )
            for way, seconds in measured
        ],
    )


def comparison_tables(name: str, found: Mapping[str, Any]) -> None:
    """A challenger beside its champion: ``comparison_answer``."""
    versions = [
        ", ".join(map(str, found[f"{side}_versions"])) or "none"
        for side in ("champion", "challenger")
    ]
    print(
        f"{name}: challenger {found['challenger']} (version {versions[1]}) beside version "
        f"{versions[0]}, {len(found['nights'])} nights"
    )
    for night, why in found["missing"].items():
        print(f"  without {night}: {why}")
    if "rows" not in found:
        return
    parts = {"all": found, **found["segments"]}
    values = {words: [part.get(key) for part in parts.values()] for key, words in FIGURES.items()}
    lines = [(words, *map(_figure, figures)) for words, figures in values.items() if any(figures)]
    _print("", ("", *parts), lines)
    if found["farthest"]:
        print("the rows that differ most: keys, champion, challenger")
        for *keys, champion, challenger in found["farthest"]:
            print(f"  {' '.join(map(printable, keys))}  {champion:.6g}  {challenger:.6g}")


def history_tables(model: str, found: History) -> None:
    """The changes of a model's aliases, and the nights that its versions scored."""
    _print(
        f"{model}: aliases",
        ("at", "alias", "version", "before", "how", "by", "why"),
        [
            (
                c.at if c.since is None else f"{c.since} to {c.at}",
                c.alias,
                "none" if c.after is None else c.after,
                "" if c.before is None else c.before,
                "in MLflow" if c.how == "noticed" else c.how,
                c.by,
                c.why,
            )
            for c in found.changes
        ],
    )
    _print(
        f"{model}: nights",
        ("pipeline", "model", "first", "last", "nights", ""),
        [
            (s.pipeline, s.version, s.first, s.last, s.nights, "a share" if s.share else "")
            for s in found.scored
        ],
    )
    for pipeline, why in found.unreadable.items():
        print(f"  without {pipeline}: {printable(why)}")


def truth_tables(name: str, found: Sequence[NightTruth]) -> None:
    """Nights by their labels; the intervals of other figures are in the JSON."""
    for one in found:
        if one.truth is None:
            print(f"{one.partition}: {printable(one.problem)}")
    for kind in ("classes", "multiclass", "numbers"):
        truths = [(one.partition, one.truth) for one in found if one.truth]
        truths = [(key, truth) for key, truth in truths if truth.kind == kind]
        shown = dict.fromkeys(f for _, truth in truths for f in truth.parts["all"].figures)
        figures = [f for f in shown if f != "rows" and not f.endswith(("_low", "_high", "_error"))]
        if truths:
            _print(
                f"{name}: {truths[0][1].output}",
                ("partition", "", "rows", "no label", *(f.replace("_", " ") for f in figures)),
                [
                    (
                        key,
                        told(part, [truth]),
                        int(counted.figures["rows"]),
                        truth.unlabelled if part == "all" else None,
                        *(
                            _with_interval(counted.figures, figure)
                            if figure in ("auc", "mae", "macro_f1")
                            else _figure(counted.figures.get(figure))
                            for figure in figures
                        ),
                    )
                    for key, truth in truths
                    for part, counted in truth.in_order.items()
                ],
            )
    _against(name, [(one.partition, one.truth) for one in found if one.truth])
    for one in found:
        for beyond in one.truth.beyond if one.truth else ():
            print(f"{one.partition}: {printable(beyond)}")


def _against(name: str, truths: Sequence[tuple[str, Truth]]) -> None:
    """Challengers less the champion, on rows that both scored."""
    lines = [
        (key, f"{other} (version {against.version})", against.rows, figure, d.told)
        for key, truth in truths
        for other, against in truth.against.items()
        for figure, d in against.differences.items()
    ]
    if lines:
        columns = ("partition", "challenger", "rows", "", "challenger less champion")
        _print(f"{name}: challengers by labels", columns, lines)


def _with_interval(figures: Mapping[str, float], name: str) -> str | None:
    if (value := figures.get(name)) is None:
        return None
    low, high = figures.get(f"{name}_low"), figures.get(f"{name}_high")
    return f"{value:.4g}" + ("" if low is None or high is None else f" ({low:.4g}-{high:.4g})")


def evidence_tables(name: str, found: Evidence) -> None:
    """What labels say of a challenger: each night, and their mean."""
    compared = f"version {found.challenger} less version {found.champion}"
    print(f"{name}: {found.metric} of {found.name}, {compared} ({found.better} is better)")
    _print(
        "",
        ("partition", "difference"),
        [
            *((key, _figure(value)) for key, value in found.nights.items()),
            *((f"{part} (mean)", _figure(value)) for part, value in found.segments.items()),
            *([("mean", _figure(found.mean.value))] if found.mean else []),
        ],
    )
    print(f"{'proposed' if found.proposed else 'not proposed'}: {printable(found.why)}")


def sharing_table(name: str, found: Sharing) -> None:
    """What nights had of a canary or a split."""
    if found.stopped is not None:
        print(
            f"{name}: {found.name} is stopped since {found.stopped.at} by {found.stopped.by}: "
            f"{printable(found.stopped.why)}"
        )
    _print(
        f"{name}: {found.name}",
        ("partition", "arm", "model", "share", "rows", "failed", "difference", ""),
        [
            (
                key,
                arm.name,
                arm.version,
                f"{arm.percent:g} %",
                None if night.out else arm.rows,
                None if night.out else arm.failed,
                _figure(arm.difference),
                f"{night.out}: {night.dropped}" if night.out else night.stops,
            )
            for key, night in found.nights.items()
            for arm in night.arms
        ],
    )


def _figure(value: float | int | None) -> str | None:
    return None if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.5g}"


def nights_table(name: str, nights: Sequence[NightOutcome]) -> None:
    """The outcome of each partition of a range."""
    _print(
        name,
        ("partition", "outcome", "model", "published", "quarantined", "verdict", "manifest"),
        [
            (
                n.partition,
                n.outcome,
                n.manifest.versions if n.manifest else None,
                n.manifest.rows_published if n.manifest else None,
                n.manifest.rows_quarantined if n.manifest else None,
                n.manifest.verdict if n.manifest else None,
                n.manifest.id if n.manifest else None,
            )
            for n in nights
        ],
    )
    published = [n for n in nights if n.output and n.manifest_path]
    if published:
        print(f"scores   {published[-1].output}\nmanifest {published[-1].manifest_path}")
        print(f"report   {published[-1].report}")


def status_table(name: str, rows: Sequence[PartitionAnswer]) -> None:
    """The partitions with their state; more than twenty missing ones are only counted."""
    missing = [row for row in rows if row.state == "missing"]
    shown = rows if len(missing) <= 20 else [r for r in rows if r.state != "missing"]
    _print(
        name,
        ("partition", "state", "model", "rows", "quarantined", "why"),
        [
            (
                row.partition,
                _state(row),
                row.models or row.model_version,
                row.rows_in,
                row.rows_quarantined,
                _why(row),
            )
            for row in shown
        ],
    )
    if len(shown) < len(rows):
        spans = _spans(rows)
        listed = ", ".join(f"{first} to {last}" for first, last in spans[:_SPANS])
        more = f", and {len(spans) - _SPANS} spans more" if len(spans) > _SPANS else ""
        Console().print(f"and {len(missing):,} partitions not scored yet: {listed}{more}")


def pipelines_table(pipelines: Sequence[PipelineAnswer]) -> None:
    """A line for each pipeline: its last partition, and what its last ones need."""
    _print(
        "pipelines",
        ("pipeline", "partition", "state", "held", "failed", "not scored", "why"),
        [
            (
                p.pipeline,
                p.last.partition if p.last else None,
                "broken" if p.problem else _state(p.last) if p.last else "missing",
                p.states.get("held") or None,
                p.states.get("failed") or None,
                p.waiting or None,
                p.problem or (_why(p.last) if p.last else ""),
            )
            for p in pipelines
        ],
    )


def _state(row: PartitionAnswer) -> str:
    return "warned" if row.state == "published" and row.verdict != "ok" else row.state


def _why(row: PartitionAnswer) -> str:
    return row.message or "; ".join(row.reasons)


_SPANS = 3


def _spans(rows: Sequence[PartitionAnswer]) -> list[tuple[str, str]]:
    """The first and the last of each run of missing ones."""
    spans = [[*run] for is_missing, run in groupby(rows, _is_missing) if is_missing]
    return [(run[0].partition, run[-1].partition) for run in spans]


def _is_missing(row: PartitionAnswer) -> bool:
    return row.state == "missing"


def rows_table(name: str, date: str, found: QuarantinedRows) -> None:
    """The reasons of quarantined rows, and the first of them."""
    if not found.reasons:
        print(f"no row of {name} {date} is quarantined")
        return
    _print(f"{name} {date}", ("quarantined", "reason"), [(n, r) for r, n in found.reasons.items()])
    if found.rows:
        _print("", found.columns, found.rows)
    if found.found > len(found.rows):
        Console().print(f"and {found.found - len(found.rows):,} more: see --csv")
    if found.hidden:
        Console().print(f"without the sensitive columns {', '.join(found.hidden)}")


def baseline_table(name: str, rows: Sequence[dict[str, Any]]) -> None:
    """The baseline with which nights are compared, one row for each column."""
    columns = (
        "column",
        "kind",
        "rows",
        "nulls",
        "bins",
        "partitions",
        "from",
        "to",
        "ordinary days' PSI up to",
    )
    _print(
        name,
        columns,
        [
            (
                row["column"] + (" (output)" if row["output"] else ""),
                row["kind"],
                row["rows"],
                row["nulls"],
                row["bins"],
                row["partitions"],
                row["first"],
                row["last"],
                f"{row['ordinary_psi']:.3f}",
            )
            for row in rows
        ],
    )


def config_table(name: str, rows: Sequence[tuple[str, Any, str]]) -> None:
    """The settings with their origin."""
    _print(name, ("setting", "value", "comes from"), rows)


def doctor_table(checks: Sequence[Check]) -> None:
    """The checks of what a run needs."""
    _print(
        "nocturne doctor",
        ("check", "", "found", "what to do"),
        [(c.name, "ok" if c.ok else "fail", c.found, "" if c.ok else c.fix) for c in checks],
    )
