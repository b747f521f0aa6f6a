"""Sentence embeddings by sentence-transformers models, computed with transformers alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genclspp.suggest import UserError

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class Embedder:
    """A sentence-transformers model: its encoder, pooling ("mean" or "first" token) and maximum input length."""

    model: Any
    tokenizer: Any
    pooling: str
    max_length: int

    @classmethod
    def load(cls, path: str) -> "Embedder":
        """Load a local folder or a hub id.

        Raises UserError if it cannot be loaded, or for a pooling other than mean or first token.
        """
        from transformers import AutoModel, AutoTokenizer

        try:
            model = AutoModel.from_pretrained(path, use_safetensors=True).eval()
            tokenizer = AutoTokenizer.from_pretrained(path)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            wanted = "expected tfidf, a folder or a hub id of a sentence-transformers model"
            raise UserError(f"embedder {path!r} cannot be loaded: {wanted} ({reason})") from None
        limit = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512))
        chosen = _settings(path, "sentence_bert_config.json").get("max_seq_length") or limit
        return cls(model, tokenizer, _pooling(path), min(chosen, limit))

    def __call__(self, texts: Sequence[str], batch_size: int = 64) -> "numpy.ndarray":
        """Unit vectors of the texts, (texts, width) in float32."""
        import numpy
        import torch

        order = sorted(range(len(texts)), key=lambda n: len(texts[n]))  # similar lengths: little padding
        vectors = numpy.zeros((len(texts), self.model.config.hidden_size), dtype=numpy.float32)
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                batch = order[start : start + batch_size]
                vectors[batch] = self._embed([texts[n] for n in batch]).numpy()
        return vectors

    def _embed(self, texts: list[str]) -> Any:
        import torch

        inputs = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        states = self.model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1).to(states.dtype)
        pooled = states[:, 0] if self.pooling == "first" else (states * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(pooled.float(), dim=-1)


def _pooling(path: str) -> str:
    settings = _settings(path, "1_Pooling/config.json")
    modes = sorted(key for key, on in settings.items() if key.startswith("pooling_mode_") and on is True)
    known = {(): "mean", ("pooling_mode_mean_tokens",): "mean", ("pooling_mode_cls_token",): "first"}
    if tuple(modes) not in known:
        raise UserError(f"embedder {path!r} pools with {', '.join(modes)}; expected the mean or the first token")
    return known[tuple(modes)]


def _settings(path: str, name: str) -> dict[str, Any]:
    """A JSON file of the model; {} if it has none."""
    from transformers.utils.hub import cached_file

    # Offline, this looks in the cache; a missing file is not an error either way.
    file = cached_file(
        path, name, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False
    )
    return json.loads(Path(file).read_text(encoding="utf-8")) if file else {}
