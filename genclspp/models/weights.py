"""Load and save the weights of a policy, as safetensors only."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genclspp.models import folders
from genclspp.models.policy import POLICY, Policy
from genclspp.models.tokenizers import tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load(
    policy: Policy, *, train: bool = False, lora: Mapping[str, Any] | None = None, seed: int = 0
) -> "PreTrainedModel":
    """The model of a policy, on the GPU if there is one.

    train: whether it comes in training mode, with a trainable adapter if it has one
    lora:  `peft.LoraConfig` of the adapter that a policy without one gets, initialised with `seed`

    Parameters that the folder lacks, such as the prediction head of an encoder, are initialised with `model.seed`.

    raises: ValueError if transformers cannot load the model, or PEFT rejects `lora`
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
    folder = policy.folder if adapter or trained is None else trained  # an adapter comes on top of the base model
    learns_all = train and adapter is None and lora is None
    dtype = torch.float32 if learns_all or settings.precision != "bfloat16" else torch.bfloat16
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=settings.attention,
            use_safetensors=True,
            trust_remote_code=settings.trust_remote_code,
            **extra,
        )
    except (RuntimeError, ValueError, ImportError) as error:  # shapes, attention, a missing package
        raise ValueError(f"the model in {folder} cannot be loaded: {folders.reason(error)}") from error
    # Libraries write this path into what they save (adapter_config.json), but artifacts hold no paths.
    model.name_or_path = model.config._name_or_path = ""
    move_head_transform(model)
    if adapter:
        from peft import PeftModel

        # Trained adapters are held in float32 over weights in bfloat16, others as the weights below them.
        how = {"is_trainable": train, "autocast_adapter_dtype": train}
        model = PeftModel.from_pretrained(model, str(adapter), **how)
    elif lora is not None:
        from peft import get_peft_model

        set_seed(seed)
        model = get_peft_model(model, lora_config(lora))
    tokens = tokenizer(policy)
    special = {name: getattr(tokens, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    for name, value in special.items():
        setattr(model.config, name, value)
    # The generation configs of hub models (repetition penalty, sampling) would change greedy decoding.
    model.generation_config = GenerationConfig(**special)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).train(train)


def lora_config(lora: Mapping[str, Any]) -> Any:
    """`peft.LoraConfig` of a causal language model; raises ValueError if PEFT rejects the settings."""
    from peft import LoraConfig

    try:
        return LoraConfig(task_type="CAUSAL_LM", **lora)
    except (TypeError, ValueError) as error:
        raise ValueError(f"peft.LoraConfig rejects sft.lora: {' '.join(str(error).split())}") from error


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
