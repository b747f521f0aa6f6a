"""A linear model over TF-IDF features: the cheap scorer of mining."""

from collections.abc import Sequence

import numpy as np

from genclspp.task import Example


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

    A linear SVM on word 1-2-grams (character 1-2-grams for Chinese). A label that is missing from the other folds
    gets the lowest of the example's scores.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    # The default pattern drops one-letter words, and "I want" is not "want".
    units = {"analyzer": "char"} if language == "zh" else {"token_pattern": r"\w+"}
    scores = np.empty((len(examples), len(labels)))
    for fold in folds:
        held_out = set(fold)
        rest = [example for position, example in enumerate(examples) if position not in held_out]
        words = TfidfVectorizer(**units, ngram_range=(1, 2), sublinear_tf=True)
        model = make_pipeline(words, LinearSVC(C=2.0, random_state=seed))
        model.fit([example.text for example in rest], [example.label for example in rest])
        found = model.decision_function([examples[position].text for position in fold])
        if found.ndim == 1:  # with two labels, scikit-learn gives one signed distance
            found = np.stack([-found, found], axis=1)
        # Fill all columns, then overwrite those of the labels that the model was trained on.
        scores[fold] = found.min(axis=1, keepdims=True)
        scores[np.ix_(fold, [list(labels).index(label) for label in model.classes_])] = found
    return scores
