"""The self-check of token trees finds every planted fault, and rounding is no fault."""

import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

from genclspp.trees import attention, blockwise, forward
from genclspp.trees.blockwise import BlockwiseMask
from genclspp.trees.forward import TreeCache, evaluating
from genclspp.trees.support import in_float64, supports

SMALL = {
    "vocab_size": 90,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}


def build(**config) -> torch.nn.Module:
    torch.manual_seed(0)
    kind = MistralConfig if "sliding_window" in config else LlamaConfig
    return AutoModelForCausalLM.from_config(kind(**SMALL, **config)).eval()


def masks(change: Callable) -> Callable[[pytest.MonkeyPatch], None]:
    """A fault in what nodes attend to: `change` takes the mask, and each key's distance behind its query."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        right = forward.ancestor_mask

        def wrong(tree, queries, keys):
            behind = torch.tensor(queries)[:, None] - torch.tensor(keys)
            return change(right(tree, queries, keys), behind)

        patch.setattr(forward, "ancestor_mask", wrong)

    return plant


def depths(change: Callable) -> Callable[[pytest.MonkeyPatch], None]:
    """A fault in positions: `change` takes those of the queries."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        right = forward.build_inputs
        patch.setattr(
            forward,
            "build_inputs",
            lambda model, tokens, seen, here, keys: right(model, tokens, seen, change(here), keys),
        )

    return plant


def rewinds(change: Callable) -> Callable[[pytest.MonkeyPatch], None]:
    """A fault in the cache: `change` takes the nodes to keep, and may keep others in their place."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        right = TreeCache.rewind

        def wrong(self: TreeCache, kept: list[int]) -> None:
            places = list(range(len(self.nodes)))
            chosen = change([self.nodes.index(node) for node in kept], places)
            right(self, [self.nodes[place] for place in chosen])
            self.nodes = kept

        patch.setattr(TreeCache, "rewind", wrong)

    return plant


def blocks(change: Callable) -> Callable[[pytest.MonkeyPatch], None]:
    """A fault in blocks of three: `change` takes the runs that a block attends to, and their mask."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        right = BlockwiseMask.of.__func__  # type: ignore[attr-defined]

        def wrong(kind: type, mask: torch.Tensor) -> BlockwiseMask:
            made = right(kind, mask)
            made.blocks = [change(*block) for block in made.blocks]
            return made

        patch.setattr(blockwise, "BLOCK", 3)
        patch.setattr(BlockwiseMask, "of", classmethod(wrong))

    return plant


FAULTS = {
    "a node does not see itself": masks(lambda seen, behind: seen & (behind != 0)),
    "a node does not see its predecessor": masks(lambda seen, behind: seen & (behind != 1)),
    "the mask is off by one": masks(lambda seen, behind: seen.roll(1, 1) | (behind == 0)),
    "siblings are visible": masks(lambda seen, behind: behind >= 0),
    "only a sibling's last token is visible": masks(lambda seen, behind: seen | (behind == 1)),
    "the first token is hidden": masks(lambda seen, behind: seen & (behind < behind.max())),
    "all is visible": masks(lambda seen, behind: torch.ones_like(seen)),
    "positions count tokens, not depth": depths(lambda here: list(range(here[0], here[0] + len(here)))),
    "the last position is shifted": depths(lambda here: [*here[:-1], here[-1] + 1]),
    "all positions of a window are 0": depths(lambda here: [0] * len(here)),
    "the cache keeps another token": rewinds(
        lambda places, _: [*places[:-1], max(places[-1] - 1, 0)] if places else []
    ),
    "the cache keeps the last tokens": rewinds(lambda places, nodes: nodes[len(nodes) - len(places) :]),
    "the cache keeps a token too few": rewinds(
        lambda places, _: [*places[:-2], *places[-1:], *places[-1:]] if len(places) > 1 else places
    ),
    "a block attends to its keys in reverse": blocks(lambda runs, bias: (runs[::-1], bias)),
    "a block ignores its mask": blocks(lambda runs, bias: (runs, torch.zeros_like(bias))),
    "the mask of a block is off by one": blocks(lambda runs, bias: (runs, bias.roll(1, 0))),
}


@pytest.fixture(autouse=True)
def hushed() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*cannot read token trees")
        yield


@pytest.mark.parametrize("plant", FAULTS.values(), ids=FAULTS.keys())
def test_every_planted_fault_is_caught(plant: Callable, monkeypatch: pytest.MonkeyPatch):
    assert supports(build())
    plant(monkeypatch)
    assert not supports(build())


def test_a_window_that_is_ignored_or_off_by_one_is_caught(monkeypatch: pytest.MonkeyPatch):
    assert supports(build(sliding_window=5))
    right = attention.build_masks
    for wrong in (None, 4, 6):

        def planted(model, *rest, wrong=wrong):
            config, window = model.config, model.config.sliding_window
            config.sliding_window = wrong
            try:
                return right(model, *rest)
            finally:
                config.sliding_window = window

        monkeypatch.setattr(attention, "build_masks", planted)
        assert not supports(build(sliding_window=5)), wrong


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_rounding_is_no_fault(kind: torch.dtype):
    """Weights that amplify it a thousandfold: in float32 the tree and plain sequences differ by more than 1e-3."""
    model = build()
    with torch.no_grad():
        model.lm_head.weight *= 300
        for layer in model.model.layers:
            layer.mlp.down_proj.weight *= 20
    assert supports(model.to(kind))


def test_the_weights_are_the_same_bits_afterwards():
    model = build().to(torch.bfloat16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with evaluating(model), in_float64(model) as is_exact:
        assert is_exact
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
