"""Supervised fine-tuning over token trees.

The examples of a batch share instructions, label lists and demonstrations. Read as a tree, each shared prefix is
computed once, forward and backward, and the language-model head only where a completion token is predicted. A
token written by several examples after the same prefix counts once for each, so loss and gradient are those of
`trl.SFTTrainer` on padded sequences.

One difference remains: with dropout, a shared node draws one mask for all examples that share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from trl import SFTConfig, SFTTrainer

from genclspp.trees.forward import call_cost, child_logprobs, log_softmax, next_token_logits, walk
from genclspp.trees.support import supports
from genclspp.trees.tree import Tree, children, common, grow, path

IGNORED = -100  # the label of tokens that are not learned


@dataclass(frozen=True)
class Targets:
    """Tokens to learn; (tokens,) each.

    logprobs: of the token, with gradient
    entropy:  of the prediction that it comes from
    is_right: whether it is the most likely one
    weights:  how many examples want it
    """

    logprobs: Tensor
    entropy: Tensor
    is_right: Tensor
    weights: Tensor


class TreeSFTTrainer(SFTTrainer):
    """`SFTTrainer` for completions, over token trees or, with `packing="none"`, over padded sequences.

    Takes what `SFTTrainer` takes; the data set has the columns `input_ids` and `completion_mask`. Where the model
    cannot read trees, it reads padded sequences, with a warning. Either way the loss comes from the model's own
    forward pass; that of `SFTTrainer` multiplies the backbone's output by the output embeddings, and so leaves out
    what heads like BERT's do in between.
    """

    def __init__(self, model, args, *, packing: str = "tree", **rest) -> None:
        if packing not in ("tree", "none"):
            raise ValueError(f"packing is {packing!r}; expected 'tree' or 'none'")
        check_arguments(args)
        # Left alone, SFTTrainer learns the prompts of tokenised data sets too
        args.completion_only_loss = True
        super().__init__(model, args, **rest)
        if self.aux_loss_enabled:
            raise ValueError("the router's auxiliary loss counts every token; set router_aux_loss_coef=0")
        self._reads_trees = packing == "tree" and supports(self.model)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        targets = self._tree_targets if self._reads_trees else self._plain_targets
        total, metrics = _learn(targets(model, inputs))
        mode = "train" if model.training else "eval"
        self._record(mode, metrics, inputs["attention_mask"].sum())
        loss = total / (metrics["count"] if num_items_in_batch is None else num_items_in_batch)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # gradients are averaged over processes
        return loss

    def _tree_targets(self, model, inputs) -> Iterator[Targets]:
        plain = self.accelerator.unwrap_model(model)
        lengths = inputs["attention_mask"].sum(1).tolist()
        rows, labels = (
            [row[:length] for row, length in zip(inputs[name].tolist(), lengths, strict=True)]
            for name in ("input_ids", "labels")
        )
        config = plain.config.get_text_config()
        call = call_cost(plain) / (24 * config.hidden_size**2 * config.num_hidden_layers)
        for members in together(rows, config.hidden_size, call):
            tree, counts = count_wishes([rows[k] for k in members], [labels[k] for k in members])
            wanted = [any(counts[child] for child in children(tree, node)) for node in range(len(counts))]
            for nodes, logits in walk(plain, tree, wanted, len(counts), len(counts), call=model):
                logs = log_softmax(logits)
                rows_of, below, found = child_logprobs(tree, nodes, logs, counts.__getitem__)
                tokens, weights = ([of[child] for child in below] for of in (tree.tokens, counts))
                yield _targets(logs, rows_of, tokens, found, torch.tensor(weights, device=logs.device))

    def _plain_targets(self, model, inputs) -> Iterator[Targets]:
        plain = self.accelerator.unwrap_model(model)
        labels = torch.nn.functional.pad(inputs["labels"][:, 1:], (0, 1), value=IGNORED)
        keep = labels != IGNORED
        sequences = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        logits = next_token_logits(plain, keep, model, **sequences, use_cache=False)
        logs, tokens = log_softmax(logits), labels[keep]
        found = logs.gather(1, tokens[:, None])[:, 0]
        yield _targets(logs, list(range(len(tokens))), tokens.tolist(), found, torch.ones_like(tokens))

    def _record(self, mode: str, metrics: dict[str, Tensor], tokens: Tensor) -> None:
        """Log what `SFTTrainer` logs."""
        sums = {name: self._sum(value) for name, value in metrics.items()}
        for name in ("entropy", "mean_token_accuracy"):
            self._metrics[mode][name].append(sums[name] / max(sums["count"], 1))
        if mode == "train":
            self._total_train_tokens += self._sum(tokens)
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]

    def _sum(self, value: Tensor) -> float:
        """Over all processes."""
        return torch.as_tensor(self.accelerator.gather_for_metrics(value)).sum().item()


def check_arguments(args: SFTConfig) -> None:
    """Raise ValueError for a loss or a batch that is no business of token trees."""
    wanted = {"loss_type": "nll", "label_smoothing_factor": 0, "packing": False, "padding_free": False}
    for name, value in wanted.items():
        found = getattr(args, name)
        if found != value:
            raise ValueError(
                f"sft.args.{name}={found!r}; expected {value!r}: examples are read as token trees, and the loss "
                "is the mean over their answers' tokens"
            )


MOST = 8192  # nodes in one tree; the mask has their square


def together(rows: Sequence[list[int]], hidden: int, call: float) -> list[list[int]]:
    """Which rows to read as one tree, where a call costs as much as reading `call` tokens.

    A row that joins a tree saves a call and the prefix that it shares, about 24 x hidden x hidden operations per
    token and layer. It costs attention between strangers, 8 x hidden for each of its new tokens and each node that
    is there. So long rows that share little are read apart, and a shared list of labels keeps a batch together.
    """
    groups: list[list[int]] = []
    nodes = 0
    last: Sequence[int] = []
    for k in sorted(range(len(rows)), key=lambda k: rows[k]):
        shared = common(last, rows[k])
        new = len(rows[k]) - shared
        if groups and new * nodes < 3 * hidden * (shared + call) and nodes + new <= MOST:
            groups[-1].append(k)
            nodes += new
        else:
            groups.append([k])
            nodes = len(rows[k])
        last = rows[k]
    return groups


def count_wishes(rows: Sequence[Sequence[int]], labels: Sequence[Sequence[int]]) -> tuple[Tree, list[int]]:
    """The tree of `rows`, and per node how many examples want its token after its parent."""
    tree = grow(rows)
    counts = [0] * len(tree.tokens)
    for end, wishes in zip(tree.ends, labels, strict=True):
        for node, label in zip(path(tree, end), wishes, strict=True):
            counts[node] += label != IGNORED and tree.parents[node] >= 0
    return tree, counts


def _targets(logs: Tensor, rows: list[int], tokens: list[int], found: Tensor, weights: Tensor) -> Targets:
    """Targets with what is told of them beside their loss, which needs no gradient.

    logs: (predictions, vocabulary); rows: the prediction of each token; found: their log-probabilities
    """
    with torch.no_grad():
        entropy = -(logs.exp() * logs).sum(-1)[rows]
        is_right = logs.argmax(-1)[rows] == torch.tensor(tokens, device=logs.device)
    return Targets(found, entropy, is_right, weights)


def _learn(parts: Iterator[Targets]) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum of negative log-likelihoods; sums of count, entropy and right guesses."""
    total, sums = [], []
    for part in parts:
        total.append(-(part.weights * part.logprobs).sum())
        told = (part.weights * part.entropy).sum(), (part.weights * part.is_right).sum()
        sums.append(torch.stack([part.weights.sum(), *told]))
    names = ("count", "entropy", "mean_token_accuracy")
    return torch.stack(total).sum(), dict(zip(names, torch.stack(sums).sum(0), strict=True))
