"""Model folders: find or download them, check that they are complete and safe, and identify their contents."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genclspp import hub
from genclspp.models import gguf
from genclspp.models.policy import Policy
from genclspp.models.precision import fastest
from genclspp.settings import ModelSettings
from genclspp.store.artifacts import Step, Store, stage
from genclspp.store.keys import digest
from genclspp.suggest import UserError, hint

READ = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")


def resolve(settings: ModelSettings, store: Store) -> Policy:
    """Find the base model, or make one with random weights if `model.config` is set; settle its precision.

    raises: UserError if the model is missing, broken or unsafe
    """
    made = _make(settings, store)
    if made:
        store.carry_out(made)
    folder = made.artifact.path if made else locate(settings)
    check_overrides(folder, settings.overrides)
    settings = replace(settings, precision=settings.precision or fastest())
    # The files of a converted GGUF name the version of transformers that wrote them; its key does not.
    contents = str(made.artifact.key) if made and made.stage.name == "convert" else _file_digests(folder)
    short = hashlib.sha256(contents.encode()).hexdigest()[:12]
    return Policy(settings, folder, identity(contents, settings), f"{_source(settings, made)} {short}")


def _make(settings: ModelSettings, store: Store) -> Step | None:
    """What makes the model's folder: from random weights, or from a GGUF file; None if it is there already."""
    if settings.config is not None:
        check_model_type(settings.config, "model.config")
        return store.step(partial(make_random, config=settings.config, seed=settings.seed))
    pieces = gguf.find(settings)
    if not pieces:
        return None
    return store.step(partial(gguf.convert, file=gguf.open_file(pieces, settings.sha256)))


def _source(settings: ModelSettings, made: Step | None) -> str:
    """Where the weights come from: random ones, a package with its GGUF file, a folder or a hub id."""
    if settings.config is not None:
        return f"random {settings.config['model_type']}"
    if settings.package and find_spec(settings.package):
        return settings.gguf[0] if made else settings.package
    name = settings.path if not Path(settings.path).exists() else Path(settings.path).name
    return "/".join([name, *settings.gguf[:1]])


def locate(settings: ModelSettings) -> Path:
    """The model's folder: in an installed package, on disk, or downloaded from the hub; checked, see `resolve`."""
    if settings.package:
        spec = find_spec(settings.package)
        if spec and spec.submodule_search_locations:
            return _check_folder(Path(spec.submodule_search_locations[0]) / "model", settings)
    if not settings.path:
        raise UserError("model.path is empty; expected a folder in hub format or a hub id")
    local = Path(settings.path).expanduser()
    if local.is_dir():
        return _check_folder(local, settings)
    # A hub id is "name" or "owner/name"; anything else was meant as a path.
    if local.is_absolute() or settings.path.startswith((".", "~")) or settings.path.count("/") > 1:
        found = f"{settings.path!r} is not a folder" if local.exists() else f"{settings.path!r} does not exist"
        raise UserError(f"model.path={found}; expected a folder in hub format, or a GGUF file")
    return _check_folder(_download(settings), settings)


def _download(settings: ModelSettings) -> Path:
    from huggingface_hub import snapshot_download

    is_out_of_reach = hub.is_out_of_reach()
    try:
        return Path(
            snapshot_download(settings.path, revision=settings.revision, allow_patterns=list(READ), max_workers=4)
        )
    except (OSError, ValueError, RuntimeError) as error:  # no network, no such id, no such revision
        package = f"; {gguf.install(settings.package)} installs it as a package" if settings.package else ""
        said = str(error).strip().splitlines()[0].rstrip(".")
        reason = "the hub cannot be reached" if is_out_of_reach else said
        raise UserError(
            f"model.path={settings.path!r} is not a folder, and cannot be downloaded from the hub: "
            f"{reason}{package}"
        ) from error


def _check_folder(folder: Path, settings: ModelSettings) -> Path:
    """Return `folder` if it holds a complete model in hub format, with code of its own only if that is trusted."""
    if not (folder / "config.json").exists():
        raise UserError(f"the model folder {folder} has no config.json; {_instead_of_model(folder)}")
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        found = f"only {pickled[0]}, a pickle, which can run code when it is loaded" if pickled else "no weights"
        raise UserError(f"the model folder {folder} holds {found}; expected *.safetensors")
    if not (folder / "tokenizer.json").exists():
        raise UserError(f"the model folder {folder} has no tokenizer.json; expected a fast tokenizer")
    config = read_config(folder)
    if not settings.trust_remote_code:
        if "auto_map" in config:
            raise UserError(
                f"the model in {folder} has code of its own; review it, then set model.trust_remote_code=true"
            )
        check_model_type(config, str(folder / "config.json"))
        _check_config(config, folder / "config.json")
    _check_weights(folder)
    return folder


def _instead_of_model(folder: Path) -> str:
    """What to do about a folder that is not in hub format."""
    files = sorted(folder.glob("*.gguf"))
    if files:
        return f"for a GGUF file there, type model.gguf=[{files[0].name}]"
    if (folder / "adapter_config.json").exists():
        return "it is an adapter; expected a whole model in hub format, with the adapter merged into it"
    return "expected a folder in hub format"


def read_config(folder: Path) -> dict[str, Any]:
    """The content of `config.json`; raises UserError if it is not a JSON object."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} holds {config!r}; expected a JSON object")
    return config


def check_model_type(config: Mapping[str, Any], where: str) -> None:
    """Raise UserError if transformers does not know the `model_type` of a configuration."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    kind = config.get("model_type")
    if kind is None:
        raise UserError(f"{where} has no model_type; expected one, such as 'llama'")
    if kind not in CONFIG_MAPPING_NAMES:
        raise UserError(f"{where} has the unknown model_type {kind!r}; {hint(kind, CONFIG_MAPPING_NAMES)}")


def _check_config(config: Mapping[str, Any], path: Path) -> None:
    """Raise UserError for values that transformers rejects; else the tokenizer, which reads them, is blamed."""
    from transformers import AutoConfig

    try:
        AutoConfig.for_model(**config)
    except Exception as error:  # of the type that its validation library has
        told = reason(error).rpartition("Error: ")[2].rstrip(".")
        raise UserError(f"{path} is not a valid configuration: {told}") from None


def check_overrides(folder: Path, overrides: Mapping[str, Any]) -> None:
    """Raise UserError for an override that is no entry of the configuration of the model in `folder`."""
    if not overrides:
        return
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    config = read_config(folder)
    # config.json may leave out entries that have their default.
    if config.get("model_type") in CONFIG_MAPPING_NAMES:
        config = {**AutoConfig.for_model(config["model_type"]).to_dict(), **config}
    for name in overrides:
        if name not in config:
            where = folder / "config.json"
            raise UserError(f"model.overrides.{name} is not an entry of {where}; {hint(name, config)}")


def _check_weights(folder: Path) -> None:
    """Refuse truncated or missing weights before a sweep starts; reads only the headers."""
    from safetensors import SafetensorError, safe_open

    index = folder / "model.safetensors.index.json"
    parts = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else set()
    for path in sorted({*folder.glob("*.safetensors"), *(folder / part for part in parts)}):
        try:
            with safe_open(path, "np"):
                pass
        except (SafetensorError, OSError) as error:
            if path.is_file() and path.read_bytes().startswith(b"version https://git-lfs"):
                raise UserError(f"{path} is a pointer of Git LFS; expected the weights (git lfs pull)") from None
            raise UserError(f"{path} is not a complete safetensors file: {error}") from None


def reason(error: Exception) -> str:
    """The message of an error on one line, with the type of the error if that says more."""
    text = " ".join(str(error).split())
    return text if isinstance(error, RuntimeError | ValueError) else f"{type(error).__name__}: {text}"


@cache
def _file_digests(folder: Path) -> str:
    """Name and digest of each file that loading the model may read."""
    # The store's manifest of a random model holds its date and commit, which do not affect what it computes.
    found = [path for pattern in READ for path in sorted(folder.glob(pattern)) if path.name != "manifest.json"]
    return "\n".join(f"{path.name} {_digest(path)}" for path in found)


def _digest(path: Path) -> str:
    target = path.resolve()  # the hub's cache links to blobs that are named by their SHA-256
    return target.name if target.parent.name == "blobs" and len(target.name) == 64 else digest(path)


def identity(contents: str, settings: ModelSettings) -> str:
    """Hash of all that affects what the model computes; the folder's path and the attention kernel do not.

    contents: what stands for its files
    """
    shape: list[Any] = [settings.as_decoder, settings.bos, settings.eos, settings.precision, settings.seed]
    if settings.overrides:
        shape.append(dict(settings.overrides))
    return hashlib.sha256(f"{contents}\n{json.dumps(shape)}".encode()).hexdigest()[:16]


@stage("base", version=1)
def make_random(config: Mapping[str, Any], seed: int, out: Path) -> None:
    """Leave a model with random weights in `out`, with a byte-level tokenizer trained on the built-in tickets."""
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
