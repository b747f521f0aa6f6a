"""Label scoring: token trees against lm-evaluation-harness, on the same prompts, labels, model and precision.

`--peer plain` takes our own plain sequences instead, padded and in batches, which need no other package.

pip install -e ".[bench]"
python benchmarks/scoring.py --data ../shared/data --json scoring.json
python benchmarks/scoring.py --data ../shared/data --grow docs/scoring_growth.png --json growth.json
"""

import argparse
import statistics
import tempfile
from functools import partial
from unittest.mock import patch

import measure as bench
import torch

from genclspp.models import tokenizers, weights
from genclspp.trees import scoring
from genclspp.trees.forward import read_plain
from genclspp.trees.scoring import score

CASES = {"banking77": ["strategy=zero_shot"], "trec6": ["strategy=icl_similar"]}
LABELS = (2, 5, 10, 20, 50, 100, 150)
SHOTS = (1, 2, 4, 8, 16, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with banking77, trec6 and clinc150")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--set", nargs="*", default=[], help="more of the command line, such as model.path=DIR")
    parser.add_argument("--precision", default="auto", help="of both")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--turns", type=int, default=4, help="the prompts are dealt out to them")
    parser.add_argument("--peer", choices=["harness", "plain"], default="harness")
    parser.add_argument("--batch", type=int, default=16, help="batch size of the harness")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=list(CASES), help="one case")
    parser.add_argument("--grow", metavar="PNG", help="growth with labels and demonstrations instead, as a plot")
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as outputs:
        common = bench.words(args, outputs)
        if args.grow:
            bench.report(growth(common, args), args.json)
        else:
            names = [args.only] if args.only else list(CASES)
            bench.report([compare(name, common, args) for name in names], args.json)


def compare(name: str, common: list[str], args: argparse.Namespace) -> dict:
    words = [*common, *CASES[name], f"dataset.path={args.data}/{name}"]
    policy, side = bench.prompts(words, "test", args.prompts)
    tokenizer, model = tokenizers.tokenizer(policy), weights.load(policy)
    texts, answers = [item.text for item in side.items], side.completions()
    if args.peer == "harness":
        peer = harness(model, tokenizer, answers, args.batch)
    else:
        peer = partial(read_plainly, model, tokenizer, answers)
    contenders = {
        "peer": lambda turn: partial(peer, texts[turn :: args.turns]),
        "ours": lambda turn: partial(score, model, tokenizer, texts[turn :: args.turns], answers),
    }
    score(model, tokenizer, texts[:1], answers)  # checks the model, once per process
    runs = bench.take_turns(contenders, args.turns)
    theirs = torch.cat(runs["peer"]["results"])
    ours = torch.cat([found.logprobs for found in runs["ours"]["results"]])
    tokens = sum(found.tokens for found in runs["ours"]["results"])
    body, head = bench.parameters(model)
    # All parameters count for each token, as the head is needed wherever a token of a label is predicted.
    floor = 2 * tokens / args.turns * (body + head) / bench.matrix_rate(model)
    row = bench.summary(
        f"{name}, {args.model}, {policy.settings.precision}",
        runs,
        "peer",
        "ours",
        largest_difference=f"{(theirs - ours).abs().max().item():.1e}",
        same_winner=f"{(theirs.argmax(1) == ours.argmax(1)).float().mean().item():.1%}",
        prompts=len(texts),
        labels=len(answers),
        prompt_tokens=max(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]),
        tokens_read=tokens,
        floor_seconds=round(floor, 3),
    )
    return row | {"times_floor": round(row["our_seconds"] / floor, 2)}


def harness(model, tokenizer, answers: list[str], batch: int):
    """`loglikelihood` of lm-evaluation-harness for every prompt and answer with its end token."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    peer = HFLM(
        pretrained=model, tokenizer=tokenizer, backend="causal", device=str(model.device), batch_size=batch
    )

    def run(prompts: list[str]) -> torch.Tensor:
        requests = [
            Instance("loglikelihood", {}, (prompt, answer + tokenizer.eos_token), k)
            for k, (prompt, answer) in enumerate((prompt, answer) for prompt in prompts for answer in answers)
        ]
        found = peer.loglikelihood(requests, disable_tqdm=True)
        return torch.tensor([logprob for logprob, _ in found]).view(len(prompts), len(answers))

    return run


def read_plainly(model, tokenizer, answers: list[str], prompts: list[str]) -> torch.Tensor:
    with patch.object(scoring, "read", read_plain):
        return score(model, tokenizer, prompts, answers).logprobs


def growth(common: list[str], args: argparse.Namespace) -> list[dict]:
    """Milliseconds per prompt over the number of labels scored, and over the number of similar demonstrations."""
    table = []
    for axis, values in (("labels", LABELS), ("demonstrations", SHOTS)):
        for value in values:
            words = [*common, f"dataset.path={args.data}/{'clinc150' if axis == 'labels' else 'trec6'}"]
            if axis == "labels":
                words += ["dataset.list_labels=false"]
            else:
                words += ["strategy=icl_similar", f"strategy.icl_similar.shots={value}"]
            policy, side = bench.prompts(words, "test", 16)
            answers = side.completions()[:value] if axis == "labels" else side.completions()
            table.append(point(axis, value, policy, [item.text for item in side.items], answers, args.turns))
    draw(table, args.grow)
    return table


def point(axis: str, value: int, policy, texts: list[str], answers: list[str], turns: int) -> dict:
    model, tokenizer = weights.load(policy), tokenizers.tokenizer(policy)
    score(model, tokenizer, texts[:1], answers)
    run = bench.take_turns({"ours": lambda _: partial(score, model, tokenizer, texts, answers)}, turns)["ours"]
    return {
        "axis": axis,
        "value": value,
        "labels": len(answers),
        "milliseconds_per_prompt": round(1000 * statistics.median(run["seconds"]) / len(texts), 2),
        "tokens_read_per_prompt": round(run["results"][0].tokens / len(texts), 1),
    }


def draw(table: list[dict], file: str) -> None:
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.4), sharey=False)
    for panel, axis in zip(panels, ("labels", "demonstrations"), strict=True):
        rows = [row for row in table if row["axis"] == axis]
        x, y = [row["value"] for row in rows], [row["milliseconds_per_prompt"] for row in rows]
        panel.loglog(x, y, "o-", label="measured")
        panel.loglog(x, [y[0] * value / x[0] for value in x], ":", color="grey", label="proportional")
        panel.set(xlabel=axis, ylabel="ms per prompt")
        panel.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
