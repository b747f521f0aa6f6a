"""A policy: the weights to go on from, wherever they lie."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from genclspp.settings import ModelSettings
from genclspp.store.artifacts import Artifact

POLICY = "policy"  # the folder inside an artifact that holds trained weights


@dataclass(frozen=True)
class Policy:
    """Weights to go on from: a base model in `folder`, and what a stage has trained on top of it."""

    settings: ModelSettings
    folder: Path
    digest: str
    trained: Artifact | None = None

    @property
    def key(self) -> str | None:
        """What the weights are, wherever they lie; None while that depends on what a stage has yet to leave."""
        if self.trained and self.trained.key is None:
            return None
        parts = [self.digest, str(self.trained.key) if self.trained else ""]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return hash(self.key)

    def after(self, artifact: Artifact) -> "Policy":
        return replace(self, trained=artifact)
