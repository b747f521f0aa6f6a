"""A thought before the answer. Not a choice of `strategy`: `reasoning=think` sets it on both sides."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from genclspp.prompts.draft import Draft
from genclspp.task import Example, Task


@dataclass(frozen=True)
class Think:
    """Ask for a thought of at most `tokens` tokens, closing tag included; demonstrations show their rationales."""

    tokens: int

    def check(self, task: Task) -> None:
        pass  # nothing to check here; the pipeline checks that SFT has rationales to learn from

    def requires(self) -> Mapping[str, Mapping[str, object]]:
        return {}

    def __call__(self, draft: Draft, example: Example, task: Task) -> Draft:
        return replace(draft, thought_tokens=self.tokens)
