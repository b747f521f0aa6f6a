"""Greedy decoding over a token tree, with the labels as speculative drafts.

The prompts are read window by window (see `forward`), each prefix once. While a window is in the cache, all
prompts that end in it are completed side by side, one call per step:

    window  [ … Text: I lost my card Label: ]   [ … Text: fees? Label: ]      first token: the most likely one step
    1    card _                              fee                          the draft "_" follows "card" in every
    label step 2    lost EOS                            EOS

If all labels that begin with the tokens written so far continue alike, that continuation is read in the same
call, and kept as far as the model would have written it itself. That is speculative decoding (Leviathan et al.
2023, arXiv 2211.17192) with a list of labels in place of the draft model: fewer calls, same result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genclspp.trees.attention import build_inputs
from genclspp.trees.forward import TreeCache, batches, evaluating, most_logits, next_token_logits, pad, walk, width
from genclspp.trees.support import supports
from genclspp.trees.tree import Tree, ancestor_mask, common_prefix_length, grow


def write(
    model: Any, rows: Sequence[list[int]], stops: Collection[int], limit: int, drafts: Sequence[list[int]] = ()
) -> list[list[int]]:
    """Greedy completions of token sequences: at most `limit` tokens each, up to a stop token, which is left out.

    rows:   tokens of the prompts
    drafts: token sequences that are likely to be written; they affect speed, never the result
    """
    if not (supports(model) and not edits_logits(model)):
        return write_plain(model, rows, stops, limit)
    with evaluating(model):
        return write_tree(model, rows, stops, limit, drafts)


def write_plain(
    model: Any, rows: Sequence[list[int]], stops: Collection[int], limit: int, budget: int = 8192
) -> list[list[int]]:
    """Like `write`, with `model.generate` on left-padded batches of at most `budget` tokens."""
    order = sorted(range(len(rows)), key=lambda k: len(rows[k]))
    written: list[list[int]] = []
    with evaluating(model):
        for batch in batches([rows[k] for k in order], budget):
            ids, attention = pad(batch, model.device, left=True)
            output = model.generate(
                input_ids=ids,
                attention_mask=attention,
                do_sample=False,
                max_new_tokens=limit,
                eos_token_id=sorted(stops),
                pad_token_id=min(stops),  # rows that have ended are padded with a stop, which `_until` cuts off
            )
            written += [_until(row, stops) for row in output[:, ids.shape[1] :].tolist()]
    return [ids for _, ids in sorted(zip(order, written, strict=True))]  # back in the order of `rows`


CALLS = 6  # expected per window: one for the window itself, then the steps of completions that follow the drafts


def write_tree(
    model: Any, rows: Sequence[list[int]], stops: Collection[int], limit: int, drafts: Sequence[list[int]]
) -> list[list[int]]:
    """Like `write`, over a token tree; the caller turns off gradients and dropout."""
    tree = grow(rows)
    # Of the prompts, only the prediction after the last token matters.
    wanted = [False] * len(tree.tokens)
    for end in tree.ends:
        wanted[end] = True
    trie = DraftTrie.of(drafts, stops)
    # In a step, each completion needs logits after its last token and after every drafted one.
    most = max(most_logits(model) // (1 + trie.longest), 1)
    cache = TreeCache()
    found: dict[int, list[int]] = {}
    # Each time `walk` yields, complete the prompts that end in its window while the cache still holds them.
    for ends, logits in walk(model, tree, wanted, width(model, CALLS), most, cache=cache):
        begun = [Completion(end) for end in ends]
        for one, token in zip(begun, logits.argmax(-1).tolist(), strict=True):
            one.add([], token, stops, limit)
        _complete(model, tree, cache, begun, trie, stops, limit)
        found |= {one.node: one.tokens for one in begun}
    return [found[end] for end in tree.ends]  # equal prompts share an end and are completed once


@dataclass
class Completion:
    """The tokens written so far after the prompt that ends at `node`."""

    node: int
    tokens: list[int] = field(default_factory=list)
    is_open: bool = True

    def add(self, accepted: list[int], token: int, stops: Collection[int], limit: int) -> None:
        """Append accepted tokens of a draft and the token that the model wrote after them."""
        self.tokens += accepted if token in stops else [*accepted, token]
        self.is_open = token not in stops and len(self.tokens) < limit


@dataclass(frozen=True)
class DraftTrie:
    """Which tokens may follow what is written, according to the drafts.

    tokens:  prefix of a draft -> the tokens that follow it in any draft; END stands for a stop
    longest: tokens of the longest draft
    """

    tokens: Mapping[tuple[int, ...], set[int]]
    longest: int

    @classmethod
    def of(cls, drafts: Sequence[list[int]], stops: Collection[int]) -> DraftTrie:
        # [7, 8] becomes (): {7}, (7,): {8}, (7, 8): {END}
        tokens: dict[tuple[int, ...], set[int]] = defaultdict(set)
        for draft in drafts:
            for k, token in enumerate([*draft, END]):
                tokens[tuple(draft[:k])].add(END if token in stops else token)
        return cls(tokens, max(map(len, drafts), default=0))

    def propose(self, written: list[int], most: int) -> list[int]:
        """The tokens, at most `most`, with which all drafts that begin with `written` continue.

        >>> DraftTrie.of([[7, 8, 9], [7, 8, 4]], stops=[0]).propose([7], most=5)
        [8]
        """
        ahead: list[int] = []
        while len(ahead) < most:
            ways = self.tokens.get((*written, *ahead), {END})
            # At a fork the model has to choose; a stop is not worth drafting, as nothing follows it.
            if len(ways) > 1 or END in ways:
                break
            ahead += ways
        return ahead


END = -1


def _complete(
    model: Any,
    tree: Tree,
    cache: TreeCache,
    begun: list[Completion],
    trie: DraftTrie,
    stops: Collection[int],
    limit: int,
) -> None:
    """Write all of `begun` to their end, one call per step; `cache` holds their prompts."""
    nodes = list(cache.nodes)
    prompts = ancestor_mask(tree, [one.node for one in begun], nodes)
    # Keys of a step: the cached nodes, then all tokens fed in earlier steps, then those of this step.
    depths = [tree.depths[node] for node in nodes]
    owners: list[int] = []  # per token fed: index in `begun` of its completion, NOBODY if it was rejected
    while places := [place for place, one in enumerate(begun) if one.is_open]:
        # The model writes one token after each draft, so a draft leaves room for one.
        drafts = {k: trie.propose(begun[k].tokens, limit - len(begun[k].tokens) - 1) for k in places}
        # Feed the last token written, which the model has not read yet, and the draft: (completion, token, depth)
        fed = [
            (k, token, depth)
            for k in places
            for depth, token in enumerate(
                [begun[k].tokens[-1], *drafts[k]], tree.depths[begun[k].node] + len(begun[k].tokens)
            )
        ]
        new, tokens, here = map(list, zip(*fed, strict=True))
        depths += here
        given = build_inputs(model, tokens, _step_mask(prompts, owners, new), here, depths)
        logits = next_token_logits(model, len(new), **given, past_key_values=cache.kv, use_cache=True)
        cache.nodes += [NOBODY] * len(new)  # not nodes of the tree: the next window drops them
        chosen = iter(logits[0].argmax(-1).tolist())
        for k, draft in drafts.items():
            # wrote[i]: what the model writes after draft[:i]. It holds for as long as the draft came true before.
            wrote = [next(chosen) for _ in range(len(draft) + 1)]
            accepted = common_prefix_length(draft, wrote)
            begun[k].add(draft[:accepted], wrote[accepted], stops, limit)
            # Rejected tokens stay in the cache, but nobody attends to them any more.
            owners += [k] * (1 + accepted) + [NOBODY] * (len(draft) - accepted)


NOBODY = -1


def _step_mask(prompts: Tensor, owners: list[int], new: list[int]) -> Tensor:
    """What the tokens of a step attend to: prompt, written tokens and earlier new tokens of their completion.

    prompts: (completions, nodes) which cached nodes each completion attends to
    owners:  completion of each token fed in earlier steps
    new:     completion of each token of this step
    returns: (new, nodes + fed + new)
    """
    place = torch.tensor(new)
    earlier = torch.tensor(owners, dtype=torch.long) == place[:, None]
    own = (place == place[:, None]).tril()  # causal within the step
    return torch.cat([prompts[place], earlier, own], 1)


# Settings of a generation config that make `generate` do more than take the most likely token.
EDITS = (
    *("repetition_penalty", "no_repeat_ngram_size", "bad_words_ids", "sequence_bias", "guidance_scale"),
    *("min_length", "min_new_tokens", "exponential_decay_length_penalty"),
    *("forced_bos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens"),
)


def edits_logits(model: Any) -> bool:
    """Whether `model.generate` does more than take the most likely token."""
    return any(getattr(model.generation_config, name, None) not in (None, 0, 1) for name in EDITS)


def _until(ids: list[int], stops: Collection[int]) -> list[int]:
    """The tokens before the first stop."""
    return ids[: next((k for k, token in enumerate(ids) if token in stops), len(ids))]
