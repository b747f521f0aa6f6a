"""Greedy decoding over a tree that grows while it is written.

The prompts are read window by window (see `reading`), each prefix once. While a window is in memory, all prompts
that end in it are completed side by side, every step one call:

    window  [ … Text: I lost my card Label: ]   [ … Text: fees? Label: ]      one token each, the most likely
    step 1    card _                              fee                          draft: what all labels go on with
    step 2    lost EOS                            EOS

The labels are the draft: where what is written so far begins labels that all go on alike, those tokens are read in
the same call, and kept as far as they are what the model would have written itself. That is speculative decoding
(Leviathan et al. 2023, arXiv 2211.17192) with a list in the place of the draft model: fewer calls, same result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from genclspp.trees.attention import inputs
from genclspp.trees.forward import Memory, batches, evaluating, most_logits, next_token_logits, pad, walk, width
from genclspp.trees.support import supports
from genclspp.trees.tree import Tree, common, grow, visible


def write(
    model, rows: Sequence[list[int]], stops: Collection[int], limit: int, drafts: Sequence[list[int]] = ()
) -> list[list[int]]:
    """What greedy decoding writes after each prompt: at most `limit` tokens, up to a stop, which is left out.

    rows:   tokens of the prompts
    drafts: token sequences that are likely to be written; they change how fast it goes, never the result
    """
    if not (supports(model) and not edits_logits(model)):
        return write_plain(model, rows, stops, limit)
    with evaluating(model):
        return write_tree(model, rows, stops, limit, drafts)


def write_plain(
    model, rows: Sequence[list[int]], stops: Collection[int], limit: int, budget: int = 8192
) -> list[list[int]]:
    """The same by `model.generate`, in left-padded batches of at most `budget` tokens."""
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
                pad_token_id=min(stops),
            )
            written += [_until(row, stops) for row in output[:, ids.shape[1] :].tolist()]
    return [ids for _, ids in sorted(zip(order, written, strict=True))]


CALLS = 6  # per window, about: the window itself, and the steps of completions that follow the drafts


def write_tree(
    model, rows: Sequence[list[int]], stops: Collection[int], limit: int, drafts: Sequence[list[int]]
) -> list[list[int]]:
    """The same over a tree; the caller sees to it that there is neither gradient nor dropout."""
    tree = grow(rows)
    wanted = [False] * len(tree.tokens)
    for end in tree.ends:
        wanted[end] = True
    following = Following.of(drafts, stops)
    most = max(most_logits(model) // (1 + following.longest), 1)
    memory = Memory()
    found: dict[int, list[int]] = {}
    for ends, logits in walk(model, tree, wanted, width(model, CALLS), most, memory=memory):
        begun = [Completion(end) for end in ends]
        for one, token in zip(begun, logits.argmax(-1).tolist(), strict=True):
            one.add([], token, stops, limit)
        _complete(model, tree, memory, begun, following, stops, limit)
        found |= {one.node: one.tokens for one in begun}
    return [found[end] for end in tree.ends]


@dataclass
class Completion:
    """What is written under `node`, the last of a prompt."""

    node: int
    tokens: list[int] = field(default_factory=list)
    is_open: bool = True

    def add(self, sure: list[int], token: int, stops: Collection[int], limit: int) -> None:
        """Go on with tokens of the draft and the one that the model wrote after them."""
        self.tokens += sure if token in stops else [*sure, token]
        self.is_open = token not in stops and len(self.tokens) < limit


@dataclass(frozen=True)
class Following:
    """Which tokens follow what is written, according to drafts; END stands for a stop."""

    tokens: Mapping[tuple[int, ...], set[int]]
    longest: int

    @classmethod
    def of(cls, drafts: Sequence[list[int]], stops: Collection[int]) -> Following:
        tokens: dict[tuple[int, ...], set[int]] = defaultdict(set)
        for draft in drafts:
            for k, token in enumerate([*draft, END]):
                tokens[tuple(draft[:k])].add(END if token in stops else token)
        return cls(tokens, max(map(len, drafts), default=0))

    def draft(self, written: list[int], most: int) -> list[int]:
        """The tokens, at most `most`, with which all drafts go on that begin with `written`."""
        ahead: list[int] = []
        while len(ahead) < most:
            ways = self.tokens.get((*written, *ahead), {END})
            if len(ways) > 1 or END in ways:
                break
            ahead += ways
        return ahead


END = -1


def _complete(
    model,
    tree: Tree,
    memory: Memory,
    begun: list[Completion],
    following: Following,
    stops: Collection[int],
    limit: int,
) -> None:
    """Write all of `begun` to the end, whose nodes are in `memory`; each step is one call."""
    nodes = list(memory.nodes)
    prompts = visible(tree, [one.node for one in begun], nodes)
    depths = [tree.depths[node] for node in nodes]
    owners: list[int] = []  # of the tokens behind `nodes`: the place in `begun`, or nobody's where refused
    while places := [place for place, one in enumerate(begun) if one.is_open]:
        drafts = {k: following.draft(begun[k].tokens, limit - len(begun[k].tokens) - 1) for k in places}
        asked = [
            (k, token, depth)
            for k in places
            for depth, token in enumerate(
                [begun[k].tokens[-1], *drafts[k]], tree.depths[begun[k].node] + len(begun[k].tokens)
            )
        ]
        new, tokens, here = map(list, zip(*asked, strict=True))
        depths += here
        given = inputs(model, tokens, _seen(prompts, owners, new), here, depths)
        logits = next_token_logits(model, len(new), **given, past_key_values=memory.cache, use_cache=True)
        memory.nodes += [NOBODY] * len(new)
        chosen = iter(logits[0].argmax(-1).tolist())
        for k, draft in drafts.items():
            wrote = [next(chosen) for _ in range(len(draft) + 1)]
            sure = common(draft, wrote)
            begun[k].add(draft[:sure], wrote[sure], stops, limit)
            owners += [k] * (1 + sure) + [NOBODY] * (len(draft) - sure)


NOBODY = -1


def _seen(prompts: Tensor, owners: list[int], new: list[int]) -> Tensor:
    """What new tokens see: their prompt, what is written under it, and themselves.

    prompts: (completions, nodes) what each completion sees of the nodes
    owners:  completion of each token written so far; new: that of each new token
    returns: (new, nodes + written + new)
    """
    place = torch.tensor(new)
    written = torch.tensor(owners, dtype=torch.long) == place[:, None]
    itself = (place == place[:, None]).tril()
    return torch.cat([prompts[place], written, itself], 1)


EDITS = (
    *("repetition_penalty", "no_repeat_ngram_size", "bad_words_ids", "sequence_bias", "guidance_scale"),
    *("min_length", "min_new_tokens", "exponential_decay_length_penalty"),
    *("forced_bos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens"),
)


def edits_logits(model) -> bool:
    """Whether `model.generate` does more than take the most likely token."""
    return any(getattr(model.generation_config, name, None) not in (None, 0, 1) for name in EDITS)


def _until(ids: list[int], stops: Collection[int]) -> list[int]:
    return ids[: next((k for k, token in enumerate(ids) if token in stops), len(ids))]
