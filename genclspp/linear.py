"""A linear model over TF-IDF: a cheap judge of how sure one can be of a label."""

from collections.abc import Sequence

from genclspp.task import Example


def out_of_fold_confidence(examples: Sequence[Example], folds: int, language: str, seed: int = 0) -> list[float]:
    """Probability of the best label for each example, by a model that was not trained on it.

    Logistic regression on word 1-2-grams (character 1-2-grams for Chinese), stratified folds; raises ValueError
    where a label has too few examples to be in every fold's training part.
    """
    from collections import Counter

    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    labels = [example.label for example in examples]
    rarest, count = min(Counter(labels).items(), key=lambda pair: (pair[1], pair[0]))
    if count < 2:
        raise ValueError(f"out-of-fold scoring needs two examples of each label; {rarest!r} has {count}")
    words = TfidfVectorizer(analyzer="char" if language == "zh" else "word", ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=10.0, max_iter=1000))
    parts = StratifiedKFold(min(folds, count), shuffle=True, random_state=seed)
    texts = [example.text for example in examples]
    table = cross_val_predict(model, texts, labels, cv=parts, method="predict_proba")
    return [float(value) for value in table.max(axis=1)]
