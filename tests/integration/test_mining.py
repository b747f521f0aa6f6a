"""Language models as scorers: out of fold or zero-shot, through the store, checked before anything is computed."""

import json
from collections import Counter
from pathlib import Path

import pytest

from genclspp.data import sampling, tickets
from genclspp.models import folders
from genclspp.models.policy import Policy
from genclspp.report.cost import stages
from genclspp.runs.plan import Memory, Plan
from genclspp.selection import scorers
from genclspp.selection.scorers import Training
from genclspp.settings import ModelSettings, SftSettings
from genclspp.store.artifacts import Store
from genclspp.task import Example, Task, normalise
from tests.cli import TINY, Warm, artifacts, records
from tests.tiny import TINY as SMALL

ZERO_SHOT = (*TINY, "strategy=uncertainty")
MINED = (*ZERO_SHOT, "strategy.uncertainty.folds=2")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Policy:
    config = {**SMALL, "vocab_size": 600}
    return folders.resolve(
        ModelSettings(config=config, precision="float32"), Store(tmp_path_factory.mktemp("artifacts"))
    )


@pytest.fixture(scope="module")
def task() -> Task:
    train = tickets.generate({"train": 23}, seed=0)["train"]
    twins = tuple(Example(f"twin-{n}", e.text.upper() + "!", e.label) for n, e in enumerate(train[:5]))
    names = {label: label for label in tickets.LABELS}
    return Task("tickets", tickets.LABELS, "Classify.", {"train": train + twins}, names)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_no_model_judges_what_it_was_trained_on(tiny, task, count, tmp_path):
    train, training = task.splits["train"], Training(SftSettings(args={"num_train_epochs": 5}), 7)
    folds = sampling.split_folds(train, count)
    plan = Plan(Store(tmp_path), Memory())
    read = scorers.plan_readings(plan, task, ["trained"], folds, tiny, training)
    fits, scores = plan.steps[::2], plan.steps[1::2]
    assert [(fit.role, score.role) for fit, score in zip(fits, scores, strict=True)] == [
        ("mine_sft", "mine_score")
    ] * count
    assert read["trained"] == [score.artifact for score in scores]
    texts = {example.id: normalise(example.text) for example in train}
    (whole,) = scorers.plan_readings(plan, task, ["model"], folds, tiny, training)["model"]
    every = plan.steps.pop().call.keywords["inputs"].texts
    assert whole.stage == "score"
    of_text = {text: example.id for text, example in zip(every, train, strict=True)}
    for fold, fit, score in zip(folds, fits, scores, strict=True):
        given, asked = fit.call.keywords, score.call.keywords
        learned = [item.id for item in given["prompts"].items]
        judged = [of_text[text] for text in asked["inputs"].texts]
        assert judged == [train[position].id for position in fold]
        assert sorted(learned + judged) == sorted(texts)
        assert not {texts[id] for id in learned} & {texts[id] for id in judged}
        assert given["policy"] == tiny
        assert (given["settings"], given["seed"]) == (training.sft, training.seed)
        assert asked["policy"] == tiny.after(fit.artifact)


# Through the command line


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def other(warm: Warm, outputs: Path) -> Path:
    """A folder in hub format that is not the cell's model."""
    words = (*ZERO_SHOT, "model.config.hidden_size=32", "model.seed=1", "strategy.uncertainty.scorers=[nonesuch/]")
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
    (mine,) = artifacts(outputs, "mine")
    assert record["artifact/mine"] == mine.name
    (sft,) = [path for path in artifacts(outputs, "sft") if path.name == record["artifact/sft"]]
    assert record["artifact/mine_sft"] in {path.name for path in artifacts(outputs, "sft")} - {sft.name}
    # What each fold took stands beside their sum, as cells may share some of the folds.
    folds = {record[f"artifact/mine_sft/{fold}"]: record[f"seconds/mine_sft/{fold}"] for fold in (1, 2)}
    assert folds.keys() == {path.name for path in artifacts(outputs, "sft")} - {sft.name}
    assert sum(folds.values()) == pytest.approx(record["seconds/mine_sft"])
    assert Counter(stage.role for stage in stages(record) if "mine" in stage.role) == {
        "mine_sft": 2,
        "mine_score": 4,
        "mine": 1,
    }
    assert record["seconds/sft"] == json.loads((sft / "manifest.json").read_text())["seconds"]
    assert record["tokens/sft"] == json.loads((sft / "summary.json").read_text())["tokens"]
    report = json.loads((mine / "report.json").read_text())
    assert report["accuracy"].keys() == {"tfidf", "trained", "model", str(other), "all"}
    assert report["marked"] == 2

    again = warm.run(*words, outputs=outputs).require()
    assert not again.computed()
    assert "marked uncertain" not in again.out
    numbered = [word.replace("strategy=uncertainty", "strategy=[uncertainty,numeric]") for word in words]
    beside = warm.run(*numbered, "name=beside", outputs=outputs).require()
    assert beside.computed().keys().isdisjoint({"mine", "mine_sft", "mine_score"})
    assert beside.computed()["sft"] == 1


def test_a_scorer_of_the_same_weights_says_the_same(warm, outputs, other):
    """Wherever they lie, and whichever word names them."""
    words = (
        "model=local",
        "precision=float32",
        f"model.path={other}",
        f"strategy.uncertainty.scorers=[model,{other}]",
    )
    done = warm.run(*ZERO_SHOT, *words, outputs=outputs).require()
    assert done.computed()["mine_score"] == 0  # the test before has read it
    assert done.reused()["mine_score"] == 1  # equal work is one step


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
            ("'nobody/nothing'", "cannot be downloaded from the hub"),
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
    done = warm.run(*ZERO_SHOT, *given, outputs=tmp_path / "outputs")
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert "a bug in genclspp" not in done.err
    for needle in needles:
        assert needle in done.err
    assert {path.parent.name for path in artifacts(tmp_path / "outputs")} <= {"base"}


def test_how_to_mine_is_refused_where_nothing_is_mined(warm, tmp_path):
    """No training and no demonstrations: nothing shows which examples are uncertain."""
    words = ("sft=none", "strategy.uncertainty.scorers=[trained,/nowhere/model]")
    done = warm.run(*ZERO_SHOT, *words, outputs=tmp_path)
    assert "strategy.uncertainty.scorers needs SFT, RL or icl" in done.err
    warm.run(*ZERO_SHOT, "sft=none", outputs=tmp_path).require()
    assert not artifacts(tmp_path, "mine")
