"""A linear model over TF-IDF features: the cheap scorer of mining, and a baseline."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from genclspp.task import Example


def fit(examples: Sequence[Example], language: str, C: float = 2.0, seed: int = 0) -> Any:
    """A linear SVM on word 1-2-grams (character 1-2-grams for Chinese): a pipeline of scikit-learn.

    C: the inverse of the regularisation's strength
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    # The default pattern drops one-letter words, and "I want" is not "want".
    units = {"analyzer": "char"} if language == "zh" else {"token_pattern": r"\w+"}
    words = TfidfVectorizer(**units, ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, LinearSVC(C=C, random_state=seed))
    return model.fit([example.text for example in examples], [example.label for example in examples])


def decide(model: Any, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Decision scores of a model that `fit` made, (texts, labels)."""
    found = model.decision_function(texts)
    if found.ndim == 1:  # with two labels, scikit-learn gives one signed distance
        found = np.stack([-found, found], axis=1)
    return in_order(found, model.classes_, labels)


def in_order(found: np.ndarray, seen: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Scores of all labels, (texts, labels), from those of the labels that a model has seen.

    found: (texts, seen labels); a label that was not seen gets the lowest of the text's scores
    """
    scores = np.repeat(found.min(axis=1, keepdims=True), len(labels), axis=1)
    scores[:, [list(labels).index(label) for label in seen]] = found
    return scores


def out_of_fold_scores(
    examples: Sequence[Example],
    labels: Sequence[str],
    folds: Sequence[Sequence[int]],
    language: str,
    seed: int = 0,
) -> np.ndarray:
    """Decision scores of each label for each example, by a model trained on the other folds.

    folds:   positions of the examples; each is in one fold
    returns: (examples, labels)
    """
    scores = np.empty((len(examples), len(labels)))
    for fold in folds:
        held_out = set(fold)
        rest = [example for position, example in enumerate(examples) if position not in held_out]
        model = fit(rest, language, seed=seed)
        scores[fold] = decide(model, [examples[position].text for position in fold], labels)
    return scores
