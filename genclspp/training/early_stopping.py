"""Early stopping for reinforcement learning, by checks on held-out prompts before and during training.

The policy of the best check is the result. The start is one of the candidates, so training that does harm costs
nothing. Training that collapses is stopped: when too much probability has gone to invalid text, or when the policy
has moved too far from its start.
"""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import TrainerCallback

from genclspp.progress import Watch
from genclspp.settings import RlSettings
from genclspp.store.files import link, write_json
from genclspp.suggest import UserError
from genclspp.training.expected_trainer import objective_terms
from genclspp.trees import scoring

PREFIX = "held_out/"  # of the names in curves


@dataclass(frozen=True)
class Check:
    """How a policy does on held-out prompts; all values are means over them.

    step:         training steps before the check
    accuracy:     of the most likely answer
    reward:       expected reward, exact
    invalid:      probability of anything that is not an answer

    With thoughts, these are measured on greedy completions, and the others are None.

    kl:           KL divergence from the start, in nats
    entropy:      of the distribution over the answers and "anything else", in nats
    equal_groups: probability that all of eight samples have the same reward, so that GRPO learns nothing from them
    """

    step: int
    accuracy: float
    reward: float
    invalid: float
    kl: float | None = None
    entropy: float | None = None
    equal_groups: float | None = None

    @property
    def is_finite(self) -> bool:
        """Whether the policy still gives finite probabilities, not NaN."""
        return math.isfinite(self.reward) and math.isfinite(self.invalid)

    def rank(self, by: str) -> tuple[float, float]:
        """Sort key by which the better check is larger: "accuracy" or "reward" first, the other breaks ties."""
        return (self.accuracy, self.reward) if by == "accuracy" else (self.reward, self.accuracy)


@dataclass(frozen=True)
class HeldOut:
    """Held-out prompts with what is needed to check a policy on them.

    rewards: (prompts, answers + 1), that of anything else last
    golds:   (prompts,) index of the right answer
    start:   (prompts, answers) log-probabilities under the starting policy
    """

    texts: Sequence[str]
    answers: Sequence[str]
    rewards: Tensor
    golds: Tensor
    start: Tensor

    def check(self, model: Any, tokenizer: Any, step: int) -> Check:
        logprobs = scoring.label_logprobs(model, tokenizer, list(self.texts), list(self.answers))
        parts = objective_terms(logprobs, self.rewards, self.start)
        means = {name: float(getattr(parts, name).mean()) for name in ("reward", "invalid", "kl", "entropy")}
        right = (logprobs.argmax(1) == self.golds).float()
        return Check(step, float(right.mean()), **means, equal_groups=float(parts.equal.mean()))


class EarlyStopping(TrainerCallback):
    """Checks a policy `settings.checks` times while it trains, keeps the best one, and stops a collapse.

    The best policy so far lies in `out/best-STEP` until `forget`; beside it the one that was the best at the last
    checkpoint, which a run that resumes from there needs.

    evaluate: (model, step) -> its check
    save:     (model, folder) -> None
    """

    def __init__(
        self,
        evaluate: Callable[[Any, int], Check],
        save: Callable[[Any, Path], None],
        settings: RlSettings,
        watch: Watch,
        out: Path,
    ) -> None:
        self._evaluate, self._save, self._settings, self._watch, self._out = evaluate, save, settings, watch, out
        self.collapse = ""  # why training was stopped
        self.start: Check | None = None
        self._resumable = -1  # step of the policy that was the best at the last checkpoint; -1 without one

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        # An interrupted run may have kept policies of later steps than the checkpoint that this one resumes from.
        # Those steps are about to be repeated; without a checkpoint, so is the check of the start.
        for folder in self._out.glob("best-*"):
            if int(folder.name.split("-")[1]) > state.global_step or not state.global_step:
                shutil.rmtree(folder)
        if state.global_step:
            self._resumable = self.best().step
        known = [_parse_check(row) for row in state.log_history if f"{PREFIX}accuracy" in row]
        self.start = known[0] if known else self._check(state, model)
        if not self.start.is_finite:
            raise UserError(
                "the policy that RL starts from gives NaN or infinite probabilities; expected finite ones"
            )

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        every = -(-state.max_steps // self._settings.checks)  # rounded up, so that there are at most `checks`
        if self.collapse or (state.global_step % every and state.global_step < state.max_steps):
            return
        self._stop_if_collapsed(self._check(state, model), state, control)

    def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Check at once when a gradient is NaN or infinite, as further steps would only waste time."""
        model, logs = given["model"], given["logs"]
        if not self.collapse and not math.isfinite(logs.get("grad_norm", 0.0)):
            self._stop_if_collapsed(self._check(state, model), state, control)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep only the best policy: with this checkpoint, no run resumes from an earlier step any more."""
        self._resumable = self.best().step
        self._forget_all_but(self._resumable)

    def _stop_if_collapsed(self, check: Check, state: Any, control: Any) -> None:
        self.collapse = self._describe_collapse(check)
        if not self.collapse:
            return
        control.should_training_stop = True
        control.should_save = False  # a run that resumed from here would train one step more before it stopped
        best = self.best()
        warnings.warn(
            f"RL collapsed at step {check.step} of {state.max_steps} ({self.collapse}); stopping here with the "
            f"policy of step {best.step}, the best so far (held-out accuracy {100 * best.accuracy:.1f} %)",
            stacklevel=2,
        )

    def best(self) -> Check:
        """The best check so far, read from the folder of its policy; of equal ones, the earliest."""
        checks = [_parse_check(json.loads(path.read_text())) for path in self._out.glob("best-*/check.json")]
        return max(checks, key=lambda check: (self._rank(check), -check.step))

    def _rank(self, check: Check) -> tuple[float, float]:
        return check.rank(self._settings.best)

    def adopt(self, folder: str) -> None:
        """Put the best policy into `out/folder` as the result, linked if possible; `forget` removes the other."""
        shutil.rmtree(self._out / folder, ignore_errors=True)
        shutil.copytree(self._out / f"best-{self.best().step}" / folder, self._out / folder, copy_function=link)

    def forget(self) -> None:
        """Remove the kept policies, which only an interrupted run needs."""
        self._forget_all_but()

    def _forget_all_but(self, *steps: int) -> None:
        for left in self._out.glob("best-*"):
            if int(left.name.split("-")[1]) not in steps:
                shutil.rmtree(left)

    def summary(self) -> dict[str, float | str | None]:
        """Entries of the record: the best check beside the start, and why training was stopped early."""
        assert self.start is not None
        best = {f"rl/{name}": value for name, value in asdict(self.best()).items()}
        best["rl/best_step"] = best.pop("rl/step")
        start = {f"rl/{name}_start": getattr(self.start, name) for name in ("accuracy", "reward", "invalid")}
        return {**best, **start, "rl/collapse": self.collapse}

    def _check(self, state: Any, model: Any) -> Check:
        """Check the policy, add the check to the curves, and keep the policy if it is the best so far."""
        check = self._evaluate(model, state.global_step)
        values = {
            name: value for name, value in asdict(check).items() if value is not None and math.isfinite(value)
        }
        row = {name if name == "step" else f"{PREFIX}{name}": value for name, value in values.items()}
        # Checkpoints carry the log history. `Trainer.log` would also flush the training metrics gathered so far.
        state.log_history.append(row)
        self._watch.log(row)
        if check.is_finite and (not list(self._out.glob("best-*")) or self._rank(check) > self._rank(self.best())):
            self._keep(model, check)
        return check

    def _keep(self, model: Any, check: Check) -> None:
        """Save the policy under a temporary name and rename it, so that every `best-STEP` is complete."""
        partial, folder = (self._out / f"{kind}-{check.step}" for kind in ("partial", "best"))
        shutil.rmtree(partial, ignore_errors=True)
        self._save(model, partial)
        write_json(partial / "check.json", asdict(check))
        partial.rename(folder)
        self._forget_all_but(check.step, self._resumable)

    def _describe_collapse(self, check: Check) -> str:
        """Why the policy counts as collapsed; empty if it does not."""
        assert self.start is not None
        if not check.is_finite:
            return "the policy gives NaN or infinite probabilities"
        rise, settings = check.invalid - self.start.invalid, self._settings
        if rise > settings.stop_invalid:
            return f"the probability of invalid text rose by {rise:.2f}, more than {settings.stop_invalid}"
        if check.kl is not None and check.kl > settings.stop_kl:
            return f"the KL divergence from the start is {check.kl:.1f} nats, more than {settings.stop_kl}"
        return ""


def _parse_check(row: Mapping[str, float]) -> Check:
    """A check from a row of curves or from `check.json`."""
    values = {name.removeprefix(PREFIX): value for name, value in row.items()}
    return Check(**{name: values[name] for name in Check.__dataclass_fields__ if name in values})  # type: ignore[arg-type]
