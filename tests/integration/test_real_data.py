"""Published data sets, where they lie beside the repository."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from genclspp.data.load import load
from genclspp.selection import demonstrations
from genclspp.settings import DatasetSettings
from genclspp.task import SPLITS, normalise

DATA = Path(__file__).parents[2].parent / "shared" / "data"
NAMES = [path.parent.name for path in sorted(DATA.glob("*/train.jsonl"))]
pytestmark = pytest.mark.skipif(not NAMES, reason=f"no real data sets at {DATA}")


def load_real(name: str, **settings):
    test_from = None if (DATA / name / "test.jsonl").exists() else "validation"
    return load(DatasetSettings("local", path=str(DATA / name), test_from=test_from, **settings))


@pytest.mark.parametrize("name", NAMES)
def test_every_row_arrives(name):
    task = load_real(name)
    rows = sum(path.read_text(encoding="utf-8").count("\n") for path in (DATA / name).glob("*.jsonl"))
    assert sum(len(task.splits[split]) for split in SPLITS) == rows
    assert list(task.labels) == json.loads((DATA / name / "labels.json").read_text(encoding="utf-8"))
    for split in SPLITS:
        assert len(task.splits[split]) > 0


@pytest.mark.parametrize("name", NAMES)
def test_overlap_is_the_one_that_is_known(name):
    known = json.loads((DATA / name / "eval_overlap.json").read_text(encoding="utf-8"))
    kept, dropped = load_real(name), load_real(name, overlap="drop")
    assert dropped.splits["train"] == kept.splits["train"]
    for split, found in known.items():
        ours = split if (DATA / name / "test.jsonl").exists() else "test"
        left = {example.id for example in dropped.splits[ours]}
        gone = {example.id for example in kept.splits[ours] if example.id not in left}
        listed = {f"{split}-{row}" for row in found["in_train"]}
        assert gone <= listed
        # The list takes all texts without letters and digits ("‘‘", ".") for the same one; we do not.
        texts = {example.id: example.text for example in kept.splits[ours]}
        assert not any(char.isalnum() for id in listed - gone for char in texts[id])
        says = re.search(rf"(\d+) {ours} texts? also in train \(dropped\)", dropped.notes[0])
        assert int(says[1] if says else 0) == len(gone)


@pytest.mark.parametrize("name", [name for name in NAMES if name in ("trec6", "banking77", "iflytek_few")])
def test_a_small_sample_keeps_every_class(name):
    task = load_real(name, train_size=200, readable=True)
    assert len(task.splits["train"]) == 200
    assert set(Counter(e.label for e in task.splits["train"])) == set(load_real(name).labels)


# Linear SVM on TF-IDF, as the README of the data gives it: a sign that texts and labels still belong together.
@pytest.mark.parametrize(
    ("name", "analyzer", "accuracy"),
    [("trec6", "word", 0.894), ("banking77", "word", 0.893), ("thucnews_title_10k", "char", 0.871)],
)
def test_linear_svm_reaches_its_known_accuracy(name, analyzer, accuracy):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    if name not in NAMES:
        pytest.skip(f"no {name} at {DATA}")
    splits = load_real(name).splits
    train = [*splits["train"], *splits["validation"]]
    model = make_pipeline(TfidfVectorizer(analyzer=analyzer, ngram_range=(1, 2)), LinearSVC(C=0.5))
    model.fit([e.text for e in train], [e.label for e in train])
    score = model.score([e.text for e in splits["test"]], [e.label for e in splits["test"]])
    assert score == pytest.approx(accuracy, abs=0.015)


@pytest.mark.parametrize(("name", "language"), [("trec6", "en"), ("thucnews_title_10k", "zh")])
def test_neighbours_are_useful_and_never_the_query(name, language):
    if name not in NAMES:
        pytest.skip(f"no {name} at {DATA}")
    task = load_real(name, test_size=500, language=language)
    queries = [*task.splits["test"], *task.splits["train"][:500]]
    found = demonstrations.find_nearest(task.splits["train"], queries, 3, "tfidf", language)
    for query in queries:
        texts = [normalise(e.text) for e in found[query.id]]
        assert len(set(texts)) == 3
        assert normalise(query.text) not in texts
        assert query.id not in {e.id for e in found[query.id]}
    right = sum(found[query.id][0].label == query.label for query in queries) / len(queries)
    assert right > 0.65  # chance is 0.17 and 0.1
