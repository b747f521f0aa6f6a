"""Supervised fine-tuning over token trees.

The examples of a batch share instructions, label lists and demonstrations. Read as a tree, each shared prefix is
computed once, forward and backward, and the language-model head only where a completion token is predicted. A
token that several examples have after the same prefix counts once for each of them, so loss and gradient equal
those of `trl.SFTTrainer` on padded sequences.

One difference remains: with dropout, a shared node has one dropout mask for all examples that share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from trl import SFTConfig, SFTTrainer

from genclspp.suggest import UserError
from genclspp.trees.forward import call_cost, child_logprobs, log_softmax, next_token_logits, walk
from genclspp.trees.support import supports
from genclspp.trees.tree import Tree, children, common_prefix_length, grow, path

IGNORED = -100  # the label of tokens that are not learned


@dataclass(frozen=True)
class Targets:
    """Tokens to learn; (tokens,) each.

    logprobs: log-probability of the token, with gradient
    entropy:  entropy of the distribution that predicts it
    is_right: whether it is the most likely token
    weights:  number of examples that have it as a target
    """

    logprobs: Tensor
    entropy: Tensor
    is_right: Tensor
    weights: Tensor


class TreeSFTTrainer(SFTTrainer):
    """`SFTTrainer` for completions, over token trees or, with `packing="none"`, over padded sequences.

    Takes what `SFTTrainer` takes; the data set has the columns `input_ids` and `completion_mask`. A model that
    cannot read trees reads padded sequences, with a warning. Either way, the loss comes from the model's own
    forward pass. (`SFTTrainer` multiplies the backbone's output by the output embeddings itself, so it skips what
    a head like BERT's does in between.)
    """

    def __init__(self, model: Any, args: SFTConfig, *, packing: str = "tree", **rest: Any) -> None:
        if packing not in ("tree", "none"):
            raise UserError(f"packing is {packing!r}; expected 'tree' or 'none'")
        check_arguments(args)
        # By default, SFTTrainer also learns the prompts of data sets that come tokenised.
        args.completion_only_loss = True
        super().__init__(model, args, **rest)
        if self.aux_loss_enabled:
            raise UserError(
                "the model has a router auxiliary loss, which is not computed over token trees; "
                "expected sft.args.router_aux_loss_coef=0"
            )
        self._reads_trees = packing == "tree" and supports(self.model)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        targets = self._tree_targets if self._reads_trees else self._plain_targets
        with self.accelerator.autocast():  # around all trees of the batch, so that weights are cast once
            total, metrics = _sum_targets(targets(model, inputs))
        mode = "train" if model.training else "eval"
        self._record(mode, metrics, inputs["attention_mask"].sum())
        # `num_items_in_batch` counts the targets of all accumulated batches.
        loss = total / (metrics["count"] if num_items_in_batch is None else num_items_in_batch)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # gradients are averaged over processes
        return loss

    def _tree_targets(self, model: Any, inputs: Any) -> Iterator[Targets]:
        plain = self.accelerator.unwrap_model(model)
        lengths = inputs["attention_mask"].sum(1).tolist()
        rows, labels = (
            [row[:length] for row, length in zip(inputs[name].tolist(), lengths, strict=True)]
            for name in ("input_ids", "labels")
        )
        config = plain.config.get_text_config()
        # The cost of a call in tokens: a token takes about 24 x hidden^2 operations per layer.
        overhead = call_cost(plain) / (24 * config.hidden_size**2 * config.num_hidden_layers)
        for members in group_rows(rows, config.hidden_size, overhead):
            tree, counts = count_targets([rows[k] for k in members], [labels[k] for k in members])
            wanted = [any(counts[child] for child in children(tree, node)) for node in range(len(counts))]
            # One window for the whole tree: gradient checkpointing, on by default in TRL, drops the cache of
            # several.
            for nodes, logits in walk(plain, tree, wanted, len(counts), len(counts), call=model):
                logs = log_softmax(logits)
                rows_of, below, found = child_logprobs(tree, nodes, logs, counts.__getitem__)
                tokens, weights = ([of[child] for child in below] for of in (tree.tokens, counts))
                yield _targets(logs, rows_of, tokens, found, torch.tensor(weights, device=logs.device))

    def _plain_targets(self, model: Any, inputs: Any) -> Iterator[Targets]:
        plain = self.accelerator.unwrap_model(model)
        # Labels shifted to the position that predicts them: (rows, tokens), the last column without a label.
        labels = torch.nn.functional.pad(inputs["labels"][:, 1:], (0, 1), value=IGNORED)
        keep = labels != IGNORED
        sequences = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        logits = next_token_logits(plain, keep, model, **sequences, use_cache=False)
        logs, tokens = log_softmax(logits), labels[keep]
        found = logs.gather(1, tokens[:, None])[:, 0]
        yield _targets(logs, list(range(len(tokens))), tokens.tolist(), found, torch.ones_like(tokens))

    def _record(self, mode: str, metrics: dict[str, Tensor], tokens: Tensor) -> None:
        """Record the metrics that `SFTTrainer` logs."""
        sums = {name: self._sum(value) for name, value in metrics.items()}
        for name in ("entropy", "mean_token_accuracy"):
            self._metrics[mode][name].append(sums[name] / max(sums["count"], 1))
        if mode == "train":
            self._total_train_tokens += self._sum(tokens)
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]

    def _sum(self, value: Tensor) -> float:
        """Sum over all processes."""
        return torch.as_tensor(self.accelerator.gather_for_metrics(value)).sum().item()


def check_arguments(args: SFTConfig) -> None:
    """Raise UserError for a loss or a batch format that token trees do not support."""
    wanted = {"loss_type": "nll", "label_smoothing_factor": 0, "packing": False, "padding_free": False}
    for name, value in wanted.items():
        found = getattr(args, name)
        if found != value:
            raise UserError(
                f"sft.args.{name}={found!r}; expected {value!r}, as SFT reads token trees and its loss is the "
                "mean negative log-likelihood of completion tokens"
            )


MAX_NODES = 8192  # in one tree; the attention mask has the square of that


def group_rows(rows: Sequence[list[int]], hidden: int, call: float) -> list[list[int]]:
    """Group rows into trees so that reading them costs least.

    In sorted order, rows with a common prefix are neighbours. A row that joins the tree of the rows before it
    saves a call and the tokens of the shared prefix, about 24 x hidden^2 operations per token and layer. It costs
    masked-out attention, 8 x hidden operations per layer for each pair of one of its new tokens and one node of
    the tree. So it joins if

        8 x hidden x new x nodes < 24 x hidden^2 x (shared + call)

    Long rows that share little are read apart, and a shared list of labels keeps a batch together.

    rows:    token sequences
    hidden:  hidden size of the model
    call:    fixed cost of a call, in tokens
    returns: groups of indexes of `rows`
    """
    groups: list[list[int]] = []
    nodes = 0  # of the last group's tree
    last: Sequence[int] = []
    for k in sorted(range(len(rows)), key=lambda k: rows[k]):
        shared = common_prefix_length(last, rows[k])
        new = len(rows[k]) - shared
        if groups and new * nodes < 3 * hidden * (shared + call) and nodes + new <= MAX_NODES:
            groups[-1].append(k)
            nodes += new
        else:
            groups.append([k])
            nodes = len(rows[k])
        last = rows[k]
    return groups


def count_targets(rows: Sequence[Sequence[int]], labels: Sequence[Sequence[int]]) -> tuple[Tree, list[int]]:
    """The tree of `rows`, and how many rows have each node as a target: (nodes,).

    labels: like `rows`, with IGNORED in place of tokens that are not targets
    """
    tree = grow(rows)
    counts = [0] * len(tree.tokens)
    for end, targets in zip(tree.ends, labels, strict=True):
        for node, label in zip(path(tree, end), targets, strict=True):
            counts[node] += label != IGNORED and tree.parents[node] >= 0  # nothing predicts the first token
    return tree, counts


def _targets(logs: Tensor, rows: list[int], tokens: list[int], found: Tensor, weights: Tensor) -> Targets:
    """Targets with their metrics, which need no gradient.

    logs:    (predictions, vocabulary) log-probabilities
    rows:    (tokens,) the row of `logs` that predicts each token
    tokens:  (tokens,) token ids
    found:   (tokens,) their log-probabilities
    weights: (tokens,)
    """
    with torch.no_grad():
        entropy = torch.special.entr(logs.exp()).sum(-1)[rows]  # 0 where a probability is 0
        is_right = logs.argmax(-1)[rows] == torch.tensor(tokens, device=logs.device)
    return Targets(found, entropy, is_right, weights)


def _sum_targets(parts: Iterator[Targets]) -> tuple[Tensor, dict[str, Tensor]]:
    """The summed negative log-likelihood, and the sums of count, entropy and accuracy; all weighted."""
    total, sums = [], []
    for part in parts:
        total.append(-(part.weights * part.logprobs).sum())
        metrics = (part.weights * part.entropy).sum(), (part.weights * part.is_right).sum()
        sums.append(torch.stack([part.weights.sum(), *metrics]))
    names = ("count", "entropy", "mean_token_accuracy")
    return torch.stack(total).sum(), dict(zip(names, torch.stack(sums).sum(0), strict=True))
