"""Greedy decoding: token trees against `model.generate`, on the same prompts and model, trained and untrained.

pip install "genclspp[offline]"
python benchmarks/greedy.py --data ../shared/data --json greedy.json
"""

import argparse
import tempfile

import measure as bench
import torch
from datasets import Dataset
from trl import SFTConfig

from genclspp.training.sft_trainer import TreeSFTTrainer
from genclspp.trees.generation import write_plain
from genclspp.trees.scoring import generate

MODELS = {"minilm": bench.load_minilm, "qwen2-shaped": bench.random_qwen}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with the data set")
    parser.add_argument("--name", default="banking77", help="the data set")
    parser.add_argument("--model", choices=list(MODELS), default="minilm")
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--steps", type=int, default=150, help="training steps of the trained model")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = bench.load_tokenizer()
    model = MODELS[args.model](tokenizer)
    rows = [compare("untrained", model, tokenizer, args)]
    train(model, tokenizer, args)
    rows.append(compare("trained", model, tokenizer, args))
    bench.report(rows, args.json)


def compare(case: str, model, tokenizer, args: argparse.Namespace) -> dict:
    labels, rows = read_data(args, "test")
    prompts = [bench.prompt(labels, row["text"]) for row in rows[: args.prompts]]
    answers = [f" {label}" for label in labels]
    longest = 1 + max(len(ids) for ids in tokenizer(answers, add_special_tokens=False)["input_ids"])

    def peer() -> list[str]:
        rows = tokenizer(prompts, add_special_tokens=False)["input_ids"]
        written = write_plain(model, rows, {tokenizer.eos_token_id}, longest)
        return [tokenizer.decode(ids, skip_special_tokens=True) for ids in written]

    def ours() -> list[str]:
        written = generate(model, tokenizer, prompts, answers, max_new_tokens=longest)
        return [tokenizer.decode(ids, skip_special_tokens=True) for ids in written]

    runs = bench.take_turns({"generate": lambda _: peer, "ours": lambda _: ours}, args.turns)
    theirs, mine = (runs[name]["results"][-1] for name in ("generate", "ours"))
    equal = sum(a == b for a, b in zip(theirs, mine, strict=True)) / len(prompts)
    known = sum(text.strip() in {tokenizer.decode(ids) for ids in encode(tokenizer, labels)} for text in theirs)
    right = {
        row["text"]: tokenizer.decode(ids)
        for row, ids in zip(rows, encode(tokenizer, [row["label"] for row in rows]), strict=True)
    }
    accuracy = sum(text == right[row["text"]] for text, row in zip(theirs, rows, strict=False)) / len(prompts)
    return bench.summary(
        f"{args.name}, {args.model}, {case}",
        runs,
        "generate",
        "ours",
        identical=f"{equal:.1%}",
        prompts=len(prompts),
        written_labels=f"{known / len(prompts):.1%}",
        accuracy=f"{accuracy:.1%}",
    )


def read_data(args: argparse.Namespace, split: str) -> tuple[list[str], list[dict]]:
    """For minilm with readable names, so that the list of labels fits its 512 positions."""
    labels, rows = bench.read_data(args.data, args.name, split)
    if args.model != "minilm":
        return labels, rows
    return [bench.readable(label) for label in labels], [{**r, "label": bench.readable(r["label"])} for r in rows]


def encode(tokenizer, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False)["input_ids"]


def train(model, tokenizer, args: argparse.Namespace) -> None:
    labels, rows = read_data(args, "train")
    prompts = encode(tokenizer, [bench.prompt(labels, row["text"]) for row in rows])
    answers = [[*ids, tokenizer.eos_token_id] for ids in encode(tokenizer, [f" {row['label']}" for row in rows])]
    data = Dataset.from_list(
        [
            {"input_ids": prompt + answer, "completion_mask": [0] * len(prompt) + [1] * len(answer)}
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(
            folder,
            max_steps=args.steps,
            per_device_train_batch_size=32,
            learning_rate=2e-4 if args.model == "minilm" else 1e-3,
            max_length=None,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
        )
        TreeSFTTrainer(model, settings, train_dataset=data, processing_class=tokenizer).train()
    model.eval()


if __name__ == "__main__":
    main()
