"""The exact expected reward: reinforcement learning without sampling.

The possible answers can be enumerated, so one token tree gives the policy's probability of every answer, and of
writing anything else. With rewards r, the objective for one prompt is

    J = Σ p(answer) r(answer) + p(else) r(else)        p(else) = 1 - Σ p(answer)

and its gradient, which REINFORCE, RLOO and GRPO estimate from samples, is computed exactly. docs/expected.md
derives it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import Trainer

from genclspp.data.sampling import even_order
from genclspp.trees.forward import child_logprobs, log_softmax, pad, walk, width
from genclspp.trees.questions import Question, build_tree, tokenise
from genclspp.trees.support import supports
from genclspp.trees.tree import children

SMALLEST = 1e-12  # floor of p(else), so that its logarithm is finite
GROUP = 8  # samples per prompt that GRPO usually takes


@dataclass(frozen=True)
class Terms:
    """The terms of the objective; (prompts,) each.

    reward:  expected reward
    spread:  standard deviation of the reward, without gradient
    kl:      KL divergence from the start, over the answers and the one outcome "anything else"
    entropy: of the same distribution
    invalid: probability of anything else, without gradient
    equal:   probability that `GROUP` samples all have the same reward, so that GRPO learns nothing from them
    """

    reward: Tensor
    spread: Tensor
    kl: Tensor
    entropy: Tensor
    invalid: Tensor
    equal: Tensor


def outcome_logprobs(logprobs: Tensor) -> Tensor:
    """Append the log-probability of anything else to those of the answers: (prompts, answers + 1)."""
    rest = (1 - logprobs.exp().sum(1, keepdim=True)).clamp(min=SMALLEST)
    return torch.cat([logprobs, rest.log()], 1)


def objective_terms(logprobs: Tensor, rewards: Tensor, start: Tensor) -> Terms:
    """The terms of the objective, exactly.

    logprobs: (prompts, answers) under the policy
    rewards:  (prompts, answers + 1), that of anything else last
    start:    (prompts, answers) log-probabilities under the starting policy
    """
    logs, logs_start = outcome_logprobs(logprobs), outcome_logprobs(start)
    probs = logs.exp()
    reward = (probs * rewards).sum(1)
    variance = (probs * (rewards - reward[:, None]) ** 2).sum(1)
    return Terms(
        reward=reward,
        spread=variance.clamp(min=0).sqrt().detach(),
        kl=(probs * (logs - logs_start)).sum(1),
        entropy=-(probs * logs).sum(1),
        invalid=probs[:, -1].detach(),
        equal=equal_groups(probs.detach(), rewards),
    )


def equal_groups(probs: Tensor, rewards: Tensor, size: int = GROUP) -> Tensor:
    """Probability that `size` samples all have the same reward: (prompts,).

    probs, rewards: (prompts, outcomes)
    """
    # Several outcomes may have the same reward, so sum P(reward)^size over distinct rewards.
    shares = [(probs * (rewards == value)).sum(1) for value in rewards.unique()]
    return torch.stack([share**size for share in shares]).sum(0)


def objective(parts: Terms, beta: float, entropy: float, normalise: bool) -> Tensor:
    """The value to maximise, averaged over prompts: a scalar.

    beta:      weight of the KL divergence, which is subtracted
    entropy:   weight of the entropy, which is added
    normalise: divide the reward of each prompt by its standard deviation. GRPO does that in each group, and this
               is its objective for groups of infinite size (the mean that it subtracts contributes no gradient)
    """
    reward = parts.reward / (parts.spread + 1e-4) if normalise else parts.reward  # TRL adds 1e-4 too
    return (reward + entropy * parts.entropy - beta * parts.kl).mean()


def answer_logprobs(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    answers: Sequence[str],
    call: Any = None,
    *,
    at_once: bool = False,
) -> Tensor:
    """Log-probability of each answer with its EOS token, with gradient: (prompts, answers).

    call:    called in place of `model`, if a trainer has wrapped it
    at_once: read the whole tree in one call; more than one needs a cache, which gradient checkpointing drops
    """
    questions = tokenise(tokenizer, list(prompts), list(answers))
    if not supports(model):
        return _plain_logprobs(model, tokenizer.eos_token_id, questions, call or model)
    tree, _, paths = build_tree(questions, tokenizer.eos_token_id)
    # Answer nodes are scored, and a node's token is predicted at its parent.
    scored = {node for row in paths for nodes in row for node in nodes}
    wanted = [any(child in scored for child in children(tree, node)) for node in range(len(tree.tokens))]
    window = len(tree.tokens) if at_once else width(model)
    # The windows yield scored nodes in some order: `places` maps a node to its position in the joined pieces.
    places: dict[int, int] = {}
    pieces = []
    for nodes, logits in walk(model, tree, wanted, window, len(tree.tokens), call=call):
        _, below, found = child_logprobs(tree, nodes, log_softmax(logits), scored.__contains__)
        pieces.append(found)
        places.update({child: len(places) + k for k, child in enumerate(below)})
    read = torch.cat(pieces)
    # Answers with a common prefix share its nodes, so their gradients add up there.
    sums = [read[[places[node] for node in nodes]].sum() for row in paths for nodes in row]
    return torch.stack(sums).view(len(prompts), len(answers))


def _plain_logprobs(model: Any, eos: int, questions: Sequence[Question], call: Any) -> Tensor:
    """The same from one padded sequence per prompt and answer, for models that cannot read trees."""
    rows = [[*question.context, *answer, eos] for question in questions for answer in question.answers]
    begins = [len(question.context) for question in questions for _ in question.answers]
    ids, mask = pad(rows, model.device)
    # Logits at position k predict the token at k + 1, so both sides lose one column: (rows, longest - 1).
    logits = call(input_ids=ids, attention_mask=mask).logits[:, :-1]
    read = log_softmax(logits).gather(2, ids[:, 1:, None])[..., 0]
    place = torch.arange(1, ids.shape[1], device=ids.device)
    is_answer = (place >= torch.tensor(begins, device=ids.device)[:, None]) & mask[:, 1:].bool()
    return (read * is_answer).sum(1).view(len(questions), -1)


class ExpectedTrainer(Trainer):
    """Maximises the exact expected reward by gradient ascent.

    The data set has the columns `prompt`, `rewards` (one per answer, that of anything else last) and, if `beta`
    is not 0, `start` (the starting policy's log-probability of each answer).

    Batches are stratified by the best-paying answer. Without sampling, the choice of prompts is the only source of
    gradient noise, and label imbalance is most of it: a batch that lacks a label pushes its probability down
    everywhere.
    """

    def __init__(
        self,
        model: Any,
        args: Any,
        *,
        answers: Sequence[str],
        beta: float,
        entropy: float,
        normalise: bool,
        **rest: Any,
    ) -> None:
        args.remove_unused_columns = False  # else the trainer drops `rewards`, which `forward` does not take
        super().__init__(model, args, data_collator=_collate, **rest)
        # The loss is a mean over prompts. Otherwise the trainer would take it for a sum over tokens and not divide
        # it by the number of accumulated batches.
        self.model_accepts_loss_kwargs = False
        self._answers, self._beta, self._entropy, self._normalise = answers, beta, entropy, normalise
        self._values: dict[str, list[float]] = {}  # per metric, one value per batch since the last log
        supports(self.model)  # tried out now: within a step it would leave casts of weights without a gradient

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        rows = self.train_dataset if dataset is None else dataset
        return Stratified(rows, lambda row: _argmax(row["rewards"]), self.args.seed)

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        plain = self.accelerator.unwrap_model(model)
        with self.accelerator.autocast():  # around all windows, so that weights are cast once
            logprobs = answer_logprobs(
                plain,
                self.processing_class,
                inputs["prompt"],
                self._answers,
                call=model,
                at_once=self.args.gradient_checkpointing,
            )
        rewards = torch.tensor(inputs["rewards"], device=logprobs.device)
        # Without beta, the divergence is neither weighted nor logged, so any start will do.
        start = torch.tensor(inputs["start"], device=logprobs.device) if self._beta else logprobs.detach()
        parts = objective_terms(logprobs, rewards, start)
        self._record(parts)
        # Counted here, as these batches have no `input_ids` for the trainer to count.
        ids = self.processing_class(inputs["prompt"], add_special_tokens=False)["input_ids"]
        self.state.num_input_tokens_seen += sum(map(len, ids))
        loss = -objective(parts, self._beta, self._entropy, self._normalise)
        return (loss, {}) if return_outputs else loss

    def log(self, logs: dict[str, float], *rest: Any, **named: Any) -> None:
        means = {name: sum(values) / len(values) for name, values in self._values.items()}
        self._values = {}
        super().log({**logs, **means}, *rest, **named)

    def _record(self, parts: Terms) -> None:
        """Keep the means over a batch until the next log."""
        names = ("reward", "entropy", "invalid", "kl") if self._beta else ("reward", "entropy", "invalid")
        metrics = {name: getattr(parts, name) for name in names}
        metrics["frac_reward_zero_std"] = parts.equal  # the name under which TRL logs the share of such groups
        for name, values in metrics.items():
            self._values.setdefault(name, []).append(float(values.detach().mean()))


class Stratified(Sampler):
    """Samples indexes so that every batch is stratified; another order in every epoch, the same after resuming.

    rows:    read at the start of an epoch, as `Focus` replaces them then
    stratum: row -> the stratum that it belongs to
    """

    def __init__(self, rows: Any, stratum: Callable[[Any], int], seed: int) -> None:
        self._rows, self._stratum, self._seed, self._epoch = rows, stratum, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        strata = [self._stratum(row) for row in self._rows]
        return iter(even_order(strata, Random(f"{self._seed}-{self._epoch}")))

    def __len__(self) -> int:
        return len(self._rows)


def _collate(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """A batch as plain columns: texts and lists, no tensors."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def _argmax(rewards: Sequence[float]) -> int:
    """Index of the largest reward; of equal ones, the first."""
    return max(range(len(rewards)), key=rewards.__getitem__)
