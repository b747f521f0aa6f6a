"""Model folders: where they lie, whether they are whole and safe, what tells them apart."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genclspp.models.policy import Policy
from genclspp.settings import ModelSettings
from genclspp.store.artifacts import Store, stage
from genclspp.store.keys import digest
from genclspp.suggest import hint

READ = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")


def resolve(settings: ModelSettings, store: Store) -> Policy:
    """Find the base model; raises FileNotFoundError or ValueError where it is missing, broken or unsafe."""
    if settings.config is not None:
        check_kind(settings.config, "model.config")
        made = store.step(partial(make_random, config=settings.config, seed=settings.seed))
        store.carry_out(made)
        folder = made.artifact.path
    else:
        folder = locate(settings)
    check_overrides(folder, settings.overrides)
    return Policy(settings, folder, identity(folder, settings))


def locate(settings: ModelSettings) -> Path:
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
    config = read_config(folder)
    if not settings.trust_remote_code:
        if "auto_map" in config:
            raise ValueError(
                f"the model in {folder} brings code of its own; read it, then set model.trust_remote_code=true"
            )
        check_kind(config, str(folder / "config.json"))
    _check_weights(folder)
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds {config!r}; expected a JSON object")
    return config


def check_kind(config: Mapping[str, Any], where: str) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    kind = config.get("model_type")
    if kind not in CONFIG_MAPPING_NAMES:
        raise ValueError(f"{where} has the unknown model_type {kind!r}; {hint(kind, CONFIG_MAPPING_NAMES)}")


def check_overrides(folder: Path, overrides: Mapping[str, Any]) -> None:
    """Raise ValueError where the model in `folder` has no such entry in its configuration."""
    if not overrides:
        return
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    config = read_config(folder)
    if config.get("model_type") in CONFIG_MAPPING_NAMES:
        config = {**AutoConfig.for_model(config["model_type"]).to_dict(), **config}
    for name in overrides:
        if name not in config:
            where = folder / "config.json"
            raise ValueError(f"model.overrides.{name} is no entry of {where}; {hint(name, config)}")


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


def reason(error: Exception) -> str:
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


def identity(folder: Path, settings: ModelSettings) -> str:
    """Of all that decides what the model computes; not of where it lies or how attention is carried out."""
    shape: list[Any] = [settings.as_decoder, settings.bos, settings.eos, settings.dtype, settings.seed]
    if settings.overrides:
        shape.append(dict(settings.overrides))
    return hashlib.sha256(f"{_files(folder)}\n{json.dumps(shape)}".encode()).hexdigest()[:16]


@stage("base", version=1)
def make_random(config: Mapping[str, Any], seed: int, out: Path) -> None:
    """A model of random weights, and a byte-level tokenizer learned from the built-in tickets."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    from genclspp.data.tickets import generate

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
