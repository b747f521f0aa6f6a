"""The stage of every baseline: it learns from the training examples, and scores the labels of others."""

import inspect
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from scipy.special import log_softmax

from genclspp import progress
from genclspp.baselines.method import Method, Problem
from genclspp.inference.score import SCORES
from genclspp.models.policy import Policy
from genclspp.progress import Silent, Watch
from genclspp.store.artifacts import stage
from genclspp.store.files import write_json
from genclspp.suggest import UserError, blame, is_ours
from genclspp.task import Example


@stage("classify", version=1)
def classify(
    method: Method,
    train: Sequence[Example],
    queries: Mapping[str, Sequence[Example]],
    labels: Sequence[str],
    language: str,
    seed: int,
    policy: Policy | None,
    watch: Watch,
    batch_size: int,
    out: Path,
) -> None:
    """Leave log-probabilities of all labels for the queries of each split, in a folder each, as `score` does.

    queries: split -> examples without their labels, of which neither scores nor keys may know anything
    policy:  for a method that reads a model, else None
    raises:  UserError where a method of the user's own fails, or returns other scores than (queries, labels)
    """
    everything = [query for of_split in queries.values() for query in of_split]
    problem = Problem(train, everything, labels, language, seed, policy, batch_size, watch)
    logprobs = iter(log_softmax(compute(method, problem), axis=1))
    for split, of_split in queries.items():
        rows = [
            {"logprobs": row.tolist(), "lengths": [1] * len(labels), "constrained": int(row.argmax())}
            for row in islice(logprobs, len(of_split))
        ]
        (out / split).mkdir(exist_ok=True)
        progress.write(out / split / SCORES, rows, len(everything), iter, Silent())
    write_json(out / "summary.json", {"queries": len(everything)})


def compute(method: Method, problem: Problem) -> np.ndarray:
    """The scores of a method, (queries, labels).

    Raises UserError where a method of the user's own raises an error, or returns anything else.
    """
    kind, wanted = type(method), (len(problem.queries), len(problem.labels))
    try:
        scores = np.asarray(method.scores(problem), dtype=float)
    except Exception as error:
        if is_ours(method) or isinstance(error, UserError):
            raise
        raise UserError(f"the method {kind.__name__} raised {blame(error, inspect.getfile(kind))}") from error
    if scores.shape != wanted:
        raise UserError(f"the method {kind.__name__} returned scores of shape {scores.shape}; expected {wanted}")
    if not np.isfinite(scores).all():
        raise UserError(f"the method {kind.__name__} returned NaN or infinite scores; expected finite ones")
    return scores
