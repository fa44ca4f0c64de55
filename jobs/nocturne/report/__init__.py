"""The report room: a night as an HTML page, as an MLflow run and in the monitoring run."""

from nocturne.report.days import JudgedDay, output_names
from nocturne.report.expectations import expectations_html
from nocturne.report.monitoring import log_to_monitoring
from nocturne.report.night import log_night
from nocturne.report.night_state import NightState, decision_tags, tag_night
from nocturne.report.page import night_html
from nocturne.report.span import TruthSection, span_html
from nocturne.report.summary import score_summary
from nocturne.report.truth import log_truth

__all__ = [
    "JudgedDay",
    "NightState",
    "TruthSection",
    "decision_tags",
    "expectations_html",
    "log_night",
    "log_to_monitoring",
    "log_truth",
    "night_html",
    "output_names",
    "score_summary",
    "span_html",
    "tag_night",
]
