"""The engine runs where there is nothing but numpy, Numba, pyarrow and torch."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"pydantic", "pyspark", "mlflow", "pandas", "yaml", "airflow",
                                  "great_expectations", "scipy", "jsonschema"}:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)

sys.meta_path.insert(0, Blocked())
import pyarrow as pa, torch
from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec
from nocturne.engine import REASON, TorchModel, score

spec = Encoding((TensorSpec("x", "float32", "numeric", (Feature("x"),)),), (OutputSpec("y"),))
[done] = score([pa.record_batch({"x": [1.0, None, 3.0]})], TorchModel(torch.neg), spec)
assert done["y"].to_pylist() == [-1.0, 0.0, -3.0]
assert done[REASON].null_count == 3
print("scored")
"""


def test_it_needs_numpy_numba_pyarrow_and_torch_only() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "scored", done.stderr
