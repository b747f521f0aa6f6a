"""How reinforcement learning fares on held-out prompts: before it, along the way, and where it was best.

The policy of the best check is what goes on, the start among them, so that learning that does harm costs nothing.
Learning that collapses is stopped: where much of the probability has gone to text that is no answer, or the policy
has moved too far from its start.
"""

from __future__ import annotations

import json
import math
import os
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
from genclspp.store.files import write_json
from genclspp.training.expected_trainer import terms
from genclspp.trees import scoring

PREFIX = "held_out/"  # of the names in curves


@dataclass(frozen=True)
class Check:
    """What a policy does on held-out prompts; means over them.

    accuracy:     of the most likely answer
    reward:       expected, exactly
    invalid:      probability of writing anything else

    With thoughts, these three are of what is written greedily, and there are no others.

    kl:           divergence from the start, in nats
    entropy:      of answers and anything else, in nats
    equal_groups: share of groups of eight samples whose rewards would all be equal, and so teach nothing
    """

    step: int
    accuracy: float
    reward: float
    invalid: float
    kl: float | None = None
    entropy: float | None = None
    equal_groups: float | None = None

    @property
    def is_sound(self) -> bool:
        """Whether the policy still gives probabilities."""
        return math.isfinite(self.reward) and math.isfinite(self.invalid)

    def rank(self, by: str) -> tuple[float, float]:
        """Of two checks, the one of higher rank is the better one, by "accuracy" or by "reward"; then by order."""
        return (self.accuracy, self.reward) if by == "accuracy" else (self.reward, self.accuracy)


@dataclass(frozen=True)
class HeldOut:
    """Held-out prompts with what is needed to judge a policy on them.

    rewards: (prompts, answers + 1), of anything else last
    golds:   (prompts,) place of the right answer
    start:   (prompts, answers) log-probabilities of the starting policy
    """

    texts: Sequence[str]
    answers: Sequence[str]
    rewards: Tensor
    golds: Tensor
    start: Tensor

    def check(self, model: Any, tokenizer: Any, step: int) -> Check:
        logprobs = scoring.label_logprobs(model, tokenizer, list(self.texts), list(self.answers))
        parts = terms(logprobs, self.rewards, self.start)
        means = {name: float(getattr(parts, name).mean()) for name in ("reward", "invalid", "kl", "entropy")}
        right = (logprobs.argmax(1) == self.golds).float()
        return Check(step, float(right.mean()), **means, equal_groups=float(parts.equal.mean()))


class Health(TrainerCallback):
    """Checks a policy `settings.checks` times while it learns, keeps the best, stops a collapse.

    examine: model, step -> its check
    save:    model, folder -> None
    out:     where the best policy lies, in `best-STEP`, until `forget`
    """

    def __init__(
        self,
        examine: Callable[[Any, int], Check],
        save: Callable[[Any, Path], None],
        settings: RlSettings,
        watch: Watch,
        out: Path,
    ) -> None:
        self._examine, self._save, self._settings, self._watch, self._out = examine, save, settings, watch, out
        self.collapse = ""
        self.start: Check | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        for folder in self._out.glob("best-*"):  # of steps that will be gone through again
            if int(folder.name.split("-")[1]) > state.global_step or not state.global_step:
                shutil.rmtree(folder)
        known = [_read(row) for row in state.log_history if f"{PREFIX}accuracy" in row]
        self.start = known[0] if known else self._check(state, model)
        if not self.start.is_sound:
            raise ValueError("the policy that RL starts from gives no numbers; there is nothing to learn from it")

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        every = -(-state.max_steps // self._settings.checks)
        if self.collapse or (state.global_step % every and state.global_step < state.max_steps):
            return
        self._stop_collapse(self._check(state, model), state, control)

    def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """A gradient that is no number is looked into at once: more steps would only cost time."""
        model, logs = given["model"], given["logs"]
        if not self.collapse and not math.isfinite(logs.get("grad_norm", 0.0)):
            self._stop_collapse(self._check(state, model), state, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.collapse:
            control.should_save = False

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """From here on nothing goes back to before this step, so the best policy alone is kept."""
        best = self.best().step
        for folder in self._out.glob("best-*"):
            if folder.name != f"best-{best}":
                shutil.rmtree(folder)

    def _stop_collapse(self, check: Check, state: Any, control: Any) -> None:
        self.collapse = self._collapse(check)
        if not self.collapse:
            return
        control.should_training_stop = True
        control.should_save = False  # a run that goes on from here would take a step more before it stopped
        best = self.best()
        warnings.warn(
            f"RL collapsed at step {check.step} of {state.max_steps} ({self.collapse}); it stops here, and "
            f"the policy of step {best.step} goes on ({100 * best.accuracy:.1f} % on held-out prompts)",
            stacklevel=2,
        )

    def best(self) -> Check:
        """The best check so far, from the folder that holds its policy."""
        checks = [_read(json.loads(path.read_text())) for path in self._out.glob("best-*/check.json")]
        return max(checks, key=lambda check: (self._rank(check), -check.step))

    def _rank(self, check: Check) -> tuple[float, float]:
        return check.rank(self._settings.best)

    def adopt(self, folder: str) -> None:
        """Let the best policy be the result; it stays where it was kept too, until `forget`."""
        shutil.rmtree(self._out / folder, ignore_errors=True)
        shutil.copytree(self._out / f"best-{self.best().step}" / folder, self._out / folder, copy_function=os.link)

    def forget(self) -> None:
        """Remove what served an interrupted run."""
        for left in self._out.glob("best-*"):
            shutil.rmtree(left)

    def summary(self) -> dict[str, float | str | None]:
        """For the record: the best check beside the start."""
        assert self.start is not None
        best = {f"rl/{name}": value for name, value in asdict(self.best()).items()}
        best["rl/best_step"] = best.pop("rl/step")
        start = {f"rl/{name}_start": getattr(self.start, name) for name in ("accuracy", "reward", "invalid")}
        return {**best, **start, "rl/collapse": self.collapse}

    def _check(self, state: Any, model: Any) -> Check:
        check = self._examine(model, state.global_step)
        told = {name: value for name, value in asdict(check).items() if value is not None and math.isfinite(value)}
        row = {name if name == "step" else f"{PREFIX}{name}": value for name, value in told.items()}
        state.log_history.append(row)  # kept in checkpoints; `Trainer.log` would close the row of the trainer
        self._watch.log(row)
        if check.is_sound and (not list(self._out.glob("best-*")) or self._rank(check) > self._rank(self.best())):
            self._keep(model, check)
        return check

    def _keep(self, model: Any, check: Check) -> None:
        partial, folder = (self._out / f"{kind}-{check.step}" for kind in ("partial", "best"))
        shutil.rmtree(partial, ignore_errors=True)
        self._save(model, partial)
        write_json(partial / "check.json", asdict(check))
        partial.rename(folder)

    def _collapse(self, check: Check) -> str:
        assert self.start is not None
        if not check.is_sound:
            return "the policy no longer gives numbers"
        lost, settings = check.invalid - self.start.invalid, self._settings
        if lost > settings.stop_invalid:
            return f"the probability of invalid text rose by {lost:.2f}, more than {settings.stop_invalid}"
        if check.kl is not None and check.kl > settings.stop_kl:
            return f"the divergence from the start is {check.kl:.1f} nats, more than {settings.stop_kl}"
        return ""


def _read(row: Mapping[str, float]) -> Check:
    values = {name.removeprefix(PREFIX): value for name, value in row.items()}
    return Check(**{name: values[name] for name in Check.__dataclass_fields__ if name in values})  # type: ignore[arg-type]
