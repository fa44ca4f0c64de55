"""The report room: a night as an HTML page, as an MLflow run and in the monitoring run."""

from nocturne.report.days import output_names
from nocturne.report.expectations import expectations_html
from nocturne.report.monitoring import log_to_monitoring
from nocturne.report.night import log_night
from nocturne.report.night_state import NightState, decision_tags, tag_night
from nocturne.report.page import night_html
from nocturne.report.span import span_html
from nocturne.report.summary import score_summary

__all__ = [
    "NightState",
    "decision_tags",
    "expectations_html",
    "log_night",
    "log_to_monitoring",
    "night_html",
    "output_names",
    "score_summary",
    "span_html",
    "tag_night",
]
