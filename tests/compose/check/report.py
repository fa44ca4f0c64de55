"""The figures of a check: results.json beside this file, and the tables of docs/compose.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from compose.rendering import ROOT

__all__ = ["DOCUMENT", "RESULTS", "filled", "write"]

RESULTS = Path(__file__).with_name("results.json")
DOCUMENT = ROOT / "docs" / "compose.md"
_PART = re.compile(r"(<!-- results -->\n).*?(<!-- end of results -->)", re.DOTALL)


def write(results: dict[str, Any]) -> None:
    """Keep the results and renew the document.

    Of a build without the cache, and of what only `--more` does, the last ones' stay.
    """
    before = json.loads(RESULTS.read_text(encoding="utf-8"))
    for kind in ("nights", "seconds"):
        results[kind] = before[kind] | results[kind]
    results = before | results
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    DOCUMENT.write_text(filled(DOCUMENT.read_text(encoding="utf-8"), results), encoding="utf-8")


def filled(document: str, results: dict[str, Any]) -> str:
    """The document with the tables of these results."""
    return _PART.sub(lambda found: f"{found[1]}{_tables(results)}\n{found[2]}", document)


def _tables(results: dict[str, Any]) -> str:
    machine, runs = results["machine"], results["images"]["runtime"]
    where = (
        f"{machine['cores']} cores, {machine['memory_gib']} GiB; engine {machine['engine']}, "
        f"Compose {machine['compose']}"
    )
    build = ", ".join(f"{name} {seconds} s" for name, seconds in results["build"].items())
    sizes = ", ".join(f"`{name}` {image['mb']} MB" for name, image in results["images"].items())
    layers = ", ".join(str(size) for size in runs["layers_mb"])
    steps = [
        ("images", sizes),
        ("layers of `runtime` in MB: the base, Java, packages, torch, our code", layers),
        ("build from nothing, one stage after another", build),
        ("build after a change of our code", f"{results['rebuild']} s"),
        ("`up` until all are healthy, empty volumes", f"{results['up']} s"),
        ("`up` where nothing changed", f"{results['up again']} s"),
        ("the demo's data and model", f"{results['prepare']} s"),
        ("backup, until all that it stopped runs again", f"{results['backup']} s"),
        ("restore", f"{results['restore']} s"),
        *((f"the whole check {how}".strip(), f"{s} s") for how, s in results["seconds"].items()),
    ]
    nights = [(how, _night(figures)) for how, figures in results["nights"].items()]
    memory = results["memory"]
    services = sorted({service for used in memory.values() for service in used})
    used = [(s, *(memory[when].get(s, "") for when in memory)) for s in services]
    return "\n".join(
        [
            *_table(("on", where), steps),
            "",
            *_table(("a night", "seconds"), nights),
            "",
            *_table(("memory of", *memory), used),
        ]
    )


def _night(figures: dict[str, int]) -> str:
    again = (
        f", tried again {figures['again_after']} s after the kill"
        if "again_after" in figures
        else ""
    )
    return f"{figures['seconds']}{again}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows)]


if __name__ == "__main__":
    write(json.loads(RESULTS.read_text(encoding="utf-8")))
