"""How a label comes out of the model's scores and completion."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from genclspp.prompts.surfaces import parse
from genclspp.suggest import UserError


@dataclass(frozen=True)
class PromptScores:
    """What the model says about one prompt. The sequences follow the order of the prompt's surfaces.

    logprobs:    log-probability of each answer, end token included, in nats
    lengths:     tokens of each answer, end token included
    constrained: index of the answer that greedy decoding restricted to the answers writes
    completion:  what unrestricted greedy decoding writes
    prior:       log-probability of each answer after the prompt without its text
    prompt:      log-probability of the prompt's own tokens, and their number

    The last three are None unless the decoder needs them.
    """

    logprobs: Sequence[float]
    lengths: Sequence[int]
    constrained: int
    completion: str | None = None
    prior: Sequence[float] | None = None
    prompt: tuple[float, int] | None = None


class Decoder(Protocol):
    """Chooses a label, and scores all of them. A frozen dataclass that declares what it needs."""

    @property
    def needs(self) -> Collection[str]:
        """Which optional fields of `PromptScores` are needed: "completion", "prior", "prompt"."""
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

    needs: ClassVar[Collection[str]] = ("completion",)

    def scores(self, said: PromptScores) -> list[float]:
        return list(said.logprobs)

    def choose(self, said: PromptScores, surfaces: Mapping[str, str]) -> str | None:
        assert said.completion is not None
        return parse(said.completion, surfaces)


@dataclass(frozen=True)
class Constrained:
    """Write the answer token by token, restricted to tokens that still lead to an answer."""

    needs: ClassVar[Collection[str]] = ()

    def scores(self, said: PromptScores) -> list[float]:
        return list(said.logprobs)

    def choose(self, said: PromptScores, surfaces: Mapping[str, str]) -> str | None:
        return list(surfaces)[said.constrained]


@dataclass(frozen=True)
class Perplexity:
    """Pick the answer with the lowest perplexity.

    normalise: "mean" log-probability per token of the answer (its perplexity), or per token of prompt and answer
               together ("whole"); the "sum" over the answer's tokens (likelihood); or "pmi": the sum minus that
               after the same prompt without its text (Holtzman et al. 2021, arXiv 2104.08315). docs/decoders.md
    """

    normalise: Literal["mean", "whole", "sum", "pmi"] = "mean"

    def __post_init__(self) -> None:
        if self.normalise not in ("mean", "whole", "sum", "pmi"):
            raise UserError(f"normalise={self.normalise!r}; expected 'mean', 'whole', 'sum' or 'pmi'")

    @property
    def needs(self) -> Collection[str]:
        return {"pmi": ("prior",), "whole": ("prompt",)}.get(self.normalise, ())

    def scores(self, said: PromptScores) -> list[float]:
        pairs = zip(said.logprobs, said.lengths, strict=True)
        if self.normalise == "mean":
            return [total / length for total, length in pairs]
        if self.normalise == "whole":
            assert said.prompt is not None
            before, count = said.prompt
            # Times `count`, which changes no order: else the softmax of such small differences would be flat.
            return [count * (before + total) / (count + length) for total, length in pairs]
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
