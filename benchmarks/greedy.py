"""Greedy decoding: token trees against `model.generate`, on the same prompts, model and precision.

python benchmarks/greedy.py --data ../shared/data --json greedy.json
"""

import argparse
import tempfile

import measure as bench
import torch

from genclspp.models import tokenizers, weights
from genclspp.prompts.draft import BEYOND
from genclspp.prompts.surfaces import parse
from genclspp.trees.generation import write_plain
from genclspp.trees.scoring import encode, generate

CASES = {"banking77": "strategy=zero_shot", "trec6": "strategy=icl_similar"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with banking77 and trec6")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--set", nargs="*", default=[], help="more of the command line, such as model.path=DIR")
    parser.add_argument("--precision", default="float32", help="of both")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=list(CASES), help="one case")
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as outputs:
        names = [args.only] if args.only else list(CASES)
        bench.report([compare(name, outputs, args) for name in names], args.json)


def compare(name: str, outputs: str, args: argparse.Namespace) -> dict:
    words = bench.words(args, outputs)
    policy, side = bench.prompts([*words, f"dataset.path={args.data}/{name}", CASES[name]], "test", args.prompts)
    tokenizer, model = tokenizers.tokenizer(policy), weights.load(policy)
    texts, completions, room = [item.text for item in side.items], side.completions(), side.answer_tokens + BEYOND
    generate(model, tokenizer, texts[:1], completions, max_new_tokens=1)  # checks the model, once per process

    def peer() -> list[list[int]]:
        return write_plain(model, encode(tokenizer, texts), {tokenizer.eos_token_id}, room)

    def ours() -> list[list[int]]:
        return generate(model, tokenizer, texts, completions, max_new_tokens=room)

    runs = bench.take_turns({"generate": lambda _: peer, "ours": lambda _: ours}, args.turns)
    theirs, mine = (runs[name]["results"][-1] for name in ("generate", "ours"))
    equal = sum(a == b for a, b in zip(theirs, mine, strict=True)) / len(texts)
    answered = [parse(tokenizer.decode(ids, skip_special_tokens=True), side.surfaces) for ids in mine]
    return bench.summary(
        f"{name}, {args.model}, {policy.settings.precision}",
        runs,
        "generate",
        "ours",
        identical=f"{equal:.1%}",
        prompts=len(texts),
        valid=f"{sum(label is not None for label in answered) / len(texts):.1%}",
    )


if __name__ == "__main__":
    main()
