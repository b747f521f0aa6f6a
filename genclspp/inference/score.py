"""Scoring: log-probabilities of the answers, and greedy completions, from which a decoder then chooses."""

import json
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from genclspp import progress
from genclspp.inference import think
from genclspp.models import tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.progress import Watch
from genclspp.prompts.draft import ModelInputs
from genclspp.store.artifacts import Artifact, Work, stage
from genclspp.store.files import write_json

SCORES, COMPLETIONS, PROMPTS = "scores.jsonl", "completions.json", "prompts.jsonl"


def _reading(policy: Policy, inputs: ModelInputs, **_: Any) -> Work:
    return Work(inputs.length, policy.kind)


def _writing(policy: Policy, inputs: ModelInputs, max_new_tokens: int, **_: Any) -> Work:
    return Work(len(inputs.texts) * max_new_tokens, policy.kind)


@stage("score", version=3, work=_reading)
def score(
    policy: Policy,
    inputs: ModelInputs,
    thoughts: Artifact | None,
    batch_size: int,
    watch: Watch,
    out: Path,
) -> None:
    """Log-probability of every completion after every text; one row of `scores.jsonl` per text, in order.

    thoughts: of the stage think, inserted between text and completion; None without reasoning
    """
    from genclspp.trees import scoring

    # Loaded at the first chunk: a resumed stage may have none left.
    model, texts = cache(partial(weights.load, policy)), _texts(inputs, thoughts)

    def rows(chunk: list[str]) -> Iterator[dict[str, Any]]:
        scores = scoring.score(model(), tokenizers.tokenizer(policy), chunk, list(inputs.completions))
        return _rows(scores, len(chunk))

    progress.write(out / SCORES, texts, batch_size, rows, watch)
    tokens = sum(row["tokens"] for row in read(out))
    write_json(out / "summary.json", {"prompts": len(texts), "tokens": round(tokens)})


@stage("complete", version=4, work=_writing)
def complete(
    policy: Policy,
    inputs: ModelInputs,
    thoughts: Artifact | None,
    scores: Artifact,
    max_new_tokens: int,
    batch_size: int,
    watch: Watch,
    out: Path,
) -> None:
    """What greedy decoding writes after every text; leaves `completions.json`, in order.

    scores: what `score` left for the same inputs. If the greedy path stayed inside the tree of completions, it is
            the answer already; only the rest is generated.
    """
    from genclspp.trees import scoring

    tokens, texts = tokenizers.tokenizer(policy), _texts(inputs, thoughts)
    written: list[list[int] | None] = [row["greedy"] for row in read(scores.path)]
    left = [position for position, ids in enumerate(written) if ids is None]
    model = weights.load(policy) if left else None
    # An answer is one line. A template ends a turn with a token of its own; in plain text the next line follows.
    ends = tokenizers.newlines(policy) if left and tokenizers.layout(policy) == "plain" else frozenset()
    for start in range(0, len(left), batch_size):
        chunk = left[start : start + batch_size]
        made = scoring.generate(
            model, tokens, [texts[k] for k in chunk], inputs.completions, max_new_tokens=max_new_tokens, stops=ends
        )
        for position, ids in zip(chunk, made, strict=True):
            written[position] = ids
        watch.advance(start + len(chunk), len(left))
    write_json(
        out / COMPLETIONS,
        [tokens.decode((ids or [])[:max_new_tokens], skip_special_tokens=True) for ids in written],
    )
    write_json(out / "summary.json", {"prompts": len(texts), "generated": len(left)})


@stage("score_prompts", version=1, work=_reading)
def score_prompts(
    policy: Policy, inputs: ModelInputs, thoughts: Artifact | None, batch_size: int, watch: Watch, out: Path
) -> None:
    """Log-probability of every text itself; one row of `prompts.jsonl` per text, in order."""
    from genclspp.trees import scoring

    model, texts = cache(partial(weights.load, policy)), _texts(inputs, thoughts)

    def rows(chunk: list[str]) -> Iterator[dict[str, Any]]:
        read = scoring.prompt_logprobs(model(), tokenizers.tokenizer(policy), chunk, list(inputs.completions))
        return ({"logprob": logprob, "tokens": count} for logprob, count in read)

    progress.write(out / PROMPTS, texts, batch_size, rows, watch)


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows that `score` left in `folder`."""
    return progress.read(folder / SCORES)


def read_completions(folder: Path) -> list[str]:
    """What `complete` left in `folder`."""
    return json.loads((folder / COMPLETIONS).read_text(encoding="utf-8"))


def read_prompts(folder: Path) -> list[tuple[float, int]]:
    """What `score_prompts` left in `folder`: log-probability and number of tokens of each text."""
    return [(row["logprob"], row["tokens"]) for row in progress.read(folder / PROMPTS)]


def _texts(inputs: ModelInputs, thoughts: Artifact | None) -> Sequence[str]:
    return inputs.after(think.read(thoughts.path)) if thoughts else inputs.texts


def _rows(scores: Any, count: int) -> Iterator[dict[str, Any]]:
    for k in range(count):
        yield {
            "logprobs": scores.logprobs[k].tolist(),
            "lengths": scores.lengths[k].tolist(),
            "greedy": scores.greedy[k],
            "constrained": scores.constrained[k],
            "tokens": scores.tokens / count,
        }
