"""Label scoring: token trees against lm-evaluation-harness, on the same prompts, labels and model.

pip install "genclspp[bench,offline]"
python benchmarks/scoring.py --data ../shared/data --json scoring.json
python benchmarks/scoring.py --data ../shared/data --grow growth.png --json growth.json
"""

import argparse
import statistics
from functools import partial

import measure as bench
import torch

from genclspp.trees.scoring import score

CASES = {
    "banking77, qwen2-shaped": ("banking77", bench.random_qwen, False),
    "banking77, minilm": ("banking77", bench.load_minilm, True),
    "trec6, qwen2-shaped": ("trec6", bench.random_qwen, False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with banking77, trec6 and clinc150")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--turns", type=int, default=4, help="the prompts are dealt out to them")
    parser.add_argument("--batch", type=int, default=16, help="batch size of the peer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=list(CASES), help="one case")
    parser.add_argument(
        "--grow", metavar="PNG", help="measure growth with labels and prompt length instead; plot it"
    )
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.grow:
        bench.report(growth(args.data, args.turns, args.grow), args.json)
    else:
        names = [args.only] if args.only else list(CASES)
        bench.report([compare(name, args) for name in names], args.json)


def compare(case: str, args: argparse.Namespace) -> dict:
    name, load, readable = CASES[case]
    tokenizer = bench.load_tokenizer()
    model = load(tokenizer)
    labels, rows = bench.read_data(args.data, name, "test")
    if readable:
        labels = [bench.readable(label) for label in labels]
    prompts = [bench.prompt(labels, row["text"]) for row in rows[: args.prompts]]
    answers = [f" {label}" for label in labels]
    peer = harness(model, tokenizer, answers, args.batch)
    contenders = {
        "peer": lambda turn: partial(peer, prompts[turn :: args.turns]),
        "ours": lambda turn: partial(score, model, tokenizer, prompts[turn :: args.turns], answers),
    }
    runs = bench.take_turns(contenders, args.turns)
    theirs = torch.cat(runs["peer"]["results"])
    ours = torch.cat([found.logprobs for found in runs["ours"]["results"]])
    tokens = sum(found.tokens for found in runs["ours"]["results"])
    body, head = bench.parameters(model)
    # The head is needed wherever a label token is predicted; nearly all nodes but the prompts' are such places.
    floor = 2 * tokens / args.turns * (body + head) / bench.matrix_rate(model.config.hidden_size)
    return bench.summary(
        case,
        runs,
        "peer",
        "ours",
        largest_difference=f"{(theirs - ours).abs().max().item():.1e}",
        same_winner=f"{(theirs.argmax(1) == ours.argmax(1)).float().mean().item():.1%}",
        prompts=len(prompts),
        labels=len(labels),
        prompt_tokens=max(len(ids) for ids in tokenizer(prompts, add_special_tokens=False)["input_ids"]),
        tokens_read=tokens,
        floor_seconds=round(floor, 3),
    )


def harness(model, tokenizer, answers: list[str], batch: int):
    """`loglikelihood` of lm-evaluation-harness for every prompt and answer with its end token."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    peer = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", device="cpu", batch_size=batch)

    def run(prompts: list[str]) -> torch.Tensor:
        requests = [
            Instance("loglikelihood", {}, (prompt, answer + tokenizer.eos_token), k)
            for k, (prompt, answer) in enumerate((prompt, answer) for prompt in prompts for answer in answers)
        ]
        found = peer.loglikelihood(requests, disable_tqdm=True)
        return torch.tensor([logprob for logprob, _ in found]).view(len(prompts), len(answers))

    return run


def growth(data: str, turns: int, plot: str) -> list[dict]:
    """Seconds per prompt over the number of labels, and over the length of prompts that share nothing."""
    tokenizer = bench.load_tokenizer()
    model = bench.random_qwen(tokenizer)
    labels, rows = bench.read_data(data, "clinc150", "test")
    answers = [f" {bench.readable(label)}" for label in labels]
    texts = [row["text"] for row in rows]
    words = " ".join(texts).split()
    table = []
    for count in (2, 5, 10, 20, 50, 100, 150):
        prompts = [bench.prompt(["one of many"], text) for text in texts[:16]]
        table.append(point("labels", count, model, tokenizer, prompts, answers[:count], turns))
    for length in (50, 100, 200, 500, 1000, 2000):
        prompts = [f"[CLS] {' '.join(words[k * 1600 : k * 1600 + length])}" for k in range(4)]
        prompts = [
            tokenizer.decode(ids[:length]) for ids in tokenizer(prompts, add_special_tokens=False)["input_ids"]
        ]
        table.append(point("prompt tokens", length, model, tokenizer, prompts, answers[:20], turns))
    draw(table, plot)
    return table


def point(axis: str, value: int, model, tokenizer, prompts, answers, turns: int) -> dict:
    work = partial(score, model, tokenizer, prompts, answers)
    run = bench.take_turns({"ours": lambda _: work}, turns)["ours"]
    return {
        "axis": axis,
        "value": value,
        "labels": len(answers),
        "milliseconds_per_prompt": round(1000 * statistics.median(run["seconds"]) / len(prompts), 2),
        "cpu_milliseconds_per_prompt": round(1000 * statistics.median(run["cpu"]) / len(prompts), 2),
        "tokens_per_prompt": round(run["results"][0].tokens / len(prompts), 1),
    }


def draw(table: list[dict], file: str) -> None:
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.4), sharey=False)
    for panel, axis in zip(panels, ("labels", "prompt tokens"), strict=True):
        rows = [row for row in table if row["axis"] == axis]
        x, y = [row["value"] for row in rows], [row["cpu_milliseconds_per_prompt"] for row in rows]
        panel.loglog(x, y, "o-", label="measured")
        panel.loglog(x, [y[0] * value / x[0] for value in x], ":", color="grey", label="proportional")
        panel.set(xlabel=axis, ylabel="processor ms per prompt")
        panel.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
