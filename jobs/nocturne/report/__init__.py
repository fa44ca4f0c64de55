"""The report room: the night as an HTML page, and as a run in MLflow."""

from nocturne.report.night import log_night
from nocturne.report.page import html
from nocturne.report.summary import score_summary

__all__ = ["html", "log_night", "score_summary"]
