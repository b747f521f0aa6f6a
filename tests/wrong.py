"""Commands and files as new users get them wrong: tests/integration/test_wrong_commands.py, docs/errors.md."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Wrong:
    """A command that cannot be run.

    typed: what is typed after `python run.py`; PATH stands for a folder with `files`
    what:  what is wrong with the files, in words; empty where the command alone is wrong
    files: name -> content
    """

    typed: str
    what: str = ""
    files: Mapping[str, str | bytes] = field(default_factory=dict)


def _rows(count: int, separator: str = ",") -> str:
    names = ("positive", "negative")
    return "".join(f"film {k} is quite {names[k % 2]}{separator}{names[k % 2]}\n" for k in range(count))


CSV = "text,label\n" + _rows(40)
FOLDER = "dataset=local dataset.path=PATH"
FILE = f"{FOLDER}/reviews.csv dataset.test_from=train"
LINES = f"{FOLDER}/reviews.jsonl dataset.test_from=train"
ROW = json.dumps({"text": "a film", "label": "positive"}) + "\n"

DATA = (
    Wrong(f"{FOLDER}/reviews.xlsx", "an Excel sheet", {"reviews.xlsx": b"PK\x03\x04"}),
    Wrong(FILE, "a csv file with semicolons", {"reviews.csv": "text;label\n" + _rows(20, ";")}),
    Wrong(FOLDER, "a folder of txt files per label", {"pos/1.txt": "good", "neg/1.txt": "bad"}),
    Wrong(FILE, "other names of columns", {"reviews.csv": "review,sentiment\n" + _rows(20)}),
    Wrong(
        f"{FILE} dataset.text=Review dataset.label=sentiment",
        "a column with a small letter",
        {"reviews.csv": "review,sentiment\n" + _rows(20)},
    ),
    Wrong(FILE, "a csv file without a header", {"reviews.csv": _rows(20)}),
    Wrong(
        FOLDER,
        "a label in other letters in test",
        {"train.csv": CSV, "test.csv": "text,label\na show,Positive\nanother,negative\n"},
    ),
    Wrong(FOLDER, "an empty test file", {"train.csv": CSV, "test.csv": ""}),
    Wrong(
        FILE,
        "scores in place of labels",
        {"reviews.csv": "text,label\n" + "".join(f"film {k},{k * 0.37:.2f}\n" for k in range(40))},
    ),
    Wrong(LINES, "one label that is a fraction", {"reviews.jsonl": ROW * 3 + ROW.replace('"positive"', "4.5")}),
    Wrong(LINES, "Python's quotes in place of JSON's", {"reviews.jsonl": ROW.replace('"', "'") * 20}),
    Wrong(
        LINES.replace(".jsonl", ".json"),
        "one JSON object over several lines",
        {"reviews.json": json.dumps({"data": [json.loads(ROW)]}, indent=2)},
    ),
    Wrong(FILE.replace("reviews", "reveiws"), "a file reviews.csv", {"reviews.csv": CSV}),
    Wrong("dataset=local dataset.path=https://example.com/reviews.csv"),
    Wrong("dataset=PATH/reviews.csv", "a good csv file", {"reviews.csv": CSV}),
    Wrong("dataset=imbd"),
    Wrong(f"{FILE} dataset.language=german", "a good csv file", {"reviews.csv": CSV}),
    Wrong(f"{FOLDER}/reviews.csv", "a good csv file", {"reviews.csv": CSV}),
    Wrong(FILE, "a file saved as Windows-1252", {"reviews.csv": (CSV + "trés bien,positive\n").encode("cp1252")}),
    Wrong(f"{FILE} dataset.train_size=4", "a good csv file", {"reviews.csv": CSV}),
)

KEYS = tuple(
    Wrong(typed)
    for typed in (
        "lr=1e-4",
        "--epochs 3",
        "-seed 1",
        "seed=abc",
        "seed=0,1,2",
        "strategy=icl,numeric",
        "strategy=icl+numeric",
        "-m strategy=zero_shot icl",
        "decode = ppl",
        "sft.learning_rate=1e-4",
        "sft.args.lr=1e-4",
        "strategy=icl icl.shots=5",
        "strategy.shots=5",
        "'name=my run'",
        "threads=0",
        "precision=16",
        "reasoning=true",
        "dataset.train_size=50%",
        "rl.args.num_generations=1",
        "gpu=0",
    )
)

MODEL = "model=local model.path=PATH"
CONFIG = json.dumps({"model_type": "llama", "vocab_size": 100, "hidden_size": 8})
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 269060552\n"
OWN = "--config-dir=PATH/conf model=tiny"
STRATEGY = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Mine:
    def check(self, task): ...

    def requires(self):
        return {}

    def __call__(self, draft, example, task):
        print(draft)
"""


def _part(group: str, code: str, name: str = "mine", yaml: str = "mine:\n  _target_: mine.{}\n") -> dict[str, str]:
    """A part of a user's own: its file, and its YAML."""
    return {f"conf/{group}/mine.yaml": yaml.format(name), "mine.py": code}


PARTS = (
    Wrong("model=gpt-4"),
    Wrong("model=meta-llama/Llama-3.2-1B"),
    Wrong(f"{MODEL}/notes.csv", "a file that is no model", {"notes.csv": CSV}),
    Wrong(MODEL, "a model in pickles", {"config.json": CONFIG, "tokenizer.json": "{}", "pytorch_model.bin": b"x"}),
    Wrong(f"{MODEL}/model.gguf", "half a GGUF file", {"model.gguf": b"GGUF\x03\x00\x00\x00" + b"\x10" * 20}),
    Wrong(MODEL, "a folder with a GGUF file", {"model-q4.gguf": b"GGUF"}),
    Wrong(MODEL, "an adapter", {"adapter_config.json": "{}", "adapter_model.safetensors": b"x"}),
    Wrong(
        MODEL,
        "a clone without its large files",
        {"config.json": '{"model_type": "llama"}', "tokenizer.json": "{}", "model.safetensors": POINTER},
    ),
    Wrong(
        MODEL,
        "a size of layers that cannot be",
        {"config.json": CONFIG, "tokenizer.json": "{}", "model.safetensors": POINTER},
    ),
    Wrong("reward=[correct,correct]"),
    Wrong(
        f"{OWN} reward=mine",
        "a reward that returns strings",
        _part("reward", "def mine(completions, **_):\n    return ['good' for _ in completions]\n"),
    ),
    Wrong(
        f"{OWN} reward=mine",
        "a reward with other arguments",
        _part("reward", "def mine(completion, label):\n    return float(completion == label)\n"),
    ),
    Wrong(
        f"{OWN} reward=mine",
        "a reward with a typo",
        _part("reward", "def mine(completions, **_):\n    return [1.0 for _ in completion]\n"),
    ),
    Wrong(
        f"{OWN} rl=none metric=mine",
        "a metric that returns a string",
        _part("metric", "def mine(predictions, labels):\n    return f'{len(predictions)} examples'\n"),
    ),
    Wrong(
        f"{OWN} strategy=mine",
        "a YAML without _target_",
        _part("strategy", STRATEGY, yaml="mine:\n  target: mine.Mine\n"),
    ),
    Wrong(f"{OWN} strategy=mine", "a strategy that returns nothing", _part("strategy", STRATEGY, "Mine")),
    Wrong("strategy=fewshot"),
    Wrong("rl=dpo"),
    Wrong("sft=lora sft.lora.r=-1 model=tiny"),
    Wrong("decode=perplexity"),
)

GROUPS = {"Data": DATA, "Keys and values": KEYS, "Models, rewards and strategies": PARTS}
