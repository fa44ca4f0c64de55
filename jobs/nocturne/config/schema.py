"""JSON schemas for editors, written from the models and committed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nocturne.config.models import Pipeline

__all__ = ["schemas", "write_schemas"]


def schemas() -> dict[str, dict[str, Any]]:
    """File name -> schema: of a pipeline, and of a layer, which may leave anything out."""
    pipeline = Pipeline.model_json_schema()
    layer = json.loads(json.dumps(pipeline))
    for part in (layer, *layer["$defs"].values()):
        part.pop("required", None)
    layer["title"] = "Layer"
    return {"pipeline.json": pipeline, "layer.json": layer}


def write_schemas(root: Path) -> list[Path]:
    """Writes them into conf/schema/; a test holds them fresh."""
    written = []
    for name, schema in schemas().items():
        path = root / "conf" / "schema" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")
        written.append(path)
    return written
