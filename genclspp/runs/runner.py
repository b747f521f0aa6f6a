"""Carries out one stage: from the store if it is there, else computed, watched and mirrored."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

from genclspp import progress
from genclspp.inference.decode import Reading
from genclspp.models.policy import Policy
from genclspp.prompts.draft import Prompts
from genclspp.runs.terminal import Terminal, hush_libraries
from genclspp.runs.tracking import Tracker
from genclspp.settings import Cell
from genclspp.store import Artifact, Store, key


@dataclass
class Runner:
    """What the stages of `cell` are carried out with. `done` collects its artifacts, in order."""

    store: Store
    terminal: Terminal
    tracker: Tracker
    cell: Cell
    done: list[Artifact] = field(default_factory=list)

    def stage(
        self, stage: str, function: str, inputs: Mapping[str, Any], *, watch: bool = False, **aside: Any
    ) -> Artifact:
        """Call `genclspp.<function>`, named "module.function" so that libraries load only if needed.

        Stages that work long take a `watch`: pass `watch=True` to hand them one.
        """
        found = self.store.find(stage, inputs) or self._compute(stage, function, inputs, watch, aside)
        self.terminal.status(found)
        self.done.append(found)
        return found

    def _compute(
        self, stage: str, function: str, inputs: Mapping[str, Any], watch: bool, aside: Mapping[str, Any]
    ) -> Artifact:
        @contextmanager
        def watched() -> Iterator[dict[str, Any]]:
            """A run and a bar, of the one process that does the work."""
            with self.tracker.run(stage, key(stage, inputs)) as log, self.terminal.bar(stage, log) as bar:
                yield {"watch": bar} if watch else {}

        hush_libraries()
        module, _, name = function.rpartition(".")
        work: Callable[..., None] = getattr(import_module(f"genclspp.{module}"), name)
        return self.store.cached(stage, work, inputs, around=watched, **aside)

    def read(self, policy: Policy, prompts: Prompts, blank: Prompts | None, *, complete: bool) -> list[Reading]:
        """What `policy` says of each prompt.

        blank:    the same prompts without their texts, where priors are wanted
        complete: whether greedy completions are wanted
        """
        readings = self._scores(policy, prompts)
        if complete:
            written = self._completions(policy, prompts)
            readings = [replace(r, completion=text) for r, text in zip(readings, written, strict=True)]
        if blank is not None:
            priors = self._scores(policy, blank)
            readings = [replace(r, prior=prior.logprobs) for r, prior in zip(readings, priors, strict=True)]
        return readings

    def think(self, policy: Policy, prompts: Prompts) -> list[str]:
        """What `policy` thinks about each prompt; nothing where the prompts want no thoughts."""
        if not prompts.thought_tokens:
            return []
        inputs = {
            "policy": policy,
            "texts": tuple(item.text for item in prompts.items),
            "thought_tokens": prompts.thought_tokens,
        }
        made = self.stage(
            "think", "inference.think.think", inputs, batch_size=self.cell.predict.batch_size, watch=True
        )
        return [row["thought"] for row in progress.read(made.path / "thoughts.jsonl")]

    def score(self, policy: Policy, prompts: Prompts, stage: str = "score") -> Artifact:
        """Log-probabilities of all answers under each prompt."""
        batch_size = self.cell.predict.batch_size
        return self.stage(
            stage, "inference.score.score", _inputs(policy, prompts), batch_size=batch_size, watch=True
        )

    def _scores(self, policy: Policy, prompts: Prompts) -> list[Reading]:
        rows = progress.read(self.score(policy, prompts).path / "scores.jsonl")
        return [Reading(row["logprobs"], row["lengths"], row["constrained"]) for row in rows]

    def _completions(self, policy: Policy, prompts: Prompts) -> list[str]:
        inputs = _inputs(policy, prompts)
        scores = self.store.find("score", inputs)
        assert scores is not None
        made = self.stage(
            "complete",
            "inference.score.complete",
            inputs | {"max_new_tokens": self.cell.predict.max_new_tokens},
            scores=scores.path,
            batch_size=self.cell.predict.batch_size,
            watch=True,
        )
        return json.loads((made.path / "completions.json").read_text(encoding="utf-8"))


def _inputs(policy: Policy, prompts: Prompts) -> dict[str, Any]:
    """Of prompts, only what a model can see: neither gold answers nor ids."""
    return {
        "policy": policy,
        "texts": tuple(item.text for item in prompts.items),
        "completions": tuple(prompts.completions()),
    }
