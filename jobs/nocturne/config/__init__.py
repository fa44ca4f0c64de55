"""Reads the configuration, typed YAML in layers, and converts dates to partitions."""

from nocturne.config.challengers import Shared, champion_of, shared
from nocturne.config.layers import POOLS, Loaded, home, load, names, project_sections
from nocturne.config.models import Pipeline, Scoring, Which
from nocturne.config.partitions import (
    end_of,
    from_path,
    key_format,
    later,
    parse,
    partition,
    period,
    span,
)

__all__ = [
    "POOLS",
    "Loaded",
    "Pipeline",
    "Scoring",
    "Shared",
    "Which",
    "champion_of",
    "end_of",
    "from_path",
    "home",
    "key_format",
    "later",
    "load",
    "names",
    "parse",
    "partition",
    "period",
    "project_sections",
    "shared",
    "span",
]
