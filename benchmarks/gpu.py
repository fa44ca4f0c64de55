"""The engine on one GPU against the model alone and against a plain loop; no Spark.

    python -m benchmarks.gpu                    on a GPU: full size, writes results/gpu.json
    python -m benchmarks.gpu --device cpu --rows 20000     the same code, to see that it runs

Measured in one process, alternating, medians of ``--rounds``, in rows a second:

    model     (a) the program alone, on rows that are on the device already
    decode    Parquet decoding and encoding alone
    plain     (b) read, encode, copy, compute, copy back, one after the other
    engine    ``nocturne.engine.score`` with read-ahead, as a split runs it

To reach: the engine at 0.9 of the slower of ``model`` and ``decode``, and at twice ``plain``.
Then two checks: a micro-batch that does not fit the memory is halved and every row still gets
its score; two and four workers, each with its share of the memory, use one device.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec
from nocturne.engine import encode, load_torch, prefetch, score
from nocturne.source.reading import open_parquet, read_batches

RESULTS = Path(__file__).parent / "results" / "gpu.json"
TOKENS, WIDTH, LAYERS, HEADS, WORDS = 128, 384, 6, 12, 30_522
"""MiniLM-L6's shape."""


class Mlp(torch.nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            torch.nn.Linear(20, 128),
            torch.nn.ReLU(),
            torch.nn.Linear(128, 64),
            torch.nn.ReLU(),
            torch.nn.Linear(64, 1),
        )


class Layer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project, self.out = torch.nn.Linear(WIDTH, 3 * WIDTH), torch.nn.Linear(WIDTH, WIDTH)
        self.up, self.down = torch.nn.Linear(WIDTH, 4 * WIDTH), torch.nn.Linear(4 * WIDTH, WIDTH)
        self.first, self.second = torch.nn.LayerNorm(WIDTH), torch.nn.LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self.project(x).unflatten(-1, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        seen = torch.nn.functional.scaled_dot_product_attention(heads[0], heads[1], heads[2])
        x = self.first(x + self.out(seen.transpose(1, 2).flatten(2)))
        return self.second(x + self.down(torch.nn.functional.gelu(self.up(x))))


class Encoder(torch.nn.Module):
    """Token ids [rows, 128] -> one score a row, by way of the mean of the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(WORDS, WIDTH)
        self.places = torch.nn.Parameter(torch.randn(TOKENS, WIDTH) * 0.02)
        self.layers = torch.nn.ModuleList(Layer() for _ in range(LAYERS))
        self.head = torch.nn.Linear(WIDTH, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.words(ids) + self.places
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(dim=1))


def _numbers(rows: int, random: np.random.Generator) -> pa.Table:
    return pa.table(
        {f"f{i:02d}": random.standard_normal(rows, dtype=np.float32) for i in range(20)}
    )


def _tokens(rows: int, random: np.random.Generator) -> pa.Table:
    ids = pa.array(random.integers(0, WORDS, rows * TOKENS, dtype=np.int32))
    return pa.table({"ids": pa.FixedSizeListArray.from_arrays(ids, TOKENS)})


NUMBERS = TensorSpec("x", "float32", "numeric", tuple(Feature(f"f{i:02d}") for i in range(20)))
IDS = TensorSpec("ids", "int32", "list", (Feature("ids", length=TOKENS),))
SCORE = (OutputSpec("score", "sigmoid"),)

WORKLOADS: dict[str, dict[str, Any]] = {
    "light": {
        "module": Mlp,
        "table": _numbers,
        "spec": Encoding((NUMBERS,), SCORE),
        "example": lambda: torch.zeros(8, 20),
        "precision": "float32",
        "rows": 32_000_000,
        "row_group": 1 << 20,
        "batch": 1 << 18,
    },
    "minilm": {
        "module": Encoder,
        "table": _tokens,
        "spec": Encoding((IDS,), SCORE),
        "example": lambda: torch.zeros(8, TOKENS, dtype=torch.int32),
        "precision": "bfloat16",
        "rows": 400_000,
        "row_group": 1 << 15,
        "batch": 1 << 11,
    },
}


class Bench:
    """One workload: its Parquet file, its program, and the four ways through them."""

    def __init__(
        self, name: str, rows: int, device: str, folder: Path, data: Path | None = None
    ) -> None:
        self.wanted, self.rows, self.device = WORKLOADS[name], rows, device
        self.spec, self.size = self.wanted["spec"], min(self.wanted["batch"], rows)
        self.folder = folder / name
        self.data = data or self._written(folder / f"{name}.parquet")
        torch.manual_seed(0)
        self.folder.mkdir()
        dynamic = ({0: torch.export.Dim.DYNAMIC},)
        with torch.inference_mode(False):
            program = torch.export.export(
                self.wanted["module"]().eval(), (self.wanted["example"](),), dynamic_shapes=dynamic
            )
        torch.export.save(program, self.folder / "model.pt2")
        self.model = self._load()

    def _written(self, path: Path) -> Path:
        random = np.random.default_rng(0)
        piece = min(self.rows, self.wanted["row_group"])
        with pq.ParquetWriter(path, self.wanted["table"](1, random).schema) as writer:
            for start in range(0, self.rows, piece):
                writer.write_table(self.wanted["table"](min(piece, self.rows - start), random))
        return path

    def _load(self) -> Any:
        return load_torch(
            str(self.folder), self.spec, device=self.device, precision=self.wanted["precision"]
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        source = open_parquet(self.data)
        groups = range(source.metadata.num_row_groups)
        return read_batches(source, self.data, groups, list(self.spec.columns), self.size)

    def decode(self) -> None:
        for batch in self.batches():
            encode(batch, self.spec)

    def engine(self) -> np.ndarray[Any, Any]:
        done = score(prefetch(self.batches()), self.model, self.spec, micro_batch=self.size)
        return np.concatenate([b.column("score").to_numpy(zero_copy_only=False) for b in done])

    def plain(self) -> None:
        with torch.inference_mode():
            for batch in self.batches():
                arrays = encode(batch, self.spec)
                found = self.model.run(*(torch.from_numpy(a).to(self.device) for a in arrays))
                torch.sigmoid(found[0]).float().cpu().numpy()

    def alone(self) -> None:
        """The program on one resident micro-batch, as often as it takes to see every row."""
        encoded = encode(next(iter(self.batches())), self.spec)
        with torch.inference_mode():
            tensors = [torch.from_numpy(a).to(self.device) for a in encoded]
            for _ in range(0, self.rows, self.size):
                found = self.model.run(*tensors)
            found[0].float().cpu()


def measure(bench: Bench, rounds: int) -> dict[str, float]:
    """Median rows a second of each way, alternating, after one round that does not count."""
    ways: dict[str, Callable[[], object]] = {
        "model": bench.alone,
        "decode": bench.decode,
        "plain": bench.plain,
        "engine": bench.engine,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return {name: bench.rows / statistics.median(found) for name, found in seconds.items()}


def out_of_memory(bench: Bench) -> dict[str, Any]:
    """A micro-batch far too large: it is halved until it fits, and the scores stay."""
    expected, bench.model = bench.engine(), bench._load()
    size, bench.size = bench.size, bench.rows
    if bench.device.startswith("cuda"):
        torch.cuda.set_per_process_memory_fraction(0.05)
    found = bench.engine()
    if bench.device.startswith("cuda"):
        torch.cuda.set_per_process_memory_fraction(1.0)
    bench.size = size
    error = float(np.abs(found - expected).max())
    return {
        "asked": bench.rows,
        "found": bench.model.limit if hasattr(bench.model, "limit") else None,
        "largest_difference": error,
    }


def _worker(
    name: str, rows: int, device: str, data: Path, share: float, ready: Any, times: Any
) -> None:
    if device.startswith("cuda"):
        torch.cuda.set_per_process_memory_fraction(share)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(name, rows, device, Path(folder), data)
        bench.engine()
        ready.wait()
        started = time.perf_counter()
        bench.engine()
        times.put(time.perf_counter() - started)


def several_workers(bench: Bench, name: str, count: int) -> float:
    """Rows a second of ``count`` processes on one device, together; each scores all rows."""
    spawn = multiprocessing.get_context("spawn")
    ready, times = spawn.Barrier(count), spawn.Queue()
    given = (name, bench.rows, bench.device, bench.data, 1 / count, ready, times)
    workers = [spawn.Process(target=_worker, args=given) for _ in range(count)]
    for worker in workers:
        worker.start()
    slowest = max(times.get() for _ in workers)
    for worker in workers:
        worker.join()
    return count * bench.rows / slowest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=int, help="of each workload; default: its full size")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workload", choices=sorted(WORKLOADS), action="append")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    name = torch.cuda.get_device_name() if asked.device.startswith("cuda") else "cpu"
    found: list[dict[str, Any]] = []
    for workload in asked.workload or WORKLOADS:
        rows = asked.rows or WORKLOADS[workload]["rows"]
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(workload, rows, asked.device, Path(folder))
            speed = measure(bench, asked.rounds)
            bound = min(speed["model"], speed["decode"])
            found.append(
                {
                    "workload": workload,
                    "device": name,
                    "rows": rows,
                    "micro_batch": bench.size,
                    "torch": torch.__version__,
                    "precision": WORKLOADS[workload]["precision"],
                    "rows_per_second": {k: round(v) for k, v in speed.items()},
                    "engine_of_bound": round(speed["engine"] / bound, 3),
                    "engine_of_model": round(speed["engine"] / speed["model"], 3),
                    "engine_of_plain": round(speed["engine"] / speed["plain"], 3),
                    "out_of_memory": out_of_memory(bench),
                    "workers_rows_per_second": {
                        str(n): round(several_workers(bench, workload, n)) for n in (2, 4)
                    },
                }
            )
        print(json.dumps(found[-1], indent=1), flush=True)
    if asked.device.startswith("cuda"):
        asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
