#!/usr/bin/env python
"""Draft one sentence per label of a data set, as YAML for a person to review.

    python scripts/write_definitions.py dataset=local dataset.path=DIR --endpoint URL --model NAME --key-from VAR
    python scripts/write_definitions.py dataset=trec --local PATH_OR_ID > definitions.yaml

Words with "=" go to the configuration, as in run.py. The endpoint speaks the OpenAI protocol (/chat/completions).
Examples come from the training split only. Put the reviewed lines under `definitions:` of a dataset YAML, or
into definitions.json beside the files.
"""

import argparse
import json
import os
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from random import Random

from hydra.errors import HydraException

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from genclspp.cli import compose, errors, typed  # noqa: E402
from genclspp.data.load import load  # noqa: E402
from genclspp.settings import DatasetSettings  # noqa: E402
from genclspp.suggest import UserError  # noqa: E402
from genclspp.task import Task  # noqa: E402

ASK = {
    "en": "Task: {instruction}\nLabels: {labels}\n\nTexts labelled “{name}”:\n{same}\n\nTexts with other labels:\n"
    "{other}\n\nDefine “{name}” in one sentence of at most 25 words that tells it from the other labels. Quote "
    "no text. Answer with the sentence only.",
    "zh": "任务：{instruction}\n类别：{labels}\n\n“{name}”类的文本：\n{same}\n\n其他类别的文本：\n{other}\n\n"
    "请用一句话（不超过四十字）定义“{name}”，说明它与其他类别的区别。不要引用原文，只回答这句话。",
}


def question(task: Task, label: str, shots: int, seed: int) -> str:
    """The question for one label, with texts that have it and as many that do not."""
    random = Random(f"{seed}-{label}")
    same = [e for e in task.splits["train"] if e.label == label]
    other = [e for e in task.splits["train"] if e.label != label]
    drawn = [random.sample(pool, min(shots, len(pool))) for pool in (same, other)]
    return ASK[task.language].format(
        instruction=task.instruction,
        labels=", ".join(task.names.values()),
        name=task.names[label],
        same="\n".join(f"- {e.text[:300]}" for e in drawn[0]),
        other="\n".join(f"- {e.text[:300]} [{task.names[e.label]}]" for e in drawn[1]),
    )


def endpoint(url: str, model: str, key: str | None) -> Callable[[str], str]:
    """A function that asks a server. The key is sent in the header only, and never shown."""
    address = url.rstrip("/") + "/chat/completions"

    def ask(text: str) -> str:
        body = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0}
        request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
        if key:
            request.add_unredirected_header("Authorization", f"Bearer {key.strip()}")
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["choices"][0]["message"]["content"]
        except OSError as error:
            raise UserError(f"{address} did not answer: {error}") from None
        except (ValueError, LookupError, TypeError):  # drop its text: that of a malformed header holds the key
            raise UserError(f"{address} did not answer in the format of /chat/completions") from None

    return ask


def local(path: str) -> Callable[[str], str]:
    """A function that asks a transformers model on this machine."""
    from transformers import pipeline

    write = pipeline("text-generation", model=path)
    chat = write.tokenizer is not None and write.tokenizer.chat_template is not None

    def ask(text: str) -> str:
        prompt = [{"role": "user", "content": text}] if chat else text + "\n\n"
        return write(prompt, max_new_tokens=80, do_sample=False, return_full_text=False)[0]["generated_text"]

    return ask


def dataset(words: list[str]) -> DatasetSettings:
    """The data set settings that the words compose to, as in run.py."""
    import hydra
    from omegaconf import OmegaConf

    for word in words:
        if not word.lstrip("+").startswith("dataset"):
            raise UserError(f"{word!r} does not set the data set; expected dataset=… or dataset.<key>=…")
    compose.register()
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = hydra.compose("config", overrides=words)
    return typed.build(DatasetSettings, OmegaConf.to_container(config.dataset, resolve=True), "dataset")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="dataset…=…", help="the data set, as in run.py")
    parser.add_argument("--endpoint", help="URL, such as http://localhost:8000/v1")
    parser.add_argument("--model", help="name of the model at the endpoint")
    parser.add_argument("--key-from", metavar="VAR", help="environment variable that holds the endpoint's key")
    parser.add_argument("--local", metavar="PATH_OR_ID", help="a transformers model instead of an endpoint")
    parser.add_argument(
        "--shots", type=int, default=5, help="number of texts with the label, and as many without (default: 5)"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_intermixed_args()
    if bool(args.local) == bool(args.endpoint and args.model):
        parser.error("give either --endpoint and --model, or --local")
    if args.key_from and args.key_from not in os.environ:
        parser.error(f"--key-from: the environment variable {args.key_from} is not set")
    try:
        task = load(dataset(args.words))
        key = os.environ[args.key_from] if args.key_from else None
        ask = local(args.local) if args.local else endpoint(args.endpoint, args.model, key)
        print(f"# Drafted by {args.local or args.model}; review before use.\ndefinitions:")
        for label in task.labels:
            answer = " ".join(ask(question(task, label, args.shots, args.seed)).split())
            print(f"  {_quoted(label)}: {_quoted(answer)}", flush=True)
    except (ValueError, OSError, HydraException) as error:
        sys.exit(f"error: {errors.explain(error)}")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a YAML string


if __name__ == "__main__":
    main()
