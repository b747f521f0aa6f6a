"""Sweeps whose records, predictions and curves are made up, and written as the real ones are."""

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from genclspp.inference import predictions
from genclspp.inference.predictions import ABSTAINED, INVALID, Predictions, Texts
from genclspp.report.results import Results

Record = dict[str, Any]


def sweep(
    folder: Path,
    *,
    train: Sequence[str] = ("zero_shot", "icl"),
    infer: Sequence[str] = ("zero_shot", "icl"),
    rl: Sequence[str] = ("none",),
    seeds: Sequence[int] = (0, 1, 2),
    labels: Sequence[str] = ("red", "green", "blue"),
    examples: int = 60,
    match: float = 0.1,
    gain: float = 0.0,
) -> Results:
    """Cells that are right more often by `match` if both sides have equal prompts, and by `gain` after RL."""
    records = []
    for place, (trained, asked, learner, seed) in enumerate(product(train, infer, rl, seeds)):
        key = f"{place:04}"
        share = 0.7 + match * (trained == asked) + gain * (learner != "none")
        (folder / "predict" / key).mkdir(parents=True)
        found, texts = answers(share, seed + 10 * place, labels, examples)
        predictions.write(folder / "predict" / key, "test", found, texts)
        accuracy = float((found.label == found.gold).mean())
        sft = f"{trained}{seed}"
        curves(folder / "sft" / sft, [{"step": 10 * k + 10, "loss": 3 / (k + 1) + 0.01 * seed} for k in range(8)])
        chosen: Record = {"train": trained, "infer": asked, "rl": learner, "seed": seed, "accuracy": accuracy}
        chosen |= {"artifact/sft": sft, "policy": sft, "tokens/sft": 5e5}
        if learner != "none":
            policy = f"{sft}{learner}"
            chosen |= {"artifact/rl": policy, "policy": policy, "rl/best_step": 6, "seconds/rl": 25.0}
            curves(folder / "rl" / policy, checks())
        chosen |= {"artifact/score": f"score{key}", "memory/score": 1.2e9, "memory/sft": 2.5e9}
        records.append({**record(key, examples), **chosen})
    return Results(records, folder)


def record(key: str, examples: int) -> Record:
    """What all records have in common."""
    seconds = {"seconds/sft": 40.0, "seconds/score": 5.0, "seconds/predict": 0.1}
    made = {"examples": examples, "digest/test": "same", "is_random": True, "artifact/predict": key}
    return {"name": "made_up", "dataset": "colours", "decode": "ppl", "sft": "full", **made, **seconds}


def curves(folder: Path, rows: Sequence[Record]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "training.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def checks() -> list[Record]:
    """Rows as RL leaves them: those of training, and checks on held-out prompts."""
    held_out = {"accuracy": 0.8, "kl": 0.1, "entropy": 0.5, "invalid": 0.01}
    training = {"reward": 0.7, "frac_reward_zero_std": 0.3, "loss": 0.0}
    steps = [
        {"step": step, **{name: value * step / 8 for name, value in training.items()}} for step in range(1, 9)
    ]
    values = [{f"held_out/{name}": value * step / 6 for name, value in held_out.items()} for step in (0, 6)]
    return steps + [{"step": step, **row} for step, row in zip((0, 6), values, strict=True)]


def answers(share: float, seed: int, labels: Sequence[str], examples: int) -> tuple[Predictions, Texts]:
    """Predictions of which a share is right; some are invalid, some abstain. Examples depend on nothing else."""
    same, random = np.random.default_rng(7), np.random.default_rng(seed)
    gold = same.integers(0, len(labels), examples)
    texts = tuple("x" * length for length in same.integers(0, 400, examples).tolist())
    near = (gold + 1) % len(labels)  # mistakes are mostly about the next label
    wrong = np.where(random.random(examples) < 0.8, near, random.integers(0, len(labels), examples))
    forced = np.where(random.random(examples) < share, gold, wrong)
    logits = random.normal(0, 1, (examples, len(labels)))
    logits[np.arange(examples), forced] = logits.max(axis=1) + random.gamma(2, 1 + 2 * (forced == gold))
    tables = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = (tables / tables.sum(axis=1, keepdims=True)).astype(np.float32)
    label = np.where(probabilities.max(axis=1) < np.quantile(probabilities.max(axis=1), 0.07), ABSTAINED, forced)
    label = np.where(random.random(examples) < 0.02, INVALID, label)
    found = Predictions(
        labels=tuple(labels),
        ids=tuple(map(str, range(examples))),
        gold=gold,
        label=label,
        forced=forced,
        probabilities=probabilities,
        logprobs=np.log(np.maximum(probabilities, 1e-30)),
        completions=tuple(labels[place] for place in forced),
        truncated=np.zeros(examples, dtype=bool),
    )
    return found, Texts(texts)
