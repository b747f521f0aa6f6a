"""How many prompts, and which, SFT and RL learn from."""

from dataclasses import replace

from genclspp.data.sampling import stratified_order
from genclspp.prompts.draft import Prompts
from genclspp.settings import RlSettings


def split(side: Prompts, share: float, seed: int) -> tuple[Prompts, Prompts]:
    """Split prompts between SFT and RL (`rl.focus=rest`): seeded, and stratified by answer.

    share: of SFT
    """
    order = stratified_order([item.answer for item in side.items], seed)
    cut = _taught(len(order), share)
    first, second = (tuple(side.items[k] for k in sorted(part)) for part in (order[:cut], order[cut:]))
    return replace(side, items=first), replace(side, items=second)


def count_rewarded(settings: RlSettings, train: int) -> int:
    """How many prompts RL learns from, of `train` training examples."""
    rest = train - _taught(train, settings.warmup) if settings.focus == "rest" else train
    return rest if settings.examples is None else min(settings.examples, rest)


def _taught(count: int, share: float) -> int:
    """How many of `count` prompts SFT sees: a share of them, at least one and never all."""
    return min(max(round(share * count), 1), count - 1)
