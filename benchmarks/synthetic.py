"""A made-up sweep of any size: records, predictions, prompts and curves as a real one leaves them, in seconds.

Examples differ in difficulty, cells in skill, seeds by luck; labels that stand side by side are confused.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from genclspp.inference import predictions
from genclspp.inference.predictions import ABSTAINED, INVALID, Predictions, Texts, lines
from genclspp.report.statistics import wilson
from genclspp.store.files import write_json
from genclspp.store.keys import key

CHOICES = {  # word -> choice -> what it adds to the skill of a cell
    "train": {"zero_shot": 0.0, "icl": 0.25, "definition": 0.15, "numeric": -0.3, "icl_similar": 0.35},
    "infer": {"zero_shot": 0.0, "icl": 0.15, "definition": 0.1, "numeric": -0.4, "icl_similar": 0.3},
    "rl": {"none": 0.0, "grpo": 0.2},
    "sft": {"full": 0.1, "lora": 0.0},
    "decode": {"ppl": 0.0, "greedy": -0.1},
}
MATCHED = 0.5  # skill that the same strategy on both sides adds
SHARED = {"dataset": "helpdesk", "model": "smollm2", "layout": "turns", "precision": "bfloat16"}
SHARED |= {"reward": "correct", "reasoning": "none"}
ACTIONS = ("cancel", "change", "check", "find", "lose", "open", "pay", "refund", "renew", "report", "send")
THINGS = ("account", "card", "invoice", "order", "parcel", "password", "subscription")
WORDS = (
    "please",
    "today",
    "yesterday",
    "again",
    "the",
    "my",
    "a",
    "with",
    "without",
    "number",
    "still",
    "when",
    "why",
)


@dataclass(frozen=True)
class Size:
    """Of a sweep. `cells`: without seeds; at most 200."""

    cells: int = 200
    seeds: int = 3
    examples: int = 1000
    labels: int = 77


@dataclass(frozen=True)
class Split:
    """Texts, gold labels, and how hard each example is."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    gold: np.ndarray
    difficulty: np.ndarray


def write(outputs: Path, name: str, size: Size, texts: Sequence[str] = ()) -> None:
    """Write a sweep to `outputs`. texts: of the first examples, in place of made-up ones"""
    labels = tuple(f"{action} {thing}" for action in ACTIONS for thing in THINGS)[: size.labels]
    split = _split(labels, size.examples, texts)
    for number, (choices, seed) in enumerate(product(list(_cells(size.cells)), range(size.seeds))):
        _write_cell(outputs, name, split, labels, choices, seed, number)


def _cells(count: int) -> Iterator[dict[str, str]]:
    """Choices of cells: strategies vary first, so that a small sweep is a square of them."""
    smallest = [size for size in range(1, 6) if size * size <= count][-1]
    sides = [list(CHOICES[word])[: max(smallest, 2)] for word in ("train", "infer")]
    rest = product(*(CHOICES[word] for word in ("decode", "sft", "rl")))
    words = ("decode", "sft", "rl", "train", "infer")
    every = (dict(zip(words, (*others, *pair), strict=True)) for others, pair in product(rest, product(*sides)))
    yield from (cell for _, cell in zip(range(count), every, strict=False))


def _split(labels: Sequence[str], examples: int, texts: Sequence[str]) -> Split:
    draw, chance = Random(0), np.random.default_rng(0)
    gold = chance.integers(0, len(labels), examples)
    made = [
        " ".join((*draw.sample(WORDS, 4), *labels[label].split(), *draw.sample(WORDS, draw.randint(3, 9)))) + "."
        for label in gold
    ]
    made[: len(texts)] = texts
    ids = tuple(f"test-{place}" for place in range(examples))
    return Split(ids, tuple(made), gold, chance.normal(0, 1, examples))


def _write_cell(
    outputs: Path, name: str, split: Split, labels: Sequence[str], choices: dict[str, str], seed: int, number: int
) -> None:
    skill = 1.6 + sum(CHOICES[word][choice] for word, choice in choices.items())
    skill += MATCHED * (choices["train"] == choices["infer"])
    answered = _answers(split, labels, skill, choices["decode"] == "greedy", seed, number)
    trained = {word: choices[word] for word in ("train", "sft")}
    keys = {
        "sft": key("sft", trained, seed),
        "rl": key("rl", trained, seed),
        "predict": key("predict", choices, seed, split.ids, labels),
    }
    if choices["rl"] == "none":
        del keys["rl"]
    folder = outputs / "artifacts" / "predict" / keys["predict"]
    folder.mkdir(parents=True, exist_ok=True)
    prompts = tuple(_prompts(split, labels, choices["infer"], seed))
    predictions.write(folder, "test", answered, Texts(split.texts, None, prompts))
    for stage in keys.keys() & {"sft", "rl"}:
        _write_curve(outputs / "artifacts" / stage / keys[stage], stage, seed)
    record = _record(name, choices, seed, keys, answered)
    write_json(outputs / "results" / name / f"{number:04}-{key(choices, seed)}.json", record)


def _answers(
    split: Split, labels: Sequence[str], skill: float, is_greedy: bool, seed: int, number: int
) -> Predictions:
    """Logits with luck of examples, seed and cell; a greedy decoder sometimes writes no label."""
    examples, chance = len(split.ids), np.random.default_rng((seed, number))
    logits = chance.normal(0, 1, (examples, len(labels)))
    rows = np.arange(examples)
    logits[rows, split.gold] += skill + 1.2 + 0.06 * chance.normal() - split.difficulty
    logits[rows, (split.gold + 1) % len(labels)] += 1.2 + 0.6 * split.difficulty
    logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    best = logprobs.argmax(axis=1)
    said = best.copy()
    if is_greedy:
        said[chance.random(examples) < 0.02] = INVALID
        said[chance.random(examples) < 0.01] = ABSTAINED
    written = tuple("I am not sure, sorry" if label < 0 else labels[label] for label in said)
    shares, truncated = np.exp(logprobs).astype(np.float32), np.zeros(examples, dtype=bool)
    return Predictions(
        tuple(labels), split.ids, split.gold, said, best, shares, logprobs.astype(np.float32), written, truncated
    )


def _prompts(split: Split, labels: Sequence[str], strategy: str, seed: int) -> Iterator[tuple[str, ...]]:
    """Prompts as lines: what all share, demonstrations, the text."""
    names = [str(place) for place in range(len(labels))] if strategy == "numeric" else labels
    head = f"Classify the message by what the customer wants.\nLabels: {', '.join(names)}\n\n"
    if strategy == "definition":
        head += "".join(f"{label}: the customer wants to {label}.\n" for label in labels) + "\n"
    fixed, draw = Random(seed).sample(range(len(split.ids)), min(5, len(split.ids))), Random(seed)
    for text in split.texts:
        shown = {"icl": fixed, "icl_similar": draw.sample(range(len(split.ids)), 3)}.get(strategy, [])
        said = (f"Text: training: {split.texts[one]}\nLabel: {names[split.gold[one]]}\n\n" for one in shown)
        yield lines(f"{head}{''.join(said)}Text: {text}\nLabel:")


def _write_curve(folder: Path, stage: str, seed: int) -> None:
    if (folder / "training.jsonl").exists():
        return
    chance = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, float]] = []
    for step in range(1, 101):
        if stage == "sft":
            rows.append({"step": step, "loss": float(3 * np.exp(-step / 20) + 0.1 * chance.random())})
        else:
            gained = 0.1 * (1 - np.exp(-step / 30))
            rows.append({"step": step, "reward": float(0.7 + gained + 0.05 * chance.random())})
            if step % 20 == 0:
                rows.append({"step": step, "held_out/accuracy": float(0.7 + gained), "held_out/kl": step / 1000})
    (folder / "training.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _record(
    name: str, choices: dict[str, str], seed: int, keys: dict[str, str], answered: Predictions
) -> dict[str, Any]:
    examples = len(answered.ids)
    right = int((answered.label == answered.gold).sum())
    low, high = wilson(right, examples)
    luck = np.random.default_rng(right).normal(0, 0.01)
    seconds = {"sft": 120.0 + seed, "rl": 300.0 + seed, "predict": 0.05}
    seconds |= {"score": 40.0 + 60 * (choices["infer"] in ("icl", "icl_similar", "definition"))}
    found = {
        stage: keys.get(stage, key(stage, choices, seed)) for stage in seconds if stage != "rl" or "rl" in keys
    }
    return {
        "name": name,
        **{word: choices[word] for word in ("train", "infer")},
        **SHARED,
        **{word: choices[word] for word in ("decode", "sft", "rl")},
        "seed": seed,
        "typed/words": " ".join([*(f"{word}={choice}" for word, choice in choices.items()), f"seed={seed}"]),
        "is_random": True,
        "digest/test": key(answered.ids),
        "examples": examples,
        "accuracy": right / examples,
        "accuracy_low": low,
        "accuracy_high": high,
        "invalid_rate": float((answered.label == INVALID).mean()),
        "validation/examples": examples,
        "validation/accuracy": float(np.clip(right / examples + luck, 0, 1)),
        **{f"artifact/{stage}": value for stage, value in found.items()},
        **{f"seconds/{stage}": seconds[stage] for stage in found},
        **{f"tokens/{stage}": 1000 * examples for stage in found},
        **{f"memory/{stage}": 2_000_000_000 for stage in found},
        "seconds": sum(seconds[stage] for stage in found),
        "device": "2 cores",
        "version/python": "3.11.7",
        "version/torch": "2.13.0",
        "threads": "2",
        "commit": "0" * 40,
    }
