"""Descriptions in MLflow, in its Markdown: of a night's run, and of the experiment of the nights.

A description that a person has written or changed stays as it is. A tag with the digest of the
last text of ours tells the two apart.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import quote

from nocturne.records.manifest import Judgement
from nocturne.records.plan import RunPlan
from nocturne.report.formatting import cut

__all__ = ["VIEW", "describe_experiment", "describe_night", "description_tags", "escaped"]

_NOTE = "mlflow.note.content"
"""The tag that MLflow shows as the description of a run or an experiment."""
_DIGEST = "nocturne.description"
_REASON = 500
"""The most characters of a reason that are shown."""
_LENGTH = 5000
"""Reasons are shown up to this length: MLflow takes 8000, and escaping makes up to 5 of one."""
VIEW = "nocturne"
"""The name of the view of the runs that links open (``mlflow.sharedViewState``)."""
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", ":": "&#58;"}
_MARKUP = re.compile(r"[\\`*_\[\]|~&<>]|:(?=//)|^[-+#]|(?<=^\d)[.)]")


def description_tags(present: Mapping[str, str], text: str) -> dict[str, str]:
    """The tags that make ``text`` the description; none if it is, or if a person wrote another.

    Args:
        present: the tags of the run or the experiment.
    """
    described = present.get(_NOTE, "")
    if described == text or (described and _digest(described) != present.get(_DIGEST)):
        return {}
    return {_NOTE: text, _DIGEST: _digest(text)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def describe_night(plan: RunPlan, judgement: Judgement, experiment: str) -> str:
    """Verdict, rows, model, links, and the reasons that decided, the worst first.

    It begins with the verdict, since the list of runs shows the first words, as they are here.

    Args:
        experiment: the id of the experiment.
    """
    lines = [
        f"**{judgement.verdict}**: {judgement.rows_in:,} rows of {escaped(plan.partition.key)}, "
        f"{judgement.rows_out:,} scored, {judgement.quarantined:,} quarantined, by version "
        f"{plan.model.version} of {escaped(plan.model.name)}",
        "",
        " · ".join([*_scoring(plan.page), f"[all nights]({_runs(experiment)})"]),
        "",
    ]
    findings = sorted(judgement.findings, key=lambda finding: -finding.verdict.rank)
    length = sum(map(len, lines))
    for number, finding in enumerate(findings):
        if length > _LENGTH:
            lines.append(f"- and {len(findings) - number} more, in the report")
            break
        lines.append(f"- {escaped(cut(finding.reason, _REASON))}")
        length += len(lines[-1])
    return "\n".join(lines).rstrip()


def describe_experiment(pipeline: str, experiment: str, page: str) -> str:
    """What the runs are, with links to them and to the pipeline's page in Airflow.

    Its first paragraph has the links, since MLflow folds the others away.

    Args:
        experiment: the id of the experiment.
        page: the URL of the page of a night; "" if it is not known.
    """
    nights = page.rstrip("/").rpartition("/")[0]
    links = [f"[its runs]({_runs(experiment)})", *_scoring(nights)]
    return (
        f"The scored nights of the pipeline **{escaped(pipeline)}**: {' · '.join(links)}\n\n"
        "Each run is a night, named for its partition. Its description and the tag "
        "`nocturne.verdict` say what the checks found, `nocturne.state` what became of it, and "
        "`nocturne.decision` what a person decided. The run *monitoring* of a model version has "
        "one point a night."
    )


def escaped(text: object) -> str:
    """The text on one line, escaped for MLflow's Markdown, since it may contain values of the data.

    MLflow knows no backslash before ``<``, ``>`` and ``&``, and makes a link of a URL.
    """
    line = " ".join(str(text).split())
    return _MARKUP.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), line)


def _scoring(url: str) -> list[str]:
    """The link to a page in Airflow, if its whole URL is known."""
    if not url.startswith(("http://", "https://")):
        return []
    return [f"[Scoring]({quote(url, safe=':/?#@%=&,;+$~')})"]


def _runs(experiment: str) -> str:
    """The link to the experiment's runs, wherever the server is.

    Without ``workflowType`` MLflow 3 opens experiments on an overview of traces.
    """
    page = f"#/experiments/{quote(experiment, safe='')}/runs"
    return f"{page}?workflowType=machine_learning&viewStateShareKey={VIEW}"
