"""GRPO and RLOO over token trees.

All completions of a group share their prompt, and the prompts of a task share a prefix. So the log-probabilities
of a batch (under the policy, with gradient, and under the reference) are read from one tree.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from trl import GRPOTrainer, RLOOTrainer
from trl.trainer.utils import RepeatSampler

from genclspp.models.determinism import leniently
from genclspp.trees.forward import child_logprobs, evaluating, log_softmax, next_token_logits, pad, walk, width
from genclspp.trees.support import supports
from genclspp.trees.tree import Tree, children, grow, path


class TreeReading:
    """Mixin for TRL's trainers that reads every distinct prefix of a batch once: same numbers, less work.

    It replaces the sampling of completions and the computation of their log-probabilities, and leaves both to TRL
    if a setting or the model rules trees out.
    """

    _step: int
    accelerator: Any
    args: Any
    eos_token_ids: Any
    max_completion_length: Any
    model_wrapped: Any
    temperature: Any

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        return Reshuffled(super()._get_train_sampler(dataset))  # type: ignore[misc]

    def may_save(self) -> bool:
        """Whether all completions sampled so far have served for all their steps; checkpoints do not hold any."""
        # `_step` counts batches; a run that resumes starts from 0 again, with new completions.
        return self._step % (self.args.steps_per_generation * self.args.num_iterations) == 0

    def _sample(self, prompt_ids: list[list[int]]) -> list[list[int]] | None:
        """One sampled completion per prompt, EOS included; None if TRL has to sample."""
        model = self.accelerator.unwrap_model(self.model_wrapped)
        if not (self._samples_plainly() and supports(model)):
            return None
        with evaluating(model), self.accelerator.autocast():
            stops = set(self.eos_token_ids)
            return sample(model, prompt_ids, self.max_completion_length, self.temperature, stops)

    def _samples_plainly(self) -> bool:
        """Whether completions are sampled from the model's own distribution, by the model itself."""
        args = self.args
        own = not (args.use_vllm or args.use_transformers_continuous_batching or args.generation_kwargs)
        return own and (args.top_p, args.top_k, args.min_p, args.repetition_penalty) == (1.0, 0, None, 1.0)

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
        """Log-probability (and entropy) at each of the last `logits_to_keep` tokens: (rows, logits_to_keep).

        input_ids: (rows, tokens) prompts padded on the left, then completions padded on the right
        """
        plain = self.accelerator.unwrap_model(model)
        written = attention_mask[:, -logits_to_keep:].sum(1).tolist()  # tokens of each completion
        # A batch without any completion token (all truncated ones masked) would leave nothing to read in a tree.
        special = rest.get("compute_aux_loss") or self.args.gradient_checkpointing or not any(written)
        if special or not supports(plain):
            return super()._get_per_token_logps_and_entropies(  # type: ignore[misc]
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **rest
            )
        rows = [row[mask.bool()].tolist() for row, mask in zip(input_ids, attention_mask, strict=True)]
        tree = grow(rows)
        # Completion tokens: their (row, column) in the result, and their node, which equal completions share.
        places, nodes = [], []
        for row, (end, count) in enumerate(zip(tree.ends, written, strict=True)):
            for column, node in enumerate(path(tree, end)[len(rows[row]) - count :]):
                places.append((row, column))
                nodes.append(node)
        read, logps, entropies = self._read(model, plain, tree, set(nodes))
        index = [read[node] for node in nodes]

        def scatter(values: Tensor) -> Tensor:
            """Values per read node to (rows, logits_to_keep), with 0 at the padding, which TRL masks out."""
            table = values.new_zeros(len(rows), logits_to_keep)
            table[tuple(torch.tensor(places, device=values.device).T)] = values[index]
            return table

        return scatter(logps), scatter(entropies) if compute_entropy else None, None

    def _read(
        self, model: Any, plain: Any, tree: Tree, learned: set[int]
    ) -> tuple[dict[int, int], Tensor, Tensor]:
        """Log-probabilities of the `learned` nodes, and the entropies of the distributions that predict them.

        returns: node -> index into the two vectors, and the vectors (learned,)
        """
        wanted = [any(child in learned for child in children(tree, node)) for node in range(len(tree.tokens))]
        order: list[int] = []  # learned nodes, in the order in which they were read
        logps, entropies = [], []
        with self.accelerator.autocast():
            for nodes, logits in walk(plain, tree, wanted, width(plain), len(tree.tokens), call=model):
                logs = log_softmax(logits.float() / self.temperature)
                parents, below, found = child_logprobs(tree, nodes, logs, learned.__contains__)
                logps.append(found)
                entropies.append(-(logs.exp() * logs).sum(-1)[parents])
                order += below
        return {node: place for place, node in enumerate(order)}, torch.cat(logps), torch.cat(entropies)


class Reshuffled(RepeatSampler):
    """TRL's sampler with an order that depends on the number of the epoch alone.

    TRL's own shuffles with one generator from epoch to epoch, so a resumed run starts over with the order of the
    first.
    """

    def __init__(self, sampler: RepeatSampler) -> None:
        self.__dict__.update(vars(sampler))

    def set_epoch(self, epoch: int) -> None:
        if self.shuffle:
            self.generator.manual_seed((self.seed or 0) + epoch)


class TreeGRPOTrainer(TreeReading, GRPOTrainer):
    """`trl.GRPOTrainer` over token trees."""

    def _generate_single_turn(self, prompt_ids: list[list[int]], *rest: Any, **named: Any) -> Any:
        if (sampled := self._sample(prompt_ids)) is not None:
            return sampled, None
        with leniently():
            return super()._generate_single_turn(prompt_ids, *rest, **named)


class TreeRLOOTrainer(TreeReading, RLOOTrainer):
    """`trl.RLOOTrainer` over token trees."""

    def _generate_single_turn(self, prompt_ids: list[list[int]], *rest: Any, **named: Any) -> Any:
        if (sampled := self._sample(prompt_ids)) is not None:
            return sampled
        with leniently():
            return super()._generate_single_turn(prompt_ids, *rest, **named)


def sample(
    model: Any, prompts: list[list[int]], max_new_tokens: int, temperature: float, stops: set[int]
) -> list[list[int]]:
    """Sample one completion per prompt, up to and including a stop token; equal prompts are read once."""
    distinct = list(dict.fromkeys(map(tuple, prompts)))
    place = {prompt: k for k, prompt in enumerate(distinct)}
    ids, mask = pad([list(prompt) for prompt in distinct], model.device, left=True)
    cache = DynamicCache()
    positions = (mask.cumsum(1) - 1).clamp(min=0)  # 0 at a row's first token, whatever its padding on the left
    reads = {"past_key_values": cache, "use_cache": True}
    logits = next_token_logits(model, 1, input_ids=ids, attention_mask=mask, position_ids=positions, **reads)
    # From distinct prompts to one row per completion: copy keys, values, logits and masks.
    rows = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=model.device)
    cache.batch_select_indices(rows)
    logits, mask, position = logits[rows, -1], mask[rows], positions[rows, -1:]
    written: list[list[int]] = [[] for _ in prompts]
    is_open = [True] * len(prompts)
    for left in reversed(range(max_new_tokens)):
        # If the probabilities are NaN, any token will do: the update then has a NaN gradient, which is
        # reported.
        drawn = torch.multinomial((logits.float() / temperature).softmax(-1).nan_to_num(1.0), 1)
        # Rows that have ended are fed along with the others, and what they draw is ignored.
        for row, token in enumerate(drawn[:, 0].tolist()):
            if is_open[row]:
                written[row].append(token)
                is_open[row] = token not in stops
        if not left or not any(is_open):
            break
        mask, position = torch.cat([mask, torch.ones_like(drawn)], 1), position + 1
        logits = next_token_logits(model, 1, input_ids=drawn, attention_mask=mask, position_ids=position, **reads)[
            :, -1
        ]
    return written
