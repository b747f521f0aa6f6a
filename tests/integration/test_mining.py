"""Language models as scorers: out of fold or zero-shot, through the store, checked before anything is computed."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from genclspp.data import sampling, tickets
from genclspp.models import folders
from genclspp.models.policy import Policy
from genclspp.selection import scorers
from genclspp.settings import ModelSettings, SftSettings
from genclspp.store import Artifact, Store
from genclspp.task import Example, Task, normalise
from tests.cli import TINY, Warm, artifacts, records
from tests.tiny import TINY as SMALL

MINED = (*TINY, "strategy=uncertainty", "strategy.uncertainty.folds=2")


class Notes:
    """Stands in for a runner: notes what each model is trained on, and what it is asked."""

    def __init__(self) -> None:
        self.cell = SimpleNamespace(sft=SftSettings(args={"num_train_epochs": 5}), seed=7)
        self.trained: dict[str, dict] = {}
        self.asked: list[tuple[Policy, list[str]]] = []

    def stage(self, stage: str, function: str, inputs: dict, **_) -> Artifact:
        assert (stage, function) == ("mine_sft", "training.sft.fit")
        made = Artifact(stage, f"fold{len(self.trained)}", Path())
        self.trained[made.key] = inputs
        return made

    def score(self, policy: Policy, prompts, stage: str) -> Artifact:
        assert stage == "mine_score"
        self.asked.append((policy, [item.id for item in prompts.items]))
        return Artifact(stage, f"reading{len(self.asked)}", Path())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Policy:
    config = {**SMALL, "vocab_size": 600}
    return folders.resolve(ModelSettings(config=config), Store(tmp_path_factory.mktemp("artifacts")))


@pytest.fixture(scope="module")
def task() -> Task:
    train = tickets.generate({"train": 23}, seed=0)["train"]
    twins = tuple(Example(f"twin-{n}", e.text.upper() + "!", e.label) for n, e in enumerate(train[:5]))
    names = {label: label for label in tickets.LABELS}
    return Task("tickets", tickets.LABELS, "Classify.", {"train": train + twins}, names)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_no_model_judges_what_it_was_trained_on(tiny, task, count):
    notes, train = Notes(), task.splits["train"]
    folds = sampling.folds(train, count)
    read = scorers.readings(task, ["trained"], folds, tiny, notes)
    assert [artifact.key for artifact in read["trained"]] == [f"reading{n + 1}" for n in range(count)]
    texts = {example.id: normalise(example.text) for example in train}
    for fold, (policy, asked) in zip(folds, notes.asked, strict=True):
        inputs = notes.trained[policy.trained.key]
        learned = [item.id for item in inputs["prompts"].items]
        assert asked == [train[position].id for position in fold]
        assert sorted(learned + asked) == sorted(texts)
        assert not {texts[id] for id in learned} & {texts[id] for id in asked}
        assert inputs["policy"] == tiny
        assert (inputs["settings"], inputs["seed"]) == (notes.cell.sft, notes.cell.seed)


# Through the command line


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def other(warm: Warm, outputs: Path) -> Path:
    """A folder in hub format that is not the cell's model."""
    words = (*MINED, "model.config.hidden_size=32", "model.seed=1", "strategy.uncertainty.scorers=[nonesuch/]")
    assert warm.run(*words, outputs=outputs).code == 1  # checking it makes the model
    (base,) = artifacts(outputs, "base")
    return base


def test_every_scorer_is_carried_out_once_and_the_record_stays_that_of_the_cell(warm, outputs, other):
    words = (*MINED, f"strategy.uncertainty.scorers=[tfidf,trained,model,{other}]")
    done = warm.run(*words, outputs=outputs).require()
    computed = done.computed()
    assert (computed["mine_sft"], computed["mine_score"], computed["mine"], computed["sft"]) == (2, 4, 1, 1)
    assert "  2 of 24 training examples marked uncertain; the scorers are right on " in done.out
    (record,) = records(outputs)
    for stage in ("sft", "score"):
        assert record[f"artifact/{stage}"] in {path.name for path in artifacts(outputs, stage)}
    (sft,), (mine,) = artifacts(outputs, "sft"), artifacts(outputs, "mine")
    assert record["artifact/sft"] == sft.name
    assert record["artifact/mine"] == mine.name
    assert record["seconds/sft"] == json.loads((sft / "manifest.json").read_text())["seconds"]
    assert record["tokens/sft"] == json.loads((sft / "summary.json").read_text())["tokens"]
    report = json.loads((mine / "report.json").read_text())
    assert report["accuracy"].keys() == {"tfidf", "trained", "model", str(other), "all"}
    assert report["marked"] == 2

    again = warm.run(*words, outputs=outputs).require()
    assert not again.computed()
    assert "marked uncertain" not in again.out
    beside = warm.run(*words, "strategy=[uncertainty,numeric]", "name=beside", outputs=outputs).require()
    assert beside.computed().keys().isdisjoint({"mine", "mine_sft", "mine_score"})
    assert beside.computed()["sft"] == 1


def test_a_scorer_of_the_same_weights_says_the_same(warm, outputs, other):
    """Wherever they lie, and whichever word names them."""
    words = ("model=local", f"model.path={other}", f"strategy.uncertainty.scorers=[model,{other}]")
    done = warm.run(*MINED, *words, outputs=outputs).require()
    assert done.computed()["mine_score"] == 0  # the test before has read it
    assert done.reused()["mine_score"] == 2


@pytest.mark.parametrize(
    ("words", "needles"),
    [
        (("strategy.uncertainty.scorers=[tfdif]",), ("'tfdif'", "did you mean 'tfidf'?")),
        (("strategy.uncertainty.confidence=margn",), ("uncertainty.confidence='margn'", "did you mean 'margin'?")),
        (("strategy.uncertainty.scorers=[tfidf,trained]", "sft=none", "rl=expected"), ("'trained'", "sft=full")),
        (
            ("strategy.uncertainty.scorers=[/nowhere/model]",),
            ("uncertainty.scorers", "'/nowhere/model'", "folder"),
        ),
        (
            ("strategy.uncertainty.scorers=[nobody/nothing]",),
            ("'nobody/nothing'", "could not be had"),
        ),
        (("strategy.uncertainty.scorers=[{empty}]",), ("uncertainty.scorers", "no config.json")),
        (
            ("dataset.train_size=2", "strategy.uncertainty.scorers=[trained]"),
            ("'trained'", "two or more"),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_scorer_that_cannot_be_used_is_one_sentence(warm, tmp_path, words, needles):
    (tmp_path / "empty").mkdir()
    given = [word.format(empty=tmp_path / "empty") for word in words]
    done = warm.run(*MINED, *given, outputs=tmp_path / "outputs")
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert "error in the program" not in done.err
    for needle in needles:
        assert needle in done.err
    assert {path.parent.name for path in artifacts(tmp_path / "outputs")} <= {"base"}


def test_what_is_not_mined_need_not_be_there(warm, tmp_path):
    """No training and no demonstrations: nothing shows which examples are uncertain."""
    words = ("sft=none", "strategy.uncertainty.scorers=[trained,/nowhere/model]")
    done = warm.run(*MINED, *words, outputs=tmp_path).require()
    assert not done.computed()["mine"]
