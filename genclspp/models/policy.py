"""A policy: a base model, or what a training stage has made of it."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from genclspp.settings import ModelSettings
from genclspp.store.artifacts import Artifact

POLICY = "policy"  # the folder inside an artifact that holds trained weights


@dataclass(frozen=True)
class Policy:
    """The weights that a stage starts from.

    folder:  of the base model
    digest:  identifies the base model, see `folders.identity`
    source:  where its weights come from, for people
    trained: what a training stage left on top of it
    """

    settings: ModelSettings
    folder: Path
    digest: str
    source: str = ""
    trained: Artifact | None = None

    @property
    def key(self) -> str | None:
        """Identifies the weights; None while it depends on a stage that has not run yet."""
        if self.trained and self.trained.key is None:
            return None
        parts = [self.digest, str(self.trained.key) if self.trained else ""]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @property
    def kind(self) -> str:
        """Weights of the same kind take the same time to read a text."""
        return f"{self.digest} {self.settings.precision}"

    def __hash__(self) -> int:
        return hash(self.key)

    def after(self, artifact: Artifact) -> "Policy":
        """The policy that a training stage makes of this one."""
        return replace(self, trained=artifact)
