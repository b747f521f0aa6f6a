"""Models and tokenizers: where they lie, whether they are whole and safe, how they are loaded and saved.

Weights are read from safetensors only. Prompts carry every special token as text, so the tokenizers opened here
add none of their own: what is trained on, generated from and scored are the same tokens, in every library.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genclspp import thoughts
from genclspp.nearest import hint
from genclspp.prompts import Budget, Frame, parse
from genclspp.settings import ModelSettings
from genclspp.store import Artifact, Store, digest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

POLICY = "policy"  # the folder inside an artifact that holds trained weights
READ = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
# Tokens of a thought: beyond the longest known; where none is known.
SPARE, UNKNOWN = 8, 128
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
        _check_kind(settings.config, "model.config")
        inputs = {"config": settings.config, "seed": settings.seed}
        folder = store.cached("base", make_random, inputs).path
    else:
        folder = _locate(settings)
    return Policy(settings, folder, _identity(folder, settings))


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
        raise ValueError(f"the tokenizer in {policy.folder} cannot be opened: {_name(error)}") from error
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


def budget(policy: Policy, completions: Sequence[str], thought_tokens: int = 0) -> Budget:
    """What the positions leave for a prompt, beside a thought, the longest of `completions` and the end token."""
    tokens = tokenizer(policy)
    longest = max(len(ids) for ids in tokens(list(completions), add_special_tokens=False)["input_ids"])
    # One token to spare: the border may tokenise differently when text and answer are joined.
    limit = max(max_length(policy) - longest - 2 - thought_tokens, 0)
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
    config = _config(policy.folder)
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
    extra: dict[str, Any] = {"is_decoder": True} if settings.as_decoder else {}
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
        raise ValueError(f"the model in {folder} cannot be loaded: {_name(error)}") from error
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


def _locate(settings: ModelSettings) -> Path:
    if settings.package:
        spec = find_spec(settings.package)
        if spec and spec.submodule_search_locations:
            return _check(Path(spec.submodule_search_locations[0]) / "model", settings)
    if not settings.path:
        raise ValueError("model.path is empty; expected a folder in hub format or a hub id")
    local = Path(settings.path).expanduser()
    if local.is_dir():
        return _check(local, settings)
    if local.is_absolute() or settings.path.startswith((".", "~")) or settings.path.count("/") > 1:
        raise FileNotFoundError(f"model.path={settings.path!r} is not a folder")
    return _check(_download(settings), settings)


def _download(settings: ModelSettings) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(settings.path, revision=settings.revision, allow_patterns=list(READ), max_workers=4)
        )
    except (OSError, ValueError, RuntimeError) as error:  # no network, no such id, no such revision
        package = f" (or install the package {settings.package})" if settings.package else ""
        reason = str(error).strip().splitlines()[0]
        raise FileNotFoundError(
            f"model.path={settings.path!r} is no folder here and could not be had from the hub{package}: {reason}"
        ) from error


def _check(folder: Path, settings: ModelSettings) -> Path:
    if not (folder / "config.json").exists():
        raise FileNotFoundError(f"the model folder {folder} has no config.json; expected a folder in hub format")
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        found = f"only {pickled[0]}, a pickle, which can run code when it is read" if pickled else "no weights"
        raise FileNotFoundError(f"the model folder {folder} holds {found}; expected *.safetensors")
    if not (folder / "tokenizer.json").exists():
        raise FileNotFoundError(f"the model folder {folder} has no tokenizer.json (a fast tokenizer is needed)")
    config = _config(folder)
    if not settings.trust_remote_code:
        if "auto_map" in config:
            raise ValueError(
                f"the model in {folder} brings code of its own; read it, then set model.trust_remote_code=true"
            )
        _check_kind(config, str(folder / "config.json"))
    _check_weights(folder)
    return folder


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds {config!r}; expected a JSON object")
    return config


def _check_kind(config: Mapping[str, Any], where: str) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    kind = config.get("model_type")
    if kind not in CONFIG_MAPPING_NAMES:
        raise ValueError(f"{where} has the unknown model_type {kind!r}; {hint(kind, CONFIG_MAPPING_NAMES)}")


def _check_weights(folder: Path) -> None:
    """Refuse weights that are cut off or missing now, and not in the middle of a sweep; reads headers only."""
    from safetensors import SafetensorError, safe_open

    index = folder / "model.safetensors.index.json"
    parts = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else set()
    for path in sorted({*folder.glob("*.safetensors"), *(folder / part for part in parts)}):
        try:
            with safe_open(path, "np"):
                pass
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is not a whole safetensors file: {error}") from None


def _name(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, RuntimeError | ValueError) else f"{type(error).__name__}: {text}"


@cache
def _files(folder: Path) -> str:
    # A manifest of the store's tells when and from which commit a random model was made.
    found = [path for pattern in READ for path in sorted(folder.glob(pattern)) if path.name != "manifest.json"]
    return "\n".join(f"{path.name} {_digest(path)}" for path in found)


def _digest(path: Path) -> str:
    target = path.resolve()  # the hub's cache names its blobs by their SHA-256
    return target.name if target.parent.name == "blobs" and len(target.name) == 64 else digest(path)


def _identity(folder: Path, settings: ModelSettings) -> str:
    """Of all that decides what the model computes; not of where it lies or how attention is carried out."""
    shape = [settings.as_decoder, settings.bos, settings.eos, settings.dtype, settings.seed]
    return hashlib.sha256(f"{_files(folder)}\n{json.dumps(shape)}".encode()).hexdigest()[:16]
