"""Weights: how a policy is loaded and saved, as safetensors only."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genclspp.models import folders
from genclspp.models.policy import POLICY, Policy
from genclspp.models.tokenizers import tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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
