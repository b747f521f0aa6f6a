"""The content of runs in Weights & Biases: ids, names, tags, configuration, tables."""

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from genclspp.inference.metrics import INVALID, Prediction, confusion
from genclspp.report.chart import Chart

TABLE_ROWS = 500  # at most, in the table of predictions
TEXT_LENGTH = 1000  # characters at most of a text in it


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings: keys are joined by dots, values under secret names are masked.

    >>> flatten({"sft": {"args": {"learning_rate": 0.1}}, "hub_token": "hf_abc"})
    {'sft.args.learning_rate': 0.1, 'hub_token': '***'}
    """
    found: dict[str, Any] = {}
    for name, value in config.items():
        path = f"{prefix}{name}"
        if value is not None and is_secret(path):
            found[path] = "***"
        elif isinstance(value, Mapping):
            found.update(flatten(value, f"{path}."))
        elif isinstance(value, list | tuple) and any(isinstance(part, Mapping) for part in value):
            found.update(flatten({str(place): part for place, part in enumerate(value)}, f"{path}."))
        elif isinstance(value, list | tuple):
            found[path] = [part if is_plain(part) else str(part) for part in value]
        else:
            found[path] = value if is_plain(value) else str(value)
    return found


def is_secret(path: str) -> bool:
    """Whether a dotted name looks like that of a secret; `pad_token` and the name of a label do not."""
    if {"definitions", "names"} & set(path.split(".")):
        return False  # the keys below are labels, such as "lost_key"
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", path).lower()
    snake = re.sub(r"\b(pad|eos|bos|unk|mask|sep|cls|image)_token\b", "", snake)
    words = set(re.split(r"[^a-z]+", snake))
    return bool(
        words
        & {"token", "key", "secret", "secrets", "password", "passwd", "passphrase", "credential", "credentials"}
        | words & {"apikey", "accesstoken", "authtoken", "bearer", "authorization"}
    )


def run_id(*parts: str) -> str:
    """A valid W&B run id, equal for equal parts only.

    >>> run_id("sft", "0a1b2c")
    'sft-0a1b2c'
    """
    name = "-".join(parts)
    if re.fullmatch(r"[a-z]+-[a-z0-9_]{1,50}", name):
        return name
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:43]
    return f"{readable}-{sha256(repr(parts).encode()).hexdigest()[:20]}"


def run_name(stage: str, key: str, choices: Mapping[str, str]) -> str:
    """The display name of a run; that of a training stage leaves out choices that only matter later."""
    learns = stage.startswith("mine") or stage in ("sft", "rl")
    shown = ("dataset", "model", "train") if learns else tuple(choices)
    values = [choices[name] for name in shown if choices.get(name, "none") != "none"]
    ending = [] if stage == "result" else [key[:6]]
    return " ".join([stage, *values, *ending])[:128]


def tags(choices: Mapping[str, str]) -> list[str]:
    """One tag per choice, such as "train:icl"; those over W&B's limit of 64 characters end in a hash."""
    found = [f"{name}:{value}" for name, value in choices.items() if value]
    return [tag if len(tag) <= 64 else f"{tag[:55]}~{sha256(tag.encode()).hexdigest()[:8]}" for tag in found]


def figure(chart: Chart) -> Any:
    """A chart as W&B shows it, with its title, which a page would write above it."""
    import wandb
    from plotly.graph_objects import Figure

    layout = {**chart.figure.get("layout", {}), "title": {"text": chart.title}}
    return wandb.Plotly(Figure(data=chart.figure["data"], layout=layout))


def confusion_plot(predictions: Sequence[Prediction], labels: Sequence[str]) -> Any:
    import wandb

    # `wandb.plot.confusion_matrix` writes all pairs of labels, too many for a table from 100 labels on.
    rows: list[Any] = [list(row) for row in confusion(predictions, labels)]
    fields = {"Actual": "Actual", "Predicted": "Predicted", "nPredictions": "nPredictions"}
    return wandb.plot_table(
        vega_spec_name="wandb/confusion_matrix/v1",
        data_table=wandb.Table(columns=[*fields], data=rows),
        fields=fields,
        string_fields={"title": "Confusion matrix"},
    )


def predictions_table(predictions: Sequence[Prediction]) -> Any:
    import wandb

    columns = ["id", "text", "gold", "predicted", "correct", "forced"]
    columns += ["gold_probability", "completion", "truncated"]
    rows: list[Any] = [
        [
            _text(p.id),
            _text(p.text),
            _text(p.gold),
            _text(INVALID if p.label is None else p.label),
            p.label == p.gold,
            _text(p.forced),
            float(p.probabilities[p.gold]),
            _text(p.completion),
            p.truncated,
        ]
        for p in predictions[:TABLE_ROWS]
    ]
    return wandb.Table(columns=[*columns], data=rows)


def _text(text: str) -> str:
    """`text` as valid UTF-8, shortened. Lone surrogates, which a model may write, are not valid UTF-8."""
    clean = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return clean if len(clean) <= TEXT_LENGTH else clean[:TEXT_LENGTH] + "…"


def is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | bool | int | float)
