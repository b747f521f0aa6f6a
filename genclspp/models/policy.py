"""A policy: the weights to go on from, wherever they lie."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from genclspp.settings import ModelSettings
from genclspp.store import Artifact

POLICY = "policy"  # the folder inside an artifact that holds trained weights


@dataclass(frozen=True)
class Policy:
    """Weights to go on from: a base model in `folder`, and what a stage has trained on top of it."""

    settings: ModelSettings
    folder: Path
    digest: str
    trained: Artifact | None = None

    @property
    def key(self) -> str:
        """What the weights are, wherever they lie."""
        parts = [self.digest, self.trained.key if self.trained else ""]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return hash(self.key)

    def after(self, artifact: Artifact) -> "Policy":
        return replace(self, trained=artifact)
