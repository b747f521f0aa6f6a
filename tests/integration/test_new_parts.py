"""A new part is one file and one YAML: the strategy of README.md, the learner of docs/architecture.md, …"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import ROOT, TINY, Done, environment, records, run

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_way_of_an_example_fits_on_a_page():
    way = PAGE.partition("# Around it")[0]
    assert len(way.splitlines()) <= 60


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:\w+/)?\w+\.\w+)`", PAGE))))
def test_every_function_that_the_page_names_is_there(name: str):
    place, _, function = name.replace("/", ".").rpartition(".")
    if function in ("py", "toml"):
        found = [*ROOT.rglob(name)]
    else:
        found = [
            path
            for path in (ROOT / "genclspp").rglob(f"{place.rpartition('.')[2]}.py")
            if re.search(rf"^(?:    )?(?:def|class) {function}\b", path.read_text(encoding="utf-8"), re.MULTILINE)
        ]
    assert found


def blocks(language: str, page: str = PAGE) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.fixture
def paraphrase(tmp_path: Path) -> Path:
    """A folder with the strategy of README.md: its file, and its YAML in conf/strategy."""
    (code,), (yaml,) = blocks("python", README), blocks("yaml", README)
    (tmp_path / "paraphrase.py").write_text(code, encoding="utf-8")
    (tmp_path / "conf" / "strategy").mkdir(parents=True)
    (tmp_path / "conf" / "strategy" / "paraphrase.yaml").write_text(yaml, encoding="utf-8")
    return tmp_path


def sides(train: int, infer: int) -> list[str]:
    return [
        *("strategy@train=paraphrase", f"train.paraphrase.wording={train}"),
        *("strategy@infer=paraphrase", f"infer.paraphrase.wording={infer}"),
    ]


@pytest.mark.slow
def test_a_paraphrase_of_the_instruction_is_one_file_and_one_yaml(paraphrase: Path):
    def cell(*words: str) -> Done:
        words = (f"--config-dir={paraphrase / 'conf'}", *TINY, "decode=ppl_pmi", *words)
        return run(*words, outputs=paraphrase / "outputs", PYTHONPATH=str(paraphrase))

    first = cell(*sides(1, 2)).require()
    assert first.computed()["sft"] == 1
    (record,) = records(paraphrase / "outputs")
    assert (record["train"], record["infer"]) == ("paraphrase", "paraphrase")
    assert (record["train.paraphrase.wording"], record["infer.paraphrase.wording"]) == (1, 2)
    other = cell(*sides(1, 0)).require()  # other prompts at inference, the same in training
    assert (other.computed()["sft"], other.computed()["score"], other.computed()["prior"]) == (0, 1, 1)
    typo = cell(*sides(1, 3))
    assert "infer.paraphrase.wording=3; known: 0, 1, 2" in typo.err


def test_the_prompts_of_each_side_show_its_wording(paraphrase: Path):
    words = [f"--config-dir={paraphrase / 'conf'}", *TINY, *sides(1, 2), f"outputs={paraphrase / 'outputs'}"]
    done = subprocess.run(
        [sys.executable, "scripts/show_prompts.py", *words],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(paraphrase), COLUMNS="200"),
        capture_output=True,
        text=True,
        check=True,
    )
    train, _, infer = done.stdout.partition(" train: 24 prompts")
    for shown, hidden, side in (("Which label fits", "You sort", train), ("You sort", "Which label fits", infer)):
        assert side.count(shown) == 2
        assert hidden not in side


def test_a_learner_is_one_file_and_one_yaml(tmp_path: Path):
    (code,), (yaml,) = blocks("python"), blocks("yaml")
    (tmp_path / "best_answer.py").write_text(code, encoding="utf-8")
    (tmp_path / "conf" / "rl").mkdir(parents=True)
    (tmp_path / "conf" / "rl" / "best_answer.yaml").write_text(yaml, encoding="utf-8")
    words = (f"--config-dir={tmp_path / 'conf'}", *TINY, "rl=best_answer", "rl.examples=16")
    path = {"PYTHONPATH": str(tmp_path)}
    done = run(*words, outputs=tmp_path / "outputs", **path).require()
    assert done.computed()["rl"] == 1
    (record,) = records(tmp_path / "outputs")
    assert record["rl"] == "best_answer"
    assert record["rl/steps"] == 2
    again = run(*words, outputs=tmp_path / "outputs", **path).require()
    assert not again.computed()
    (tmp_path / "best_answer.py").write_text(code + "\n# edited\n", encoding="utf-8")
    edited = run(*words, outputs=tmp_path / "outputs", **path).require()
    assert (edited.computed()["sft"], edited.computed()["rl"]) == (0, 1)


PARTS = '''
from dataclasses import dataclass
from typing import ClassVar


def share_of_first_label(predictions, labels, weight=1.0):
    return weight * sum(p.forced == labels[0] for p in predictions) / len(predictions)


@dataclass(frozen=True)
class Last:
    """Always the last label."""

    needs: ClassVar = ()

    def scores(self, said):
        return list(range(len(said.logprobs)))

    def choose(self, said, surfaces):
        return list(surfaces)[-1]
'''


def test_a_metric_and_a_decoder_are_one_file_and_one_yaml_each(tmp_path: Path):
    (tmp_path / "parts.py").write_text(PARTS, encoding="utf-8")
    for group, text in (
        ("metric", "first:\n  _target_: parts.share_of_first_label\n  weight: 2.0\n"),
        ("decode", "_target_: parts.Last\n"),
    ):
        (tmp_path / "conf" / group).mkdir(parents=True)
        (tmp_path / "conf" / group / "mine.yaml").write_text(text, encoding="utf-8")
    words = (f"--config-dir={tmp_path / 'conf'}", *TINY, "metric=mine", "decode=mine")
    run(*words, outputs=tmp_path / "outputs", PYTHONPATH=str(tmp_path)).require()
    (record,) = records(tmp_path / "outputs")
    assert record["first"] == 0.0
    assert record["decode"] == "mine"
    assert record["f1/refund"] == 0.0


def test_metrics_beside_the_usual_ones_stand_in_the_record(tmp_path: Path, warm):
    warm.run(*TINY, "metric=[ordinal,matthews]", outputs=tmp_path).require()
    (record,) = records(tmp_path)
    assert record["mean_rank_distance"] >= 0
    assert -1 <= record["matthews"] <= 1


def test_a_method_is_one_file_and_one_yaml(tmp_path: Path):
    page = (ROOT / "docs" / "baselines.md").read_text(encoding="utf-8")
    (code,), (yaml,) = blocks("python", page), blocks("yaml", page)
    (tmp_path / "naive_bayes.py").write_text(code, encoding="utf-8")
    (tmp_path / "conf" / "method").mkdir(parents=True)
    (tmp_path / "conf" / "method" / "naive_bayes.yaml").write_text(yaml, encoding="utf-8")

    def cells(*words: str) -> Done:
        small = ("tracking=none", "dataset.train_size=120", "dataset.test_size=40")
        words = (f"--config-dir={tmp_path / 'conf'}", "-m", *words, *small)
        return run(*words, outputs=tmp_path / "outputs", PYTHONPATH=str(tmp_path))

    cells("method=majority,naive_bayes", "method.alpha=1.0,0.1", "seed=0,1").require()
    found = {(record["method"], record.get("method.alpha")): record for record in records(tmp_path / "outputs")}
    assert found.keys() == {("majority", None), ("naive_bayes", 1.0), ("naive_bayes", 0.1)}
    assert found["naive_bayes", 0.1]["accuracy"] > found["majority", None]["accuracy"]
    assert f"--config-dir={tmp_path / 'conf'}" in found["naive_bayes", 1.0]["typed/words"]
    wrong = cells("method=naive_bayes", "method.alpha=0.0")
    assert "error: method.alpha=0; expected more than 0\n" in wrong.err
    (tmp_path / "naive_bayes.py").write_text(code + "\n# edited\n", encoding="utf-8")
    edited = cells("method=majority,naive_bayes", "method.alpha=1.0").require()
    assert edited.computed()["classify"] == 1
