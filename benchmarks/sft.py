"""Fine-tuning: token trees against TRL's `SFTTrainer` and a plain PyTorch loop, on equal terms.

python benchmarks/sft.py --data ../shared/data --json sft.json
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import measure as bench
import torch
from datasets import Dataset, disable_progress_bars
from trl import SFTConfig, SFTTrainer

from genclspp.models import tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.models.precision import autocast
from genclspp.training import sft
from genclspp.training.sft_trainer import IGNORED, TreeSFTTrainer
from genclspp.training.trainer import build_arguments
from genclspp.trees.forward import pad

CASES = {
    "banking77, label list": ["strategy=zero_shot", "banking77"],
    "trec6, zero-shot": ["strategy=zero_shot", "trec6"],
    "trec6, three nearest demonstrations": ["strategy=icl_similar", "trec6"],
}
RATE = 5e-5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with banking77 and trec6")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--set", nargs="*", default=[], help="more of the command line, such as model.path=DIR")
    parser.add_argument("--precision", default="auto", help="of all")
    parser.add_argument("--steps", type=int, default=6, help="steps per turn")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=list(CASES), help="one case")
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    disable_progress_bars()
    with tempfile.TemporaryDirectory() as outputs:
        names = [args.only] if args.only else list(CASES)
        bench.report([compare(name, outputs, args) for name in names], args.json)


def compare(case: str, outputs: str, args: argparse.Namespace) -> dict:
    strategy, name = CASES[case]
    words = bench.words(args, outputs)
    words += [f"dataset.path={args.data}/{name}", strategy]
    policy, side = bench.prompts(words, "train", args.batch * args.steps)
    rows = [sft.tokenise(policy, side.joint, item.text, item.written) for item in side.items]
    contenders = {
        "trl": lambda _: prepare(SFTTrainer, policy, rows, args),
        "plain": lambda _: prepare_plain(policy, rows, args),
        "ours": lambda _: prepare(TreeSFTTrainer, policy, rows, args),
    }
    runs = bench.take_turns(contenders, args.turns)
    theirs, ours = (runs[name]["results"][-1] for name in ("trl", "ours"))
    row = bench.summary(
        f"{case}, {args.model}, {policy.settings.precision}", runs, "trl", "ours", steps=args.steps
    )
    plain = bench.summary(case, runs, "plain", "ours")
    return row | {
        "plain_seconds": plain["peer_seconds"],
        "times_plain": round(1 / plain["ratio"], 2),
        "last_loss_difference": f"{abs(ours[-1] / theirs[-1] - 1):.1e}",
        "tokens_per_example": round(sum(len(row["input_ids"]) for row in rows) / len(rows), 1),
    }


def prepare(kind: type[SFTTrainer], policy: Policy, rows: list[dict], args: argparse.Namespace) -> Callable:
    """Work that trains and returns the loss of each step."""
    given = {
        "max_steps": args.steps,
        "per_device_train_batch_size": args.batch,
        "learning_rate": RATE,
        "max_length": None,
        "logging_steps": 1,
        "gradient_checkpointing": False,
    }
    folder = Path(tempfile.mkdtemp())
    settings = build_arguments(SFTConfig, given, "sft.args", 0, folder, policy.settings.precision)
    settings.completion_only_loss = True
    tokenizer, data = tokenizers.tokenizer(policy), Dataset.from_list(rows)
    trainer = kind(weights.load(policy, train=True), settings, train_dataset=data, processing_class=tokenizer)

    def work() -> list[float]:
        trainer.train()
        return [row["loss"] for row in trainer.state.log_history if "loss" in row]

    return work


def prepare_plain(policy: Policy, rows: list[dict], args: argparse.Namespace) -> Callable:
    """The shortest loop: padded batches, logits where a token of the completion is predicted, AdamW."""
    model = weights.load(policy, train=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)

    def work() -> list[float]:
        losses = []
        for start in range(0, len(rows), args.batch):
            batch = rows[start : start + args.batch]
            ids, mask = pad([row["input_ids"] for row in batch], model.device)
            learned, _ = pad([row["completion_mask"] for row in batch], model.device)
            labels = torch.where(learned.bool(), ids, IGNORED)[:, 1:]
            keep = labels != IGNORED
            with autocast(model, policy.settings.precision):
                states = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
                logits = model.lm_head(states[:, :-1][keep])
            loss = torch.nn.functional.cross_entropy(logits.float(), labels[keep])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        return losses

    return work


if __name__ == "__main__":
    main()
