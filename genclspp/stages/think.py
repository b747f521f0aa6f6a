"""Thinking: what the model writes between the tags, before any answer is read."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genclspp import models, prompts, scoring, thoughts
from genclspp.models import Policy
from genclspp.stages.score import whole_rows
from genclspp.store import write_json
from genclspp.watch import Watch

ROWS = "thoughts.jsonl"


def think(
    policy: Policy, texts: Sequence[str], thought_tokens: int, batch_size: int, watch: Watch, out: Path
) -> None:
    """A greedy thought behind every text, which opens it; one row of `thoughts.jsonl` per text, in order.

    A thought that is not closed within `thought_tokens` is cut there. After an interruption, it goes on behind
    the last whole chunk, as scoring does.
    """
    done = whole_rows(out / ROWS, batch_size, len(texts))
    model = models.load(policy) if done < len(texts) else None
    tokens = models.tokenizer(policy)
    with (out / ROWS).open("a", encoding="utf-8") as file:
        for start in range(done, len(texts), batch_size):
            chunk = list(texts[start : start + batch_size])
            written = scoring.generate(model, tokens, chunk, max_new_tokens=thought_tokens)
            for text, ids in zip(chunk, written, strict=True):
                file.write(json.dumps(_row(policy, text, ids, thought_tokens), ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
            watch.advance(start + len(chunk), len(texts))
    rows = [json.loads(line) for line in (out / ROWS).read_text(encoding="utf-8").split("\n") if line]
    unclosed = sum(not row["closed"] for row in rows)
    write_json(
        out / "summary.json",
        {
            "prompts": len(rows),
            "tokens": sum(row["tokens"] for row in rows),
            "unclosed_share": unclosed / len(rows) if rows else 0.0,
        },
    )


def _row(policy: Policy, text: str, ids: list[int], thought_tokens: int) -> dict[str, Any]:
    """The thought as mere text: neither special tokens nor tags in it have any power over what follows."""
    tokens = models.tokenizer(policy)

    def count(part: str) -> int:
        return len(tokens.encode(part, add_special_tokens=False))

    thought, is_closed = thoughts.split(tokens.decode(ids, skip_special_tokens=True))
    plain = thoughts.plain(models.frame(policy).plain(thought))
    short = prompts.shorten(plain, thought_tokens, count)
    return {"thought": short, "closed": is_closed, "tokens": count(text) + len(ids)}
