"""GRPO over token trees.

Every group of completions shares its prompt, and the prompts of a task share their beginning. So the
log-probabilities that GRPO needs of a batch (under the policy, with gradient, and under the reference) are read from
one tree.
"""

from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from genclspp.reading import supports, walk, width
from genclspp.trees import children, grow, path


class TreeGRPOTrainer(GRPOTrainer):
    """`trl.GRPOTrainer`, with every distinct prefix of a batch computed once; the same numbers, less work."""

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **rest: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Log-probability (and entropy) at each of the last `logits_to_keep` tokens: (rows, logits_to_keep)."""
        plain = self.accelerator.unwrap_model(model)
        if rest.get("compute_aux_loss") or self.args.gradient_checkpointing or not supports(plain):
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **rest
            )
        rows = [row[mask.bool()].tolist() for row, mask in zip(input_ids, attention_mask, strict=True)]
        written = attention_mask[:, -logits_to_keep:].sum(1).tolist()
        tree = grow(rows)
        places, nodes = [], []  # of completion tokens: (row, column), node in the tree
        for row, (end, count) in enumerate(zip(tree.ends, written, strict=True)):
            for column, node in enumerate(path(tree, end)[len(rows[row]) - count :]):
                places.append((row, column))
                nodes.append(node)
        read, logps, entropies = self._read(model, plain, tree, set(nodes))
        index = [read[node] for node in nodes]

        def spread(values: Tensor) -> Tensor:
            table = values.new_zeros(len(rows), logits_to_keep)
            table[tuple(torch.tensor(places, device=values.device).T)] = values[index]
            return table

        return spread(logps), spread(entropies) if compute_entropy else None, None

    def _read(self, model: Any, plain: Any, tree: Any, learned: set[int]) -> tuple[dict[int, int], Tensor, Tensor]:
        """node -> position in two vectors: log-probability of each learned node, entropy of what it was drawn from."""
        wanted = [any(child in learned for child in children(tree, node)) for node in range(len(tree.tokens))]
        order: list[int] = []
        logps, entropies = [], []
        with self.accelerator.autocast():
            for nodes, logits in walk(plain, tree, wanted, width(plain), len(tree.tokens), call=model):
                logs = (logits.float() / self.temperature).log_softmax(-1)
                pairs = [
                    (k, child)
                    for k, node in enumerate(nodes)
                    for child in children(tree, node)
                    if child in learned
                ]
                drawn = [k for k, _ in pairs]
                logps.append(logs[drawn, [tree.tokens[child] for _, child in pairs]])
                entropies.append(-(logs.exp() * logs).sum(-1)[drawn])
                order += [child for _, child in pairs]
        return {node: place for place, node in enumerate(order)}, torch.cat(logps), torch.cat(entropies)
