"""Time, memory and floor of contenders that do the same work in turn; the benchmarks' common ruler."""

import argparse
import ctypes
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose as compose_config
from hydra import initialize_config_dir

from genclspp import pipeline
from genclspp.cli import compose
from genclspp.models.policy import Policy
from genclspp.prompts.draft import Prompts
from genclspp.runs.plan import Memory
from genclspp.settings import Cell
from genclspp.store import meter


def take_turns(contenders: dict[str, Callable[[int], Callable[[], Any]]], turns: int) -> dict[str, dict]:
    """Run each contender `turns` times, in turn; per contender its seconds, peak memory and results.

    A contender is told which turn it is, prepares, uncounted, and returns the work to measure.
    """
    runs: dict[str, dict] = {name: {"seconds": [], "cpu": [], "peak_mb": [], "results": []} for name in contenders}
    for turn in range(turns):
        for name, contend in contenders.items():
            work = contend(turn)
            cpu = time.process_time()
            result, seconds, peak = measure(work)
            runs[name]["seconds"].append(round(seconds, 3))
            runs[name]["cpu"].append(time.process_time() - cpu)
            runs[name]["peak_mb"].append(peak)
            runs[name]["results"].append(result)
            print(f"turn {turn + 1} of {turns}, {name}: {seconds:.2f} s", file=sys.stderr)
    return runs


def measure(work: Callable[[], Any]) -> tuple[Any, float, int]:
    """Result, seconds and peak memory (MB) of `work`, the GPU's where there is one; 0 MB where nothing tells."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    meter.restart()
    wait()
    start = time.perf_counter()
    result = work()
    wait()
    return result, time.perf_counter() - start, (meter.peak() or 0) // 2**20


def wait() -> None:
    """Until a GPU has done what it was given, which goes on after the call."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matrix_rate(model: Any, rows: int = 512, columns: int = 4096) -> float:
    """Operations per second of a product with a matrix of the model's, on its device, now."""
    hidden, how = model.config.hidden_size, {"dtype": model.dtype, "device": model.device}
    a, b = torch.randn(rows, hidden, **how), torch.randn(hidden, columns, **how)
    rates = []
    for _ in range(7):
        wait()
        start = time.perf_counter()
        for _ in range(10):
            a @ b
        wait()
        rates.append(10 * 2 * rows * hidden * columns / (time.perf_counter() - start))
    return statistics.median(rates)


def parameters(model) -> tuple[int, int]:
    """Parameters of the layers, and of the output head."""
    head = model.get_output_embeddings().weight
    tables = {id(module.weight): module.weight.numel() for module in model.modules() if is_table(module)}
    tables[id(head)] = head.numel()
    return sum(weight.numel() for weight in model.parameters()) - sum(tables.values()), head.numel()


def is_table(module) -> bool:
    return isinstance(module, torch.nn.Embedding)


def summary(case: str, runs: dict[str, dict], peer: str, ours: str, **facts) -> dict:
    """One row: medians, ratio of medians (also of processor time) and of each turn, and what else is known.

    On a machine that others use too, processor time with one thread is the steadier measure.
    """
    seconds = {name: statistics.median(run["seconds"]) for name, run in runs.items()}
    turns = [a / b for a, b in zip(runs[peer]["seconds"], runs[ours]["seconds"], strict=True)]
    return {
        "case": case,
        "peer_seconds": round(seconds[peer], 3),
        "our_seconds": round(seconds[ours], 3),
        "ratio": round(seconds[peer] / seconds[ours], 2),
        "cpu_ratio": round(statistics.median(runs[peer]["cpu"]) / statistics.median(runs[ours]["cpu"]), 2),
        "ratio_per_turn": [round(turn, 2) for turn in turns],
        "peer_peak_mb": max(runs[peer]["peak_mb"]),
        "our_peak_mb": max(runs[ours]["peak_mb"]),
        **facts,
    }


def report(rows: list[dict], file: str | None) -> None:
    """Print rows as a table and as JSON; leave the JSON in `file` too."""
    shown = [name for name in rows[0] if not isinstance(rows[0][name], list)]
    print("| " + " | ".join(shown) + " |\n|" + " --- |" * len(shown))
    for row in rows:
        print("| " + " | ".join(str(row.get(name, "")) for name in shown) + " |")
    text = json.dumps({"load": os.getloadavg(), "threads": torch.get_num_threads(), "rows": rows}, indent=1)
    print(text)
    if file:
        Path(file).write_text(text)


def words(args: argparse.Namespace, outputs: str) -> list[str]:
    """What all cases of a benchmark have on their command lines."""
    return [
        f"model={args.model}",
        f"precision={args.precision}",
        "dataset=local",
        f"outputs={outputs}",
        *args.set,
    ]


def make_cell(words: Sequence[str]) -> Cell:
    """The cell of a command line; without tracking."""
    compose.register()
    with initialize_config_dir(compose.CONF, version_base="1.3"):
        return compose.cell(compose_config("config", [*words, "tracking=none"], return_hydra_config=True))


def prompts(words: Sequence[str], split: str, count: int) -> tuple[Policy, Prompts]:
    """The base model of a command line, and `count` prompts of a split, as the product renders them."""
    cell = make_cell([*words, f"dataset.{split}_size={count}"])
    walk = pipeline.start(cell, Memory())
    return walk.base, pipeline.prompts(walk, (split,), cell.train if split == "train" else cell.infer)
