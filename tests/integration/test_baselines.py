"""Baselines through the command line: records and tables beside those of the generative method."""

import json
from pathlib import Path

import numpy as np
import pytest

from genclspp.baselines import head
from genclspp.data import tickets
from genclspp.inference import predictions
from genclspp.models import folders
from genclspp.progress import Silent
from genclspp.report import records as reading
from genclspp.settings import ModelSettings, SftSettings
from genclspp.store.artifacts import Store
from tests.cli import Warm, artifacts, records, timeless
from tests.tiny import TINY

SMALL = ("tracking=none", "dataset.train_size=40", "dataset.validation_size=24", "dataset.test_size=24")
GENERATIVE = ("model=tiny", "rl=none", "sft=none", "decode=ppl")
HEAD = ("method=head", "model=tiny", "sft.args.max_steps=2", "rl=none")
WORDS = {"method", "model", "train", "infer", "layout", "precision", "decode", "sft", "rl", "reward", "reasoning"}


def test_cells_that_differ_in_words_of_other_methods_are_one(tmp_path: Path, warm: Warm):
    grid = ("-m", "method=generative,majority,svm", "strategy=zero_shot,icl", "strategy.icl.shots=2", "seed=0,1")
    words = (*grid, *SMALL, *GENERATIVE)
    done = warm.run(*words, outputs=tmp_path).require()
    found = reading.read(tmp_path / "results" / "dev")
    assert sorted(record["method"] for record in found) == ["generative", "generative", "majority", "svm"]
    for record in found:
        is_baseline = record["method"] != "generative"
        assert WORDS & record.keys() == ({"method"} if is_baseline else WORDS)
        assert ("strategy.icl.shots" in record) == (record.get("train") == "icl")
        assert not record["is_random"]
    # What a baseline does not have does not tell cells apart.
    assert reading.split_words(found)[0] == ["method", "strategy", "strategy.icl.shots"]
    assert "cell 4/4 method=svm\n" in done.out
    assert "model tiny" in done.out


def test_a_baseline_leaves_what_the_generative_method_leaves(tmp_path: Path, warm: Warm):
    off = ("rl=none", "sft=none", "reasoning=none")  # which is right of any method
    warm.run("-m", "method=majority,svm,knn", *off, *SMALL, outputs=tmp_path).require()
    by_method = {record["method"]: record for record in records(tmp_path)}
    majority, svm, knn = (by_method[name] for name in ("majority", "svm", "knn"))
    shared = {
        "accuracy",
        "invalid_rate",
        "nll",
        "ece",
        "validation/accuracy",
        "temperature/predict",
        "digest/test",
    }
    for record in (majority, svm, knn):
        assert shared <= record.keys()
        assert record["invalid_rate"] == 0
        assert record["accuracy"] == record["accuracy_forced"]
        for split, count in (("test", 24), ("validation", 12)):  # RL's checks would take the other 12
            folder = tmp_path / "artifacts" / "predict" / record["artifact/predict"]
            found, texts = predictions.read(folder, split), predictions.read_texts(folder, split)
            assert len(found) == len(texts.texts) == count
            assert np.allclose(found.probabilities.sum(axis=1), 1, atol=1e-6)
            assert np.array_equal(found.label, found.forced)
            assert np.array_equal(found.probabilities.argmax(axis=1), found.label)
            assert (texts.prompts, texts.thoughts) == ((), None)
    assert {majority["digest/test"]} == {svm["digest/test"], knn["digest/test"]}
    assert svm["accuracy"] > majority["accuracy"]


def test_neighbours_vote_as_the_demonstrations_of_the_same_shots(tmp_path: Path, warm: Warm):
    shots = ("strategy=icl_similar", "strategy.icl_similar.shots=1,4")
    words = ("-m", "method=generative,knn", "method.k=1,4", *shots, *GENERATIVE, *SMALL)
    warm.run(*words, outputs=tmp_path).require()
    found = {record.get("method.k", record.get("strategy.icl_similar.shots")): {} for record in records(tmp_path)}
    for record in records(tmp_path):
        found[record.get("method.k", record.get("strategy.icl_similar.shots"))][record["method"]] = record
    assert found.keys() == {1, 4}
    for of_shots in found.values():
        assert of_shots["knn"]["accuracy"] == of_shots["generative"]["demonstration_vote"]
        assert of_shots["knn"]["digest/test"] == of_shots["generative"]["digest/test"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Data of one's own."""
    splits = tickets.generate({"train": 40, "validation": 20, "test": 20}, seed=0)
    (tmp_path / "mine").mkdir()
    for split, examples in splits.items():
        rows = [{"text": example.text, "label": example.label} for example in examples]
        (tmp_path / "mine" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return tmp_path / "mine"


def test_gold_labels_of_test_examples_do_not_matter(folder: Path, tmp_path: Path, warm: Warm):
    words = ("-m", "method=majority,svm,knn,head", *HEAD[1:], "tracking=none")
    words = (*words, "dataset=local", f"dataset.path={folder}")
    warm.run(*words, "name=before", outputs=tmp_path).require()
    lines = (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) | {"label": tickets.LABELS[place % 8]} for place, line in enumerate(lines)]
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    done = warm.run(*words, "name=after", outputs=tmp_path).require()
    assert done.computed() == {"predict": 4}  # nothing else reads them
    for pair in zip(records(tmp_path, "before"), records(tmp_path, "after"), strict=True):
        before, after = (
            predictions.read(tmp_path / "artifacts" / "predict" / record["artifact/predict"]) for record in pair
        )
        assert not np.array_equal(before.gold, after.gold)
        assert np.array_equal(before.label, after.label)
        assert np.array_equal(before.probabilities, after.probabilities)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, warm: Warm):
    for place in ("a", "b"):
        warm.run("-m", "method=svm,knn,head", *HEAD[1:], *SMALL, outputs=tmp_path / place).require()
    first, second = (artifacts(tmp_path / place) for place in ("a", "b"))
    assert [path.relative_to(tmp_path / "a") for path in first] == [
        path.relative_to(tmp_path / "b") for path in second
    ]
    for one, other in zip(first, second, strict=True):
        for path in one.glob("*.parquet"):
            assert path.read_bytes() == (other / path.name).read_bytes()
        for path in one.glob("policy/*.safetensors"):
            assert path.read_bytes() == (other / "policy" / path.name).read_bytes()
    ours, theirs = (records(tmp_path / place) for place in ("a", "b"))
    alike = [
        {name: value for name, value in timeless(record).items() if not name.startswith("memory/")}
        for record in (*ours, *theirs)
    ]
    assert alike[:3] == alike[3:]


def test_a_head_is_trained_whole_or_with_an_adapter(tmp_path: Path, warm: Warm):
    words = ("-m", *HEAD, "sft=full,lora")
    done = warm.run(*words, *SMALL, outputs=tmp_path).require()
    assert done.computed() == {"head": 2, "classify": 2, "predict": 2}
    found = records(tmp_path)
    assert {record["is_random"] for record in found} == {True}
    few, many = sorted({record["parameters/trained"] for record in found})
    assert few < many / 2
    for record in found:
        assert {*WORDS} & record.keys() == {"method", "model", "precision", "sft"}
        policy = tmp_path / record["policy"] / "policy"
        is_adapter = (policy / "adapter_config.json").exists()
        assert is_adapter == (record["sft"] == "lora") == (record["parameters/trained"] == few)
        assert record["tokens/head"] > 0


def test_a_head_learns_and_loads_in_transformers(folder: Path, tmp_path: Path, warm: Warm):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    for split in ("train", "validation", "test"):
        rows = [
            {"text": f"{word} {split} {place}", "label": word} for place in range(40) for word in ("yes", "no")
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = ("method=head", "model=tiny", "sft.args.max_steps=20", "sft.args.learning_rate=3e-3", "tracking=none")
    warm.run(*words, "dataset=local", f"dataset.path={folder}", outputs=tmp_path).require()
    (record,) = records(tmp_path)
    assert record["accuracy"] == 1
    policy = tmp_path / record["policy"] / "policy"
    model = AutoModelForSequenceClassification.from_pretrained(policy)
    tokens = AutoTokenizer.from_pretrained(policy)
    said = model(**tokens("yes 7", return_tensors="pt")).logits[0]
    assert model.config.id2label[int(said.argmax())] == "yes"


class Stops(Silent):
    def advance(self, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("checkpoint_at_every_step")
def test_an_interrupted_head_resumes_to_the_same_weights(tmp_path: Path):
    policy = folders.resolve(ModelSettings(config=TINY, precision="float32"), Store(tmp_path / "artifacts"))
    train = tickets.generate({"train": 24}, seed=0)["train"]
    args = {"max_steps": 5, "per_device_train_batch_size": 4, "logging_steps": 1}

    def fit(watch: Silent, out: Path) -> bytes:
        head.fit(policy, train, tickets.LABELS, 64, SftSettings(args=args), 0, watch, out)
        return (out / "policy" / "model.safetensors").read_bytes()

    with pytest.raises(KeyboardInterrupt, match="interrupted at step 3 of 5, checkpoint of step 2"):
        fit(Stops(), tmp_path / "again")
    assert fit(Silent(), tmp_path / "again") == fit(Silent(), tmp_path / "whole")


WRONG = {
    "method=svm strategy=icl": "method=svm reads no prompt and writes no label: strategy needs method=generative",
    "method=svm sft.args.max_steps=1": "method=svm fine-tunes nothing: sft.args.max_steps needs method=generative",
    "method=head sft=none": "method=head trains a classification head, found sft=none; expected sft=full or sft=",
    "method=head model=tiny sft.args.max_length=9": "unknown key sft.args.max_length: TrainingArguments has no",
    "method=head model=tiny sft=lora sft.lora.target_modules=[q]": "sft.lora.target_modules names 'q', which the",
    "method=knn method.k=40": "method.k=40 asks for more neighbours than there are; expected at most 39, as 'tic",
    "method=svm dataset.train_size=1": "method=svm tells labels apart, and all training examples of 'tickets'",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_cannot_be_is_said_in_a_sentence(words: str, tmp_path: Path, warm: Warm):
    sizes = [word for word in SMALL if not (word.startswith("dataset.train") and "train_size" in words)]
    done = warm.run(*words.split(), *sizes, outputs=tmp_path)
    assert done.code != 0
    assert f"error: {WRONG[words]}" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_text_that_does_not_fit_is_told_and_marked(folder: Path, tmp_path: Path, warm: Warm):
    lines = (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()
    long = json.dumps({"text": "word " * 40, "label": "refund"})
    (folder / "test.jsonl").write_text("\n".join([long, *lines]), encoding="utf-8")
    words = (*HEAD, "dataset=local", f"dataset.path={folder}", "model.max_length=64", "tracking=none")
    done = warm.run(*words, outputs=tmp_path).require()
    assert "1 of 71 texts truncated to fit the model" in done.out
    (record,) = records(tmp_path)
    assert record["truncated_share"] == pytest.approx(1 / 21)
