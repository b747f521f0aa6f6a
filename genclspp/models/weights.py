"""Load and save the weights of a policy, as safetensors only."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genclspp.models import determinism, folders
from genclspp.models.policy import POLICY, Policy
from genclspp.models.tokenizers import tokenizer
from genclspp.settings import ModelSettings
from genclspp.suggest import UserError, hint

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load(
    policy: Policy,
    *,
    train: bool = False,
    lora: Mapping[str, Any] | None = None,
    seed: int = 0,
    labels: Sequence[str] | None = None,
) -> "PreTrainedModel":
    """The model of a policy, on the GPU if there is one.

    train:  whether it comes in training mode, with a trainable adapter if it has one
    lora:   `peft.LoraConfig` of the adapter that a policy without one gets, initialised with `seed`
    labels: of a classifier; a base model gets a head for them, initialised with `seed`

    Other parameters that the folder lacks, such as the prediction head of an encoder, are initialised with
    `model.seed`.

    raises: UserError if transformers cannot load the model, or PEFT rejects `lora`
    """
    import torch
    from transformers import GenerationConfig, set_seed

    settings = policy.settings
    trained = policy.trained.path / POLICY if policy.trained else None
    adapter = trained if trained and (trained / "adapter_config.json").exists() else None
    set_seed(settings.seed if labels is None else seed)
    folder = policy.folder if adapter or trained is None else trained  # an adapter comes on top of the base model
    # Beside an adapter, a classifier's head is trained too, and PEFT copies it as it is.
    learns_all = (train and adapter is None and lora is None) or labels is not None
    dtype = torch.float32 if learns_all or settings.precision != "bfloat16" else torch.bfloat16
    model = _read(folder, settings, labels, dtype=dtype)
    # Libraries write this path into what they save (adapter_config.json), but artifacts hold no paths.
    model.name_or_path = model.config._name_or_path = ""
    move_head_transform(model)
    if adapter:
        from peft import PeftModel

        # Trained adapters are held in float32 over weights in bfloat16, others as the weights below them.
        how = {"is_trainable": train, "autocast_adapter_dtype": train}
        model = PeftModel.from_pretrained(model, str(adapter), **how)
    elif lora is not None:
        set_seed(seed)
        model = _attach(model, lora, labels)
    tokens = tokenizer(policy)
    special = {name: getattr(tokens, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    for name, value in special.items():
        setattr(model.config, name, value)
    # The generation configs of hub models (repetition penalty, sampling) would change greedy decoding.
    model.generation_config = GenerationConfig(**special)
    determinism.prepare()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).train(train)


def check(policy: Policy, lora: Mapping[str, Any] | None, labels: Sequence[str] | None = None) -> None:
    """Compare the base model's weights with its configuration, and attach the adapter; reads no weights.

    labels: of a classifier, see `load`
    raises: UserError if the model cannot be loaded, its weights have other shapes or lack layers, or PEFT rejects
            `lora` for this model
    """
    from transformers import AutoConfig

    settings, folder = policy.settings, policy.folder
    if settings.as_decoder:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=settings.trust_remote_code)
        if not hasattr(config, "is_decoder"):
            raise UserError(f"model.as_decoder=true is for encoders; {folder} holds a {config.model_type} model")
    how = {"device_map": "meta", "ignore_mismatched_sizes": True, "output_loading_info": True}
    model, found = _read(folder, settings, labels, **how)
    for name, there, wanted in sorted(found["mismatched_keys"]):
        shapes = f"{' x '.join(map(str, there))}, not {' x '.join(map(str, wanted))}"
        raise UserError(f"the weights in {folder} do not fit its configuration: {name} is {shapes}")
    # What an encoder lacks as a decoder, or a language model as a classifier, is its head, which is initialised.
    inside = f"{model.base_model_prefix}." if labels is not None else ""
    missing = sorted(name for name in found["missing_keys"] if name.startswith(inside) and "pooler" not in name)
    if missing and not settings.as_decoder:
        raise UserError(
            f"the weights in {folder} do not fit its configuration: {len(missing)} of them are missing, "
            f"such as {missing[0]}"
        )
    if lora is not None:
        _attach(model, lora, labels)


def _read(folder: Path, settings: ModelSettings, labels: Sequence[str] | None, **how: Any) -> Any:
    """What transformers reads from a folder: a causal language model, or a classifier of `labels`.

    raises: UserError if it cannot
    """
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    extra: dict[str, Any] = {**settings.overrides}
    kind = AutoModelForCausalLM if labels is None else AutoModelForSequenceClassification
    if labels is not None:  # an encoder stays one
        extra |= {"num_labels": len(labels), "id2label": dict(enumerate(labels))}
        extra["label2id"] = {label: place for place, label in enumerate(labels)}
    elif settings.as_decoder:
        extra["is_decoder"] = True
    try:
        return kind.from_pretrained(
            folder,
            attn_implementation=settings.attention,
            use_safetensors=True,
            trust_remote_code=settings.trust_remote_code,
            **how,
            **extra,
        )
    except Exception as error:  # whatever its configuration leads to: shapes, attention, a missing package
        raise UserError(f"the model in {folder} cannot be loaded: {folders.reason(error)}") from error


def _attach(model: Any, lora: Mapping[str, Any], labels: Sequence[str] | None = None) -> Any:
    """The model with a new adapter; raises UserError if PEFT rejects it."""
    import torch
    from peft import get_peft_model

    targets = lora.get("target_modules")
    # PEFT ignores an entry that matches nothing if another one does.
    for name in targets if isinstance(targets, list | tuple) else ():
        if not any(f".{place}".endswith(f".{name}") for place, _ in model.named_modules()):
            layers = {place.rpartition(".")[2]: part for place, part in model.named_modules()}
            known = [place for place, part in layers.items() if isinstance(part, torch.nn.Linear)]
            raise UserError(f"sft.lora.target_modules names {name!r}, which the model lacks; {hint(name, known)}")
    try:
        return get_peft_model(model, lora_config(lora, "CAUSAL_LM" if labels is None else "SEQ_CLS"))
    except (TypeError, ValueError) as error:
        raise UserError(f"PEFT cannot attach sft.lora to the model: {folders.reason(error)}") from error


def lora_config(lora: Mapping[str, Any], task: Literal["CAUSAL_LM", "SEQ_CLS"] = "CAUSAL_LM") -> Any:
    """`peft.LoraConfig` of a language model or a classifier; raises UserError if PEFT rejects the settings."""
    from peft import LoraConfig

    for name in ("r", "lora_alpha"):  # PEFT looks at them late, or not at all
        value = lora.get(name, 1)
        if not isinstance(value, int if name == "r" else int | float) or value <= 0:
            raise UserError(f"sft.lora.{name}={value!r}; expected {'1 or more' if name == 'r' else 'more than 0'}")
    try:
        return LoraConfig(task_type=task, **lora)
    except (TypeError, ValueError) as error:
        raise UserError(f"peft.LoraConfig rejects sft.lora: {' '.join(str(error).split())}") from error


def disable_dropout(model: Any) -> None:
    """Set all dropout rates of a model to 0: those of dropout modules, and the plain floats inside attention."""
    import torch

    for module in model.modules():
        for name, value in list(vars(module).items()):
            is_rate = "drop" in name or (name == "p" and isinstance(module, torch.nn.Dropout))
            if is_rate and isinstance(value, float):
                setattr(module, name, 0.0)


def move_head_transform(model: Any) -> None:
    """Move the transform of a BERT-like head into the backbone; other models stay as they are.

    BERT's head transforms the hidden states before it multiplies them by the output embeddings. TRL's fused head
    multiplies the backbone's states by the embeddings itself and would skip that transform. So the backbone
    applies it, by a hook, and the head no longer does; the weights stay where they are. A contract test says when
    TRL supports such heads and this can go.
    """
    transform = getattr(getattr(getattr(model, "cls", None), "predictions", None), "transform", None)
    if transform is None:
        return
    apply = transform.forward
    transform.forward = lambda hidden: hidden

    def finish(backbone: Any, inputs: Any, output: Any) -> Any:
        output["last_hidden_state"] = apply(output["last_hidden_state"])
        return output

    model.base_model.register_forward_hook(finish)


def save(model: Any, policy: Policy, out: Path) -> None:
    """Save the model, or its adapter alone, with its tokenizer, in hub format in `out/policy`."""
    # TRL adds a second adapter, "ref", for the reference model.
    chosen = {"selected_adapters": ["default"]} if hasattr(model, "peft_config") else {}
    model.save_pretrained(out / POLICY, **chosen)
    tokenizer(policy).save_pretrained(out / POLICY)
