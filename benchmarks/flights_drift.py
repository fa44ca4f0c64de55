"""Drift of the demo's flights, April to December: which nights warned and paged, and were late.

    make demo && python -m benchmarks.flights_drift

Scores the 275 days (those that are published already are left alone), reads their manifests beside
the labels, and writes docs/drift.md between its marks and docs/img/drift.svg.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import pyarrow.compute as pc
from scipy.stats import spearmanr

from benchmarks.layout import ROOT
from nocturne import config
from nocturne.demo.flights import read_days
from nocturne.demo.train import TRAINING
from nocturne.pipeline.nights import PublishedNights

SPAN = ("2013-04-01", "2013-12-31")
PAGE = ROOT / "docs" / "drift.md"
PLOT = ROOT / "docs" / "img" / "drift.svg"
_BEGIN, _END = "<!-- results -->", "<!-- end of results -->"
OUTPUT = "late_probability"


def by_airport(home: Path, folder: Path) -> None:
    """A project in ``folder`` on the same data and model that judges by airport too."""
    shutil.copytree(home / "conf", folder / "conf")
    (folder / "var" / "demo").mkdir(parents=True)
    for shared in ("var/demo/flights", "var/demo/labels", "var/mlflow"):
        (folder / shared).symlink_to(home / shared)
    path = folder / "conf" / "pipelines" / "flight_delay.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "drift: {segments: [origin]}\n")


def score(home: Path) -> None:
    command = ["score", "flight_delay", "--date", SPAN[0], "--to", SPAN[1]]
    subprocess.run(
        [sys.executable, "-m", "nocturne.cli", *command],
        check=True,
        cwd=home,
        env={**os.environ, "NOCTURNE_HOME": str(home)},
    )


def frame(home: Path) -> pd.DataFrame:
    """A row a night: whether it warned or paged, the score's drift, the share of late flights."""
    loaded = config.load("flight_delay", root=home)
    labels = read_days(home / "var" / "demo" / "labels", *SPAN)
    late = labels.group_by("ds").aggregate([("late", "mean")])
    share = dict(zip(late["ds"].to_pylist(), late["late_mean"].to_pylist(), strict=True))
    rows: list[dict[str, Any]] = []
    for night in PublishedNights(loaded).all():
        key, manifest, drift = night.key, night.manifest, night.judgement.drift
        if not SPAN[0] <= key <= SPAN[1]:
            continue
        score = next(f for f in drift.columns if f.column == OUTPUT)
        rows.append(
            {
                "day": key,
                "paged": manifest.pages,
                "alarmed": [f.column for f in drift.columns if f.alarmed and not f.is_output],
                "score alarmed": score.alarmed,
                "apart": [f"{f.column} where {s.name}" for s, f in drift.only_in_segments],
                "psi": score.psi,
                "level": score.threshold,
                "mean": manifest.score_summary[OUTPUT]["mean"],
                "late": share[key],
            }
        )
    return pd.DataFrame(rows)


def words(table: pd.DataFrame, home: Path) -> str:
    trained = read_days(home / "var" / "demo" / "labels", *TRAINING)
    before = pc.mean(trained["late"]).as_py()
    features = Counter(name for names in table["alarmed"] for name in names)
    warned = int((table["alarmed"].map(bool) | table["score alarmed"]).sum())
    psi = spearmanr(table["psi"], table["late"])
    away = spearmanr(table["psi"], (table["late"] - before).abs())
    mean = spearmanr(table["mean"], table["late"])
    top = table.nlargest(20, "psi")
    rows = [
        f"- {len(table)} nights; {warned} warned, {int(table['paged'].sum())} paged "
        f"({int(table['score alarmed'].sum())} for the score itself).",
        "- Features that alarmed, by nights: "
        + (", ".join(f"{name} {count}" for name, count in features.most_common()) or "none")
        + ".",
        f"- Rank correlation (Spearman) over all nights, with the share of flights that were late: "
        f"the score's PSI {psi.statistic:.2f}, its mean {mean.statistic:.2f}. Of the PSI with how "
        f"far that share was from training's {before:.0%}: {away.statistic:.2f}.",
        f"- The 20 nights with the most score drift: {top['late'].mean():.0%} late in the mean, "
        f"all nights {table['late'].mean():.0%}; median PSI {top['psi'].median():.2f} against "
        f"{statistics.median(table['psi']):.2f}.",
    ]
    return "\n".join(rows)


def airports(table: pd.DataFrame) -> str:
    """What only an airport's own rows said."""
    pairs = Counter(pair for pairs in table["apart"] for pair in pairs)
    most = ", ".join(f"{pair} {count}" for pair, count in pairs.most_common(4))
    whole = table["alarmed"].map(bool) | table["score alarmed"]
    only = int((table["apart"].map(bool) & ~whole).sum())
    return (
        f"- The same nights with `drift.segments: [origin]`: {int(whole.sum())} warned as a whole, "
        f"{only} more for an airport's own rows. Columns that alarmed there alone, by nights: "
        f"{most}."
    )


def plot(table: pd.DataFrame) -> None:
    base = alt.Chart(table.assign(day=pd.to_datetime(table["day"]))).encode(
        x=alt.X("day:T", title=None)
    )
    bars = base.mark_bar(width=2).encode(
        y=alt.Y("psi:Q", title="PSI of the score"),
        color=alt.Color(
            "paged:N",
            scale=alt.Scale(domain=[False, True], range=["#8aa4c8", "#c8553d"]),
            title="paged",
        ),
    )
    level = base.mark_line(strokeDash=[4, 3], color="#444").encode(y="level:Q")
    late = base.mark_area(color="#d9b26f", opacity=0.8).encode(
        y=alt.Y("late:Q", title="late flights", axis=alt.Axis(format="%"))
    )
    both = alt.vconcat(
        (bars + level).properties(width=760, height=150), late.properties(width=760, height=110)
    )
    both.save(str(PLOT))


def main() -> None:
    home = Path(os.environ.get("NOCTURNE_HOME", ROOT))
    score(home)
    table = frame(home)
    plot(table)
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition(_BEGIN)
    tail = rest.partition(_END)[2]
    with tempfile.TemporaryDirectory() as folder:
        by_airport(home, Path(folder))
        score(Path(folder))
        said = f"{words(table, home)}\n{airports(frame(Path(folder)))}"
    PAGE.write_text(f"{head}{_BEGIN}\n{said}\n{_END}{tail}", encoding="utf-8")
    print(said)


if __name__ == "__main__":
    main()
