"""Fine-tuning: token trees against TRL's `SFTTrainer`, its settings as documented; same model, data and batches.

pip install "genclspp[offline]"
python benchmarks/sft.py --data ../shared/data --json sft.json
"""

import argparse
import tempfile
from collections.abc import Callable

import measure as bench
import torch
from datasets import Dataset, disable_progress_bars
from trl import SFTConfig, SFTTrainer

from genclspp.training.sft_trainer import TreeSFTTrainer

CASES = ("banking77", "trec6")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with banking77 and trec6")
    parser.add_argument("--steps", type=int, default=50, help="steps per turn")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=CASES, help="one case")
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    disable_progress_bars()
    bench.report([compare(name, args) for name in ([args.only] if args.only else CASES)], args.json)


def compare(name: str, args: argparse.Namespace) -> dict:
    """banking77: the labels are in the prompt. trec6: short prompts without them."""
    labels, rows = bench.read_data(args.data, name, "train")
    shown = labels if name == "banking77" else ["one word"]
    data = tokenise(shown, rows[: args.batch * args.steps])
    contenders = {
        "trl": lambda _: prepare(SFTTrainer, data, args),
        "ours": lambda _: prepare(TreeSFTTrainer, data, args),
    }
    runs = bench.take_turns(contenders, args.turns)
    (their_losses, theirs), (our_losses, ours) = (runs[name]["results"][-1] for name in ("trl", "ours"))
    row = bench.summary(name, runs, "trl", "ours", steps=args.steps)
    return row | {
        "our_examples_per_second": round(len(data) / row["our_seconds"], 1),
        "last_loss_difference": f"{abs(our_losses[-1] / their_losses[-1] - 1):.1e}",
        "first_gradient_difference": f"{((ours - theirs).norm() / theirs.norm()).item():.1e}",
        "tokens_per_example": round(sum(map(len, data["input_ids"])) / len(data), 1),
    }


def tokenise(labels: list[str], rows: list[dict]) -> Dataset:
    tokenizer = bench.load_tokenizer()
    prompts = tokenizer([bench.prompt(labels, row["text"]) for row in rows], add_special_tokens=False)["input_ids"]
    answers = tokenizer([f" {row['label']}[SEP]" for row in rows], add_special_tokens=False)["input_ids"]
    pairs = list(zip(prompts, answers, strict=True))
    return Dataset.from_dict(
        {
            "input_ids": [prompt + answer for prompt, answer in pairs],
            "completion_mask": [[0] * len(prompt) + [1] * len(answer) for prompt, answer in pairs],
        }
    )


def prepare(kind: type[SFTTrainer], data: Dataset, args: argparse.Namespace) -> Callable:
    """Work that trains and returns the losses and the gradient of the first step."""
    tokenizer = bench.load_tokenizer()
    settings = SFTConfig(
        tempfile.mkdtemp(),
        max_steps=args.steps,
        per_device_train_batch_size=args.batch,
        learning_rate=1e-3,
        completion_only_loss=True,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
    )
    trainer = kind(bench.random_qwen(tokenizer), settings, train_dataset=data, processing_class=tokenizer)
    kept = keep_first_gradient(trainer)

    def work() -> tuple[list[float], torch.Tensor]:
        trainer.train()
        return [row["loss"] for row in trainer.state.log_history if "loss" in row], kept[0]

    return work


def keep_first_gradient(trainer: SFTTrainer) -> list[torch.Tensor]:
    """A list that receives the gradient of the first step, before clipping."""
    kept: list[torch.Tensor] = []
    step = trainer.training_step

    def training_step(*inputs):
        loss = step(*inputs)
        if not kept:
            kept.append(torch.cat([weight.grad.flatten() for weight in trainer.model.parameters()]))
        return loss

    trainer.training_step = training_step
    return kept


if __name__ == "__main__":
    main()
