"""The expected reward, exactly: reinforcement learning without samples.

What may be answered can be enumerated, so one token tree gives the policy's probability of every answer, and of
writing anything else. With rewards r that makes, for one prompt,

    J = Σ p(answer) r(answer) + p(else) r(else)        p(else) = 1 - Σ p(answer)

whose gradient needs no sampling: it is what REINFORCE, RLOO and GRPO estimate. docs/expected.md derives it.
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
from genclspp.trees.questions import Question, plant, tokenise
from genclspp.trees.support import supports
from genclspp.trees.tree import children

SMALLEST = 1e-12  # of the probability of anything else, whose logarithm is taken
GROUP = 8  # samples, the usual size of a group in GRPO


@dataclass(frozen=True)
class Terms:
    """The parts of the objective, one entry per prompt; (prompts,) each.

    reward:  expected reward
    spread:  standard deviation of the reward
    kl:      divergence from the start, over the answers and the one outcome "anything else"
    entropy: of the same distribution
    invalid: probability of anything else
    equal:   probability that `GROUP` samples all have the same reward, and so teach nothing
    """

    reward: Tensor
    spread: Tensor
    kl: Tensor
    entropy: Tensor
    invalid: Tensor
    equal: Tensor


def outcomes(logprobs: Tensor) -> Tensor:
    """Log-probabilities of the answers, (prompts, answers), with that of anything else as a last column."""
    rest = (1 - logprobs.exp().sum(1, keepdim=True)).clamp(min=SMALLEST)
    return torch.cat([logprobs, rest.log()], 1)


def terms(logprobs: Tensor, rewards: Tensor, start: Tensor) -> Terms:
    """The parts of the objective, exactly.

    logprobs: (prompts, answers) of the policy
    rewards:  (prompts, answers + 1), of anything else last
    start:    (prompts, answers) log-probabilities of the starting policy
    """
    logs, logs_start = outcomes(logprobs), outcomes(start)
    chances = logs.exp()
    reward = (chances * rewards).sum(1)
    variance = (chances * (rewards - reward[:, None]) ** 2).sum(1)
    return Terms(
        reward=reward,
        spread=variance.clamp(min=0).sqrt().detach(),
        kl=(chances * (logs - logs_start)).sum(1),
        entropy=-(chances * logs).sum(1),
        invalid=chances[:, -1].detach(),
        equal=equal_groups(chances.detach(), rewards),
    )


def equal_groups(chances: Tensor, rewards: Tensor, size: int = GROUP) -> Tensor:
    """Probability that `size` samples have one and the same reward: (prompts,).

    chances, rewards: (prompts, outcomes)
    """
    shares = [(chances * (rewards == value)).sum(1) for value in rewards.unique()]
    return torch.stack([share**size for share in shares]).sum(0)


def objective(parts: Terms, beta: float, entropy: float, normalise: bool) -> Tensor:
    """What to maximise, averaged over prompts.

    normalise: divide each prompt's reward by its spread, as GRPO does with its groups; that is GRPO's objective
               for a group without end (the mean that it subtracts has no gradient)
    """
    reward = parts.reward / (parts.spread + 1e-4) if normalise else parts.reward
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
    """Log-probability of each answer, end token included, with gradient: (prompts, answers).

    call:    stands for `model` where a trainer has wrapped it
    at_once: read the whole tree in one call, without a cache (which gradient checkpointing drops)
    """
    questions = tokenise(tokenizer, list(prompts), list(answers))
    if not supports(model):
        return _plain_logprobs(model, tokenizer.eos_token_id, questions, call or model)
    tree, _, paths = plant(questions, tokenizer.eos_token_id)
    scored = {node for row in paths for nodes in row for node in nodes}
    wanted = [any(child in scored for child in children(tree, node)) for node in range(len(tree.tokens))]
    window = len(tree.tokens) if at_once else width(model)
    places: dict[int, int] = {}
    pieces = []
    for nodes, logits in walk(model, tree, wanted, window, len(tree.tokens), call=call):
        _, below, found = child_logprobs(tree, nodes, log_softmax(logits), scored.__contains__)
        pieces.append(found)
        places.update({child: len(places) + k for k, child in enumerate(below)})
    read = torch.cat(pieces)
    sums = [read[[places[node] for node in nodes]].sum() for row in paths for nodes in row]
    return torch.stack(sums).view(len(prompts), len(answers))


def _plain_logprobs(model: Any, eos: int, questions: Sequence[Question], call: Any) -> Tensor:
    """The same from one padded sequence per prompt and answer, for models that cannot read trees."""
    rows = [[*question.context, *answer, eos] for question in questions for answer in question.answers]
    begins = [len(question.context) for question in questions for _ in question.answers]
    ids, mask = pad(rows, model.device)
    logits = call(input_ids=ids, attention_mask=mask).logits[:, :-1]
    read = log_softmax(logits).gather(2, ids[:, 1:, None])[..., 0]
    place = torch.arange(1, ids.shape[1], device=ids.device)
    is_answer = (place >= torch.tensor(begins, device=ids.device)[:, None]) & mask[:, 1:].bool()
    return (read * is_answer).sum(1).view(len(questions), -1)


class ExpectedTrainer(Trainer):
    """Climbs the exact expected reward.

    The data set has the columns `prompt`, `rewards` (one per answer, of anything else last) and, where there is a
    `beta`, `start` (the starting policy's log-probability of each answer).

    Batches are stratified by what pays most. Which prompts come together is the only noise that this gradient has,
    and most of it is that of their labels: a batch without one of them teaches that it is never right.
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
        args.remove_unused_columns = False
        super().__init__(model, args, data_collator=_columns, **rest)
        self.model_accepts_loss_kwargs = False  # the loss is a mean over prompts, also under accumulation
        self._answers, self._beta, self._entropy, self._normalise = answers, beta, entropy, normalise
        self._sums: dict[str, list[float]] = {}

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        rows = self.train_dataset if dataset is None else dataset
        return Stratified(rows, lambda row: _best(row["rewards"]), self.args.seed)

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        plain = self.accelerator.unwrap_model(model)
        logprobs = answer_logprobs(
            plain,
            self.processing_class,
            inputs["prompt"],
            self._answers,
            call=model,
            at_once=self.args.gradient_checkpointing,
        )
        rewards = torch.tensor(inputs["rewards"], device=logprobs.device)
        start = torch.tensor(inputs["start"], device=logprobs.device) if self._beta else logprobs.detach()
        parts = terms(logprobs, rewards, start)
        self._note(parts)
        ids = self.processing_class(inputs["prompt"], add_special_tokens=False)["input_ids"]
        self.state.num_input_tokens_seen += sum(map(len, ids))
        loss = -objective(parts, self._beta, self._entropy, self._normalise)
        return (loss, {}) if return_outputs else loss

    def log(self, logs: dict[str, float], *rest: Any, **named: Any) -> None:
        means = {name: sum(values) / len(values) for name, values in self._sums.items()}
        self._sums = {}
        super().log({**logs, **means}, *rest, **named)

    def _note(self, parts: Terms) -> None:
        told = ("reward", "entropy", "invalid", "kl") if self._beta else ("reward", "entropy", "invalid")
        rows = {name: getattr(parts, name) for name in told}
        rows["frac_reward_zero_std"] = parts.equal  # under TRL's name
        for name, values in rows.items():
            self._sums.setdefault(name, []).append(float(values.detach().mean()))


class Stratified(Sampler):
    """Positions in an order in which every batch is a stratified sample; another order in every epoch.

    rows:    read when an epoch begins, as they may be others by then
    stratum: that of a row
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


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _best(pays: Sequence[float]) -> int:
    """Place of the answer that pays most; of equal ones, the first."""
    return max(range(len(pays)), key=pays.__getitem__)
