"""Which figures of two models can be compared, and which way is better."""

from __future__ import annotations

from typing import Literal

__all__ = ["BETTER"]

BETTER: dict[str, Literal["more", "less"]] = {
    "auc": "more",
    "average_precision": "more",
    "brier": "less",
    "log_loss": "less",
    "calibration_error": "less",
    "precision": "more",
    "recall": "more",
    "f1": "more",
    "accuracy": "more",
    "macro_f1": "more",
    "mae": "less",
    "rmse": "less",
    "pinball": "less",
    "r2": "more",
}
"""``bias`` is missing: neither way is better."""
