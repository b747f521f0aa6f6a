"""A linear model over TF-IDF: a cheap judge of how sure one can be of a label."""

from collections import Counter
from collections.abc import Sequence

from genclspp.task import Example


def out_of_fold_margins(examples: Sequence[Example], folds: int, language: str, seed: int = 0) -> list[float]:
    """How far the best label is ahead of the second for each example, to a model that was not trained on it.

    A linear SVM on word 1-2-grams (character 1-2-grams for Chinese), stratified folds; raises ValueError where a
    label has too few examples to be in every fold's training part.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    labels = [example.label for example in examples]
    rarest, count = min(Counter(labels).items(), key=lambda pair: (pair[1], pair[0]))
    if count < 2:
        raise ValueError(f"out-of-fold scoring needs two examples of each label; {rarest!r} has {count}")
    # The default pattern drops words of one letter, and "I want" is not "want".
    units = {"analyzer": "char"} if language == "zh" else {"token_pattern": r"\w+"}
    words = TfidfVectorizer(**units, ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, LinearSVC(C=2.0, random_state=seed))
    parts = StratifiedKFold(min(folds, count), shuffle=True, random_state=seed)
    texts = [example.text for example in examples]
    scores = cross_val_predict(model, texts, labels, cv=parts, method="decision_function")
    if scores.ndim == 1:  # two labels: one signed distance
        return [abs(float(score)) for score in scores]
    scores.sort(axis=1)
    return [float(ahead) for ahead in scores[:, -1] - scores[:, -2]]
