"""The project of the pipeline's tests: what people do with nights needs nights."""

from __future__ import annotations

from pipeline.conftest import project as project
from pipeline.conftest import registry as registry
