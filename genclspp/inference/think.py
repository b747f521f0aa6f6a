"""Thinking: what the model writes between the tags, before its answers are scored."""

from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from genclspp import progress
from genclspp.models import tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.progress import Watch
from genclspp.prompts import render, thoughts
from genclspp.prompts.draft import ModelInputs
from genclspp.store.artifacts import Work, stage
from genclspp.store.files import write_json

THOUGHTS = "thoughts.jsonl"


def _writing(policy: Policy, inputs: ModelInputs) -> Work:
    return Work(len(inputs.texts) * inputs.thought_tokens, policy.kind)


@stage("think", version=3, work=_writing)
def think(policy: Policy, inputs: ModelInputs, batch_size: int, watch: Watch, out: Path) -> None:
    """Generate a greedy thought after every text; one row of `thoughts.jsonl` per text, in order.

    Texts end with the opening tag. A thought that is not closed within `inputs.thought_tokens` is truncated there.
    """
    from genclspp.trees import scoring

    texts, thought_tokens = inputs.texts, inputs.thought_tokens
    model, tokens = cache(partial(weights.load, policy)), tokenizers.tokenizer(policy)

    def rows(chunk: list[str]) -> Iterator[dict[str, Any]]:
        written = scoring.generate(model(), tokens, chunk, max_new_tokens=thought_tokens)
        return (_row(policy, text, ids, thought_tokens) for text, ids in zip(chunk, written, strict=True))

    progress.write(out / THOUGHTS, texts, batch_size, rows, watch)
    made = list(progress.read(out / THOUGHTS))
    unclosed = sum(not row["closed"] for row in made)
    write_json(
        out / "summary.json",
        {
            "prompts": len(made),
            "tokens": sum(row["tokens"] for row in made),
            "unclosed_share": unclosed / len(made) if made else 0.0,
        },
    )


def read(folder: Path) -> list[str]:
    """The thoughts that `think` left in `folder`."""
    return [row["thought"] for row in progress.read(folder / THOUGHTS)]


def _row(policy: Policy, text: str, ids: list[int], thought_tokens: int) -> dict[str, Any]:
    """One row: the thought as plain text, with special tokens and tags defused, since text will follow it."""
    tokens = tokenizers.tokenizer(policy)

    def count(part: str) -> int:
        return len(tokens.encode(part, add_special_tokens=False))

    thought, is_closed = thoughts.split(tokens.decode(ids, skip_special_tokens=True))
    plain = thoughts.plain(tokenizers.frame(policy).plain(thought))
    short = render.shorten(plain, thought_tokens, count)
    return {"thought": short, "closed": is_closed, "tokens": count(text) + len(ids)}
