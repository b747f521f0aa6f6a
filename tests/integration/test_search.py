"""`hydra/sweeper=optuna`: trials chosen on validation examples, each a cell, and all of them again for nothing."""

import re
import sys
from pathlib import Path

import pytest

from genclspp.cli import plugins
from genclspp.runs.ledger import Ledger
from genclspp.suggest import UserError
from tests.cli import TINY, Done, Warm, records

SEARCH = ("-m", "hydra/sweeper=optuna", *TINY, "decode=ppl")


def trials(done: Done) -> list[str]:
    return re.findall(r"^trial (.+)$", done.out, re.MULTILINE)


def test_a_search_names_its_best_trial_and_costs_nothing_again(warm: Warm, tmp_path: Path):
    rate = "sft.args.learning_rate=tag(log,interval(1e-4,1e-1))"
    words = (*SEARCH[:-1], "decode=ppl,ppl_sum", rate, "hydra.sweeper.n_trials=3", "objective=validation/nll")
    words = (*words, "hydra.sweeper.direction=minimize")
    done = warm.run(*words, outputs=tmp_path).require()
    found = {record["typed/words"]: record for record in records(tmp_path)}
    assert done.computed()["predict"] == len(found) == 3
    best = min(found.values(), key=lambda record: record["validation/nll"])
    assert f"  python run.py {best['typed/words']}\n" in done.out
    (number,) = re.findall(r"^best: trial (\d), alone:$", done.out, re.MULTILINE)
    entries = Ledger(tmp_path / "results" / "dev").read()
    assert [entry.state for entry in entries] == ["done"] * 3
    heading = entries[int(number) - 1].heading
    assert f"sft.args.learning_rate={best['sft.args.learning_rate']:.4g}" in heading
    assert f"decode={best['decode']}" in heading
    assert re.search(rf"^ +{number} .* {best['validation/nll']:.3f} +{best['nll']:.3f} *$", done.out, re.MULTILINE)
    again = warm.run(*words, outputs=tmp_path).require()
    assert trials(again) == trials(done)
    assert not again.computed()
    more = [word.replace("n_trials=3", "n_trials=4") for word in words]
    longer = warm.run(*more, outputs=tmp_path).require()
    assert [each.replace("/4", "/3") for each in trials(longer)[:3]] == trials(done)
    assert longer.computed()["predict"] == 1


def test_a_failed_trial_does_not_end_the_search(warm: Warm, tmp_path: Path):
    sizes = ("sft.args.max_steps=3", "sft.args.learning_rate=1e-3,1e30", "hydra.sweeper.n_trials=3")
    knob = ("strategy=[icl,numeric],zero_shot", "strategy.icl.shots=2")  # which concerns one of both
    done = warm.run(*SEARCH, *sizes, *knob, outputs=tmp_path)
    assert done.code == 1
    assert done.err == ""
    assert len(trials(done)) == 3
    assert "2 of 3 cells have failed" in done.out
    (record,) = records(tmp_path)
    assert "best: trial 3, alone:" in done.out
    assert record["strategy.icl.shots"] == 2


def test_where_all_trials_fail_there_is_no_best_one(warm: Warm, tmp_path: Path):
    words = ("sft.args.max_steps=3", "sft.args.learning_rate=1e29,1e30", "hydra.sweeper.n_trials=1")
    done = warm.run(*SEARCH, *words, outputs=tmp_path)
    assert done.code == 1
    assert done.err == ""
    assert len(trials(done)) == 1
    assert "best:" not in done.out
    assert "has failed" in done.out


RATE, DRAWN = "sft.args.learning_rate=1e-4,1e-3", "sft.args.learning_rate=interval(1e-4,1e-3)"
WRONG = {
    ("predict.validation=0", RATE): "chooses trials on validation examples, found predict.validation=0",
    ("objective=accuracy", RATE): "looks at test examples; expected a figure of validation examples",
    ("objective=validation/acuracy", RATE): "is no figure of a record; did you mean 'validation/accuracy'?",
    ("objective=validation/acc", RATE): "is no figure of a record; did you mean 'validation/accuracy'?",
    ("objective=validation/nll", RATE): "is better when it is lower; expected hydra.sweeper.direction=minimize",
    ("hydra.sweeper.n_trialss=3", RATE): "did you mean 'hydra.sweeper.n_trials'?",
    (
        "hydra.sweeper.ntrials=3",
        "sft.args.learning_rate=interval(1e-4,1e-3)",
    ): "did you mean 'hydra.sweeper.n_trials'?",
    ("seed=0,1",): "a search over seeds finds the luckiest",
    ("strategy=zero_shot,icl", "strategy.icl.shotss=1,2"): "unknown key strategy.icl.shotss",
    ("strategy=zero_shot,icl", "strategy.icl.shots=range(1,500)"): "strategy.icl.shots=500",
    ("hydra/launcher=plan", RATE): "hydra/launcher=plan shows a grid",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_what_is_wrong_with_a_search_is_said_before_its_first_trial(
    warm: Warm, tmp_path: Path, words: tuple[str, ...]
):
    done = warm.run(*SEARCH, *words, outputs=tmp_path)
    assert done.code == 1
    assert WRONG[words] in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_an_unknown_sweeper_is_named(warm: Warm, tmp_path: Path):
    done = warm.run("-m", "hydra/sweeper=optunna", outputs=tmp_path)
    assert done.code == 1
    assert "unknown choice hydra/sweeper=optunna; did you mean 'optuna'?" in done.err


@pytest.mark.parametrize("word", plugins.NEEDS)
def test_a_plugin_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, word: str):
    plugins.require([word])
    package, extra, module = plugins.NEEDS[word]
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    with pytest.raises(UserError, match=f"{word} needs {package}, which is not installed: pip install .*{extra}"):
        plugins.require([word])
