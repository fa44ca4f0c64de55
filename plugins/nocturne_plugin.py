"""Nocturne in Airflow's list of plugins; the operators live in the package nocturne_airflow.

This file is imported in every task process, so it must stay light.
"""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

__all__ = ["NocturnePlugin"]


class NocturnePlugin(AirflowPlugin):  # type: ignore[misc,unused-ignore]
    """Names the project under Admin > Plugins, where an operator looks for what is installed."""

    name = "nocturne"
