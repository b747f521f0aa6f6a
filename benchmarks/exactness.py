"""Token trees against plain sequences on trained policies: does the engine stay on, and are its numbers the same?

python run.py -m …                                         trains the policies of one or several sweeps
python benchmarks/exactness.py SWEEP… --outputs outputs    tries them, on the prompts of their own test splits

Each policy is put to the self-check. Then the log-probabilities of all answers after some prompts are read from
trees and from plain sequences: in float64, where the largest difference is reported, and in float32, where the
winners are compared wherever the first answer leads the second by more than MARGIN.
"""

import argparse
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import measure as bench
import torch

from genclspp import pipeline
from genclspp.inference import score
from genclspp.models import tokenizers, weights
from genclspp.models.policy import Policy
from genclspp.prompts.draft import ModelInputs
from genclspp.report import records
from genclspp.runs.plan import Memory
from genclspp.trees import forward, support
from genclspp.trees.questions import build_tree, tokenise
from genclspp.trees.scoring import label_logprobs

MARGIN = 2e-3  # nats
GROUPS = ("dataset", "model", "layout", "precision", "decode", "sft", "rl", "reward", "reasoning", "seed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="+")
    parser.add_argument("--outputs", default="outputs")
    parser.add_argument("--exact", type=int, default=8, help="prompts to read in float64")
    parser.add_argument("--winners", type=int, default=0, help="prompts to read in float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.filterwarnings("error", message=".*cannot read token trees")
    rows, known = [], set()
    for record in records.read_sweeps(Path(args.outputs) / "results", args.sweeps):
        policy, inputs = trained(record, args.outputs)
        if policy.key not in known:
            known.add(policy.key)
            rows.append({"sweep": record["name"], **try_out(policy, inputs, args)})
    bench.report(rows, args.json)


def trained(record: dict[str, Any], outputs: str) -> tuple[Policy, ModelInputs]:
    """The policy behind a record, and what it read of the test split."""
    knobs = {name: value for name, value in record.items() if "." in name and "/" not in name}
    words = [f"{group}={record[group]}" for group in GROUPS if group != "dataset"]
    words.append(f"dataset={'local' if 'dataset.path' in knobs else record['dataset']}")
    for side in ("train", "infer"):
        words.append(f"strategy@{side}=[{','.join(record[side].split('+'))}]")
    cell = bench.make_cell([*words, *map("{0[0]}={0[1]}".format, knobs.items()), f"outputs={outputs}"])
    plan = pipeline.plan(cell, Memory())
    (step,) = [step for step in plan.steps if step.call.func is score.score and step.role == "score"]
    return step.call.keywords["policy"], step.call.keywords["inputs"]


def try_out(policy: Policy, inputs: ModelInputs, args: argparse.Namespace) -> dict[str, Any]:
    exact = replace(policy, settings=replace(policy.settings, precision="float32"))
    tokenizer, model = tokenizers.tokenizer(policy), weights.load(exact)
    answers = list(inputs.completions)
    row: dict[str, Any] = {"policy": policy.key, "stays_on": support.supports(weights.load(policy))}
    with support.in_float64(model), norms_in_float64(model), forward.evaluating(model):
        tree, _, paths = build_tree(
            tokenise(tokenizer, list(inputs.texts[: args.exact]), answers), tokenizer.eos_token_id
        )
        wanted = [False] * len(tree.tokens)
        for node in (node for row_ in paths for nodes in row_ for node in nodes):
            wanted[tree.parents[node]] = True
        ours, plain = (read(model, tree, wanted) for read in (forward.read_tree, forward.read_plain))
        apart = (abs(a - b) for a, b in zip(ours.logprobs, plain.logprobs, strict=True))
        row |= {"prompts": args.exact, "largest_difference_float64": f"{max(apart):.1e}"}
    if args.winners:
        texts = list(inputs.texts[: args.winners])
        ours = label_logprobs(model, tokenizer, texts, answers)
        support._supported[model] = False
        plain = label_logprobs(model, tokenizer, texts, answers)
        first, second = plain.topk(2, dim=1).values.T
        clear = first - second > MARGIN
        same = ours.argmax(1) == plain.argmax(1)
        row |= {
            "float32_prompts": len(texts),
            "clear": int(clear.sum()),
            "same_winner_where_clear": int((same & clear).sum()),
            "largest_difference_float32": f"{(ours - plain).abs().max().item():.1e}",
        }
    return row


@contextmanager
def norms_in_float64(model: Any) -> Iterator[None]:
    """RMS norms of transformers round to float32 in between, which makes 1e-7 of a difference of 1e-16."""
    norms = [module for module in model.modules() if type(module).__name__.endswith("RMSNorm")]
    for norm in norms:
        norm.forward = partial(rms_norm, norm)
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def rms_norm(norm: Any, states: torch.Tensor) -> torch.Tensor:
    return norm.weight * states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)


if __name__ == "__main__":
    main()
