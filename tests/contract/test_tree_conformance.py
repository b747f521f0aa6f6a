"""Every architecture reads token trees as it reads plain sequences, or says that it cannot."""

import random
import warnings
from copy import deepcopy

import pytest
import torch
from transformers import (
    AttentionInterface,
    AutoModelForCausalLM,
    BertConfig,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoConfig,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3NextConfig,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from genclspp.trees import blockwise, generation
from genclspp.trees.forward import read_plain, read_tree
from genclspp.trees.generation import write, write_plain
from genclspp.trees.support import read, supports
from genclspp.trees.tree import grow, path

VOCABULARY = 90
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 3,
}
GROUPED = {**SMALL, "num_key_value_heads": 2}
HEADS = {**GROUPED, "head_dim": 8}
WIDE = {key: value for key, value in SMALL.items() if key != "intermediate_size"}
GPT2 = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}
ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
READERS = {
    "qwen2": Qwen2Config(**GROUPED),
    "qwen2, sliding": Qwen2Config(**GROUPED, use_sliding_window=True, sliding_window=5, max_window_layers=1),
    "qwen3": Qwen3Config(**HEADS),
    "llama": LlamaConfig(**GROUPED),
    "mistral": MistralConfig(**GROUPED, sliding_window=None),
    "mistral, sliding": MistralConfig(**GROUPED, sliding_window=5),
    "gemma2": Gemma2Config(**HEADS, sliding_window=5, final_logit_softcapping=5.0),
    "gemma3": Gemma3TextConfig(**HEADS, sliding_window=5, layer_types=["sliding_attention", "full_attention"]),
    "phi": PhiConfig(**SMALL),
    "phi3, sliding": Phi3Config(**GROUPED, sliding_window=5),
    "granite": GraniteConfig(**GROUPED, logits_scaling=3.0),
    "cohere": CohereConfig(**GROUPED, logit_scale=0.3),
    "gpt2": GPT2Config(**GPT2, **ENDS),
    "opt": OPTConfig(**WIDE, ffn_dim=64, word_embed_proj_dim=16),
    "gpt_neox": GPTNeoXConfig(**SMALL),
    "bert": BertConfig(**SMALL, is_decoder=True),
}
OTHERS = {
    "qwen3_next": Qwen3NextConfig(
        **HEADS,
        layer_types=["linear_attention", "full_attention"],
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
    ),
    "gpt_neo, local": GPTNeoConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=5,
        **ENDS,
    ),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that the small trees of these tests have many."""
    monkeypatch.setattr(blockwise, "BLOCK", 5)


def build(config, **changes):
    torch.manual_seed(0)
    # from_config notes the attention implementation in the configuration
    return AutoModelForCausalLM.from_config(deepcopy(config), **changes).eval()


@pytest.fixture(scope="module")
def tree():
    """Two prompts with a shared beginning, some labels with a shared beginning under each."""
    rng = random.Random(0)
    stem, one, two, *labels = ([rng.randrange(4, VOCABULARY) for _ in range(n)] for n in (12, 3, 5, 1, 2, 3, 2))
    labels += [labels[1] + labels[0], labels[0] + labels[3]]
    return grow([stem, one, two, *labels, *labels], [-1, 0, 0, *[1] * len(labels), *[2] * len(labels)])


def separately(model, tree):
    """Log-probability of each node's token by one unpadded forward pass per sequence."""
    found = {}
    with torch.no_grad():
        for end in tree.ends:
            way = path(tree, end)
            logprobs = model(torch.tensor([[tree.tokens[node] for node in way]])).logits[0].log_softmax(-1)
            found |= {node: logprobs[k, tree.tokens[node]].item() for k, node in enumerate(way[1:])}
    return [found.get(node, 0.0) for node in range(len(tree.tokens))]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", READERS)
def test_tree_reading_equals_plain_reading(name, attention, tree):
    if name == "gemma2" and attention == "sdpa":
        pytest.skip("soft-capped attention has no sdpa")
    model = build(READERS[name], attn_implementation=attention)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert supports(model)
    wanted = [True] * len(tree.tokens)
    expected = separately(model, tree)
    assert max(expected[1:]) - min(expected) > 1  # the model has opinions
    with torch.no_grad():
        readings = [read_tree(model, tree, wanted, window) for window in (4, 10, 1000)]
        readings.append(read_plain(model, tree, wanted, budget=64))
    for said in readings:
        assert said.logprobs == pytest.approx(expected, abs=1e-4)
        assert said.peaks == pytest.approx(readings[0].peaks, abs=1e-4)
    assert readings[0].tokens == len(tree.tokens) < readings[-1].tokens


@pytest.mark.parametrize("name", [name for name in READERS if name != "gemma2"])
def test_models_hand_the_mask_on_to_attention_in_blocks(name, tree, monkeypatch):
    calls = []
    right = blockwise.attend
    monkeypatch.setattr(blockwise, "attend", lambda *given, **rest: calls.append(1) or right(*given, **rest))
    model = build(READERS[name], attn_implementation="sdpa")
    with torch.no_grad():
        read_tree(model, tree, [True] * len(tree.tokens))
    assert len(calls) == model.config.num_hidden_layers


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen2", "mistral, sliding", "gemma3"])
def test_flex_attention_reads_trees_too(name, tree):
    """Compiled for every shape that is met, a minute in all on a processor."""
    model = build(READERS[name], attn_implementation="flex_attention")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*cannot read token trees.*")
        assert supports(model)
    wanted = [True] * len(tree.tokens)
    with torch.no_grad():
        expected = read_tree(build(READERS[name]), tree, wanted).logprobs
        assert read_tree(model, tree, wanted).logprobs == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", READERS)
def test_tree_writing_equals_generate(name, monkeypatch):
    model = build(READERS[name], attn_implementation="eager" if name == "gemma2" else "sdpa")
    rng = random.Random(1)
    stem = [rng.randrange(4, VOCABULARY) for _ in range(9)]
    rows = [stem + [rng.randrange(4, VOCABULARY) for _ in range(rng.randint(0, 6))] for _ in range(12)]
    rows += [rows[0], rows[1] + rows[2]]
    expected = write_plain(model, rows, {2, 5}, 7)
    assert len({tuple(ids) for ids in expected}) > 2
    wrong = [[rng.choice(ids or [4]) for _ in range(4)] for ids in expected]
    monkeypatch.setattr(generation, "width", lambda model, calls=1: 16)
    for drafts in ([], expected, wrong, [*expected, *wrong], [[*ids, 2] for ids in expected[::3]]):
        assert write(model, rows, {2, 5}, 7, drafts) == expected


def test_drafts_that_come_true_save_calls():
    model = build(READERS["qwen2"])
    calls = []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    rows = [[9, 8, 7, 6]]
    free = write_plain(model, rows, {2}, 8)
    write(model, rows, {2}, 8)
    calls.clear()
    assert [write(model, rows, {2}, 8), len(calls)] == [free, 8]
    calls.clear()
    assert [write(model, rows, {2}, 8, drafts=free), len(calls)] == [free, 2]


@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures_fall_back_and_say_so_once(name, tree):
    model = build(OTHERS[name])
    wanted = [True] * len(tree.tokens)
    with torch.no_grad():
        with pytest.warns(UserWarning, match="cannot read token trees .* falling back to plain sequences"):
            said = read(model, tree, wanted)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            again = read(model, tree, wanted)
    assert said.logprobs == pytest.approx(separately(model, tree), abs=1e-4)
    assert again == said


def test_an_attention_that_ignores_the_mask_is_found_out():
    def careless(module, query, key, value, attention_mask, **rest):
        return sdpa_attention_forward(module, query, key, value, None, is_causal=query.shape[2] > 1, **rest)

    AttentionInterface.register("careless", careless)
    model = build(READERS["qwen2"], attn_implementation="careless")
    with pytest.warns(UserWarning, match="a log-probability differs"):
        assert not supports(model)


@pytest.mark.parametrize("name", ["qwen2", "gemma2", "bert"])
def test_low_precision_does_not_hide_the_difference(name):
    assert supports(build(READERS[name]).to(torch.bfloat16))
