"""The report room: the night as an HTML page, as a run in MLflow, and in the monitoring run."""

from nocturne.report.days import output_names
from nocturne.report.monitoring import watch
from nocturne.report.night import log_night
from nocturne.report.page import html
from nocturne.report.span import span_html
from nocturne.report.summary import score_summary

__all__ = ["html", "log_night", "output_names", "score_summary", "span_html", "watch"]
