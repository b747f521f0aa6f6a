"""Reading: what the model says of each prompt, before any decoder chooses."""

from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from genclspp import progress
from genclspp.models import tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.progress import Watch
from genclspp.store import write_json
from genclspp.trees import scoring

ROWS = "scores.jsonl"


def score(
    policy: Policy, texts: Sequence[str], completions: Sequence[str], batch_size: int, watch: Watch, out: Path
) -> None:
    """Log-probability of every completion under every text; one row of `scores.jsonl` per text, in order."""
    model = cache(partial(weights.load, policy))

    def rows(chunk: list[str]) -> Iterator[dict[str, Any]]:
        return _rows(scoring.score(model(), tokenizers.tokenizer(policy), chunk, list(completions)), len(chunk))

    progress.write(out / ROWS, texts, batch_size, rows, watch)
    tokens = sum(row["tokens"] for row in read(out))
    write_json(out / "summary.json", {"prompts": len(texts), "tokens": round(tokens)})


def complete(
    policy: Policy,
    texts: Sequence[str],
    completions: Sequence[str],
    max_new_tokens: int | None,
    scores: Path,
    batch_size: int,
    watch: Watch,
    out: Path,
) -> None:
    """What greedy decoding writes after every text: `completions.json`, in order.

    scores: the folder that `score` filled for the same arguments. Where its greedy walk stayed among the
    completions, that is what would be written; only the rest is generated.
    """
    tokens = tokenizers.tokenizer(policy)
    if max_new_tokens is None:
        max_new_tokens = tokenizers.longest_answer(policy, completions) + tokenizers.BEYOND
    written: list[list[int] | None] = [row["greedy"] for row in read(scores)]
    left = [position for position, walk in enumerate(written) if walk is None]
    model = weights.load(policy) if left else None
    for start in range(0, len(left), batch_size):
        chunk = left[start : start + batch_size]
        made = scoring.generate(
            model, tokens, [texts[k] for k in chunk], completions, max_new_tokens=max_new_tokens
        )
        for position, ids in zip(chunk, made, strict=True):
            written[position] = ids
        watch.advance(start + len(chunk), len(left))
    write_json(
        out / "completions.json",
        [tokens.decode((ids or [])[:max_new_tokens], skip_special_tokens=True) for ids in written],
    )
    write_json(out / "summary.json", {"prompts": len(texts), "generated": len(left)})


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows that `score` left in `folder`."""
    return progress.read(folder / ROWS)


def _rows(scores: scoring.Scores, count: int) -> Iterator[dict[str, Any]]:
    for k in range(count):
        yield {
            "logprobs": scores.logprobs[k].tolist(),
            "lengths": scores.lengths[k].tolist(),
            "greedy": scores.greedy[k],
            "constrained": scores.constrained[k],
            "tokens": scores.tokens / count,
        }
