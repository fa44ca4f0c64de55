"""Writes the JSON schemas for editors, which are committed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nocturne.config.models import Pipeline

__all__ = ["schemas", "write_schemas"]


def schemas() -> dict[str, dict[str, Any]]:
    """File name -> schema, for a pipeline and for a layer; in a layer nothing is required."""
    pipeline = Pipeline.model_json_schema()
    layer = json.loads(json.dumps(pipeline))
    for part in (layer, *layer["$defs"].values()):
        part.pop("required", None)
    layer["title"] = "Layer"
    return {"pipeline.json": pipeline, "layer.json": layer}


def write_schemas(root: Path) -> list[Path]:
    """Write the schemas to conf/schema/; a test checks that they are up to date."""
    written = []
    for name, schema in schemas().items():
        path = root / "conf" / "schema" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")
        written.append(path)
    return written
