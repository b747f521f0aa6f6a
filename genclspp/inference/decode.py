"""How a label comes out of the model's scores and completion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from genclspp.prompts.surfaces import parse


@dataclass(frozen=True)
class PromptScores:
    """What the model says about one prompt. The sequences follow the order of the prompt's surfaces.

    logprobs:    log-probability of each answer, end token included, in nats
    lengths:     tokens of each answer, end token included
    constrained: index of the answer that greedy decoding restricted to the answers writes
    completion:  what unrestricted greedy decoding writes; None unless the decoder needs it
    prior:       log-probability of each answer after the prompt without its text; None unless needed
    """

    logprobs: Sequence[float]
    lengths: Sequence[int]
    constrained: int
    completion: str | None = None
    prior: Sequence[float] | None = None


class Decoder(Protocol):
    """Chooses a label, and scores all of them. A frozen dataclass that declares what it needs."""

    @property
    def needs_completion(self) -> bool:
        """Whether `PromptScores.completion` is needed."""
        ...

    @property
    def needs_prior(self) -> bool:
        """Whether `PromptScores.prior` is needed."""
        ...

    def scores(self, said: PromptScores) -> list[float]:
        """One score per answer, higher is better; softmax turns them into the distribution over labels."""
        ...

    def choose(self, said: PromptScores, surfaces: Mapping[str, str]) -> str | None:
        """The label, or UNCERTAIN; None if the completion is invalid."""
        ...


@dataclass(frozen=True)
class Greedy:
    """Write the answer token by token, unrestricted; then parse it."""

    needs_completion: ClassVar[bool] = True
    needs_prior: ClassVar[bool] = False

    def scores(self, said: PromptScores) -> list[float]:
        return list(said.logprobs)

    def choose(self, said: PromptScores, surfaces: Mapping[str, str]) -> str | None:
        assert said.completion is not None
        return parse(said.completion, surfaces)


@dataclass(frozen=True)
class Constrained:
    """Write the answer token by token, restricted to tokens that still lead to an answer."""

    needs_completion: ClassVar[bool] = False
    needs_prior: ClassVar[bool] = False

    def scores(self, said: PromptScores) -> list[float]:
        return list(said.logprobs)

    def choose(self, said: PromptScores, surfaces: Mapping[str, str]) -> str | None:
        return list(surfaces)[said.constrained]


@dataclass(frozen=True)
class Perplexity:
    """Pick the answer with the lowest perplexity.

    normalise: "mean" log-probability per token (perplexity), their "sum" (likelihood), or "pmi": the sum minus
               that after the same prompt without its text (Holtzman et al. 2021, arXiv 2104.08315)
    """

    normalise: Literal["mean", "sum", "pmi"] = "mean"
    needs_completion: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.normalise not in ("mean", "sum", "pmi"):
            raise ValueError(f"decode.normalise={self.normalise!r}; expected 'mean', 'sum' or 'pmi'")

    @property
    def needs_prior(self) -> bool:
        return self.normalise == "pmi"

    def scores(self, said: PromptScores) -> list[float]:
        if self.normalise == "mean":
            return [total / length for total, length in zip(said.logprobs, said.lengths, strict=True)]
        if self.normalise == "pmi":
            assert said.prior is not None
            return [total - prior for total, prior in zip(said.logprobs, said.prior, strict=True)]
        return list(said.logprobs)

    def choose(self, said: PromptScores, surfaces: Mapping[str, str]) -> str | None:
        scores = self.scores(said)
        return list(surfaces)[best(scores)]


def best(scores: Sequence[float]) -> int:
    """Index of the highest score; of equal ones, the first."""
    return max(range(len(scores)), key=scores.__getitem__)
