"""Models and tokenizers: where they lie, whether they are whole and safe, how they are loaded and saved.

Weights are read from safetensors only. Prompts carry every special token as text, so the tokenizers opened here
add none of their own: what is trained on, generated from and scored are the same tokens, in every library.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genclspp import folders, thoughts
from genclspp.prompts import Budget, Frame
from genclspp.settings import ModelSettings
from genclspp.store import Artifact, Store
from genclspp.surfaces import parse

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

POLICY = "policy"  # the folder inside an artifact that holds trained weights
# Tokens of a thought: beyond the longest known; where none is known.
SPARE, UNKNOWN = 8, 128
BEYOND = 4  # tokens that may be written beyond the longest answer: text that is no answer must not look like one
SENTINEL = "\u2063content\u2063"
# Some chat templates write the date of today, and prompts would be others every day.
TODAY = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}"


@dataclass(frozen=True)
class Policy:
    """Weights to go on from: a base model in `folder`, and what a stage has trained on top of it."""

    settings: ModelSettings
    folder: Path
    digest: str
    trained: Artifact | None = None

    @property
    def key(self) -> str:
        """What the weights are, wherever they lie."""
        parts = [self.digest, self.trained.key if self.trained else ""]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def __hash__(self) -> int:
        return hash(self.key)

    def after(self, artifact: Artifact) -> "Policy":
        return replace(self, trained=artifact)


def resolve(settings: ModelSettings, store: Store) -> Policy:
    """Find the base model; raises FileNotFoundError or ValueError where it is missing, broken or unsafe."""
    if settings.config is not None:
        folders.check_kind(settings.config, "model.config")
        inputs = {"config": settings.config, "seed": settings.seed}
        folder = store.cached("base", make_random, inputs).path
    else:
        folder = folders.locate(settings)
    folders.check_overrides(folder, settings.overrides)
    return Policy(settings, folder, folders.identity(folder, settings))


def tokenizer(policy: Policy) -> "PreTrainedTokenizerBase":
    """The tokenizer of the base model: adds no special token, pads on the left."""
    return _tokenizer(replace(policy, trained=None))


@cache
def _tokenizer(policy: Policy) -> "PreTrainedTokenizerBase":
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    settings = policy.settings
    try:
        tokens = AutoTokenizer.from_pretrained(policy.folder, trust_remote_code=settings.trust_remote_code)
    except Exception as error:  # a broken file comes as a KeyError, a TypeError or a bare Exception
        raise ValueError(f"the tokenizer in {policy.folder} cannot be opened: {folders.reason(error)}") from error
    if not tokens.is_fast:
        raise ValueError(f"the model in {policy.folder} has no fast tokenizer (tokenizer.json), which is needed")
    tokens.backend_tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B")
    for name in ("bos", "eos"):
        token = getattr(settings, name)
        if token and token not in tokens.get_vocab():
            raise ValueError(f"model.{name}={token!r} is not in the vocabulary of the model in {policy.folder}")
    if settings.bos:
        tokens.bos_token = settings.bos
    if settings.eos:
        tokens.eos_token = settings.eos
    if tokens.eos_token is None:
        raise ValueError(f"the tokenizer in {policy.folder} has no end token; set model.eos")
    tokens.pad_token = tokens.pad_token or tokens.eos_token
    tokens.padding_side = "left"
    tokens.model_max_length = int(1e9)  # lengths are our business: see `budget`
    return tokens


def frame(policy: Policy) -> Frame:
    """What stands around every prompt: the chat template where there is one, else the start token."""
    tokens = tokenizer(policy)
    reserved = _special(tokens)
    if not (policy.settings.chat and tokens.chat_template):
        return Frame(before=str(tokens.bos_token or ""), reserved=reserved)
    turn = [{"role": "user", "content": SENTINEL}]
    template = f"{TODAY}{tokens.get_chat_template()}"
    given = {"chat_template": template, "add_generation_prompt": True, **policy.settings.chat_args}
    text = tokens.apply_chat_template(turn, tokenize=False, **given)
    before, found, after = str(text).partition(SENTINEL)
    if not found:
        raise ValueError(
            f"the chat template in {policy.folder} does not write the user's text; set model.chat=false"
        )
    return Frame(before, after, joint="", reserved=reserved)


def _special(tokens: "PreTrainedTokenizerBase") -> tuple[str, ...]:
    """All special tokens, longest first; those without a name (bos, eos, …) too, such as Llama's headers."""
    added = {token.content for token in tokens.added_tokens_decoder.values() if token.special}
    return tuple(sorted(added.union(map(str, tokens.all_special_tokens)), key=lambda token: (-len(token), token)))


def check_answers(policy: Policy, surfaces: Mapping[str, str], joint: str) -> None:
    """Raise ValueError where the tokenizer cannot write a label so that it reads back: unknown characters."""
    tokens = tokenizer(policy)
    for label, surface in surfaces.items():
        ids = tokens.encode(joint + surface, add_special_tokens=False)
        written = tokens.decode(ids, skip_special_tokens=True).strip()
        if parse(written, surfaces) != label:
            raise ValueError(
                f"the tokenizer in {policy.folder} cannot write the answer {surface!r}: it reads back as "
                f"{written!r}; take other dataset.names, strategy=numeric or another model"
            )


def longest_answer(policy: Policy, completions: Sequence[str]) -> int:
    """Tokens of the longest of `completions`, without an end token."""
    return max(map(len, tokenizer(policy)(list(completions), add_special_tokens=False)["input_ids"]))


def longest_completion(policy: Policy, completions: Sequence[str]) -> int:
    """Tokens that may be written where one of `completions` is wanted: with the end token and `BEYOND` others."""
    return longest_answer(policy, completions) + 1 + BEYOND


def budget(policy: Policy, completions: Sequence[str], thought_tokens: int = 0, answer_tokens: int = 0) -> Budget:
    """What the positions leave for a prompt, beside a thought and whatever may be written behind it.

    answer_tokens: how many those may be at least; the longest of `completions` always has its room, with the end
                   token and `BEYOND` others
    """
    tokens = tokenizer(policy)
    # The last token that is written is never read. Its position is one to spare, as the border may tokenise
    # differently when text and answer are joined.
    written = thought_tokens + max(longest_completion(policy, completions), answer_tokens)
    limit = max(max_length(policy) - written, 0)
    return Budget(lambda text: len(tokens.encode(text, add_special_tokens=False)), limit)


def thought_tokens(policy: Policy, rationales: Sequence[str], wanted: int | None) -> int:
    """How many tokens a thought may take, closing tag included: `wanted`, or what the rationales suggest."""
    tokens = tokenizer(policy)
    known = [rationale for rationale in rationales if rationale.strip()]
    closing, *taken = (
        len(ids)
        for ids in tokens([thoughts.closed(text) for text in ("", *known)], add_special_tokens=False)["input_ids"]
    )
    if wanted is None:
        return min(max(taken) + SPARE if taken else UNKNOWN, max_length(policy) // 2)
    if wanted <= closing:
        why = f"the closing tag takes {closing} of them"
        raise ValueError(f"reasoning.max_thought_tokens={wanted}; expected {closing + 1} or more: {why}")
    return wanted


def max_length(policy: Policy) -> int:
    """Positions that may be used: the model's own, or fewer by `model.max_length`."""
    config = folders.read_config(policy.folder)
    config = config.get("text_config", config)
    own = config.get("max_position_embeddings") or config.get("n_positions")
    wanted = policy.settings.max_length
    if own and wanted and wanted > own:
        raise ValueError(f"model.max_length={wanted} exceeds the {own} positions of the model in {policy.folder}")
    return wanted or own or 2048


def load(policy: Policy, *, train: bool = False) -> "PreTrainedModel":
    """The model with everything trained so far. With `train`, an adapter comes back trainable.

    New parameters (a fresh prediction head) are drawn from `model.seed`.
    """
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig, set_seed

    settings = policy.settings
    trained = policy.trained.path / POLICY if policy.trained else None
    adapter = trained if trained and (trained / "adapter_config.json").exists() else None
    set_seed(settings.seed)
    extra: dict[str, Any] = {**settings.overrides}
    if settings.as_decoder:
        extra["is_decoder"] = True
    folder = policy.folder if adapter or trained is None else trained
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, settings.dtype),
            attn_implementation=settings.attention,
            use_safetensors=True,
            trust_remote_code=settings.trust_remote_code,
            **extra,
        )
    except (RuntimeError, ValueError, ImportError) as error:  # shapes, attention, a package that is missing
        raise ValueError(f"the model in {folder} cannot be loaded: {folders.reason(error)}") from error
    straighten_head(model)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter), is_trainable=train)
    tokens = tokenizer(policy)
    special = {name: getattr(tokens, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    for name, value in special.items():
        setattr(model.config, name, value)
    # What hub models bring along (a repetition penalty, sampling) would make greedy something else.
    model.generation_config = GenerationConfig(**special)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).train(train)


def disable_dropout(model: Any) -> None:
    """Switch off all dropout of a model: in its modules, and where attention keeps a rate as a mere number."""
    import torch

    for module in model.modules():
        for name, value in list(vars(module).items()):
            is_rate = "drop" in name or (name == "p" and isinstance(module, torch.nn.Dropout))
            if is_rate and isinstance(value, float):
                setattr(module, name, 0.0)


def straighten_head(model: Any) -> None:
    """Let the backbone end where the output embeddings begin, as in most language models.

    BERT's head transforms the hidden states before it multiplies them with the output embeddings. TRL multiplies
    the backbone's states with the embeddings itself (its fused head), and would leave that transformation out. So
    it moves, in the computation and not in the weights, to the end of the backbone. Other models stay as they are.
    """
    transform = getattr(getattr(getattr(model, "cls", None), "predictions", None), "transform", None)
    if transform is None:
        return
    carry_out = transform.forward
    transform.forward = lambda hidden: hidden

    def finish(backbone: Any, inputs: Any, output: Any) -> Any:
        output["last_hidden_state"] = carry_out(output["last_hidden_state"])
        return output

    model.base_model.register_forward_hook(finish)


def save(model: Any, policy: Policy, out: Path) -> None:
    """Leave a folder in hub format (or an adapter) with its tokenizer, as safetensors."""
    # TRL adds a second adapter, "ref", for the reference.
    chosen = {"selected_adapters": ["default"]} if hasattr(model, "peft_config") else {}
    model.save_pretrained(out / POLICY, **chosen)
    tokenizer(policy).save_pretrained(out / POLICY)


def make_random(config: Mapping[str, Any], seed: int, out: Path) -> None:
    """A model of random weights, and a byte-level tokenizer learned from the built-in tickets."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    from genclspp.tickets import generate

    special = ["<|end|>", "<|start|>", "<|pad|>"]
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config["vocab_size"],
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words.train_from_iterator((example.text for example in generate({"train": 1000}, seed=0)["train"]), trainer)
    tokens = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token=special[0], bos_token=special[1], pad_token=special[2]
    )
    tokens.save_pretrained(out)
    torch.manual_seed(seed)
    made = AutoConfig.for_model(**config)
    made.eos_token_id, made.bos_token_id, made.pad_token_id = range(3)
    AutoModelForCausalLM.from_config(made).save_pretrained(out)
