"""A person's own data through the real command line: what is said about it, and what is refused."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from genclspp.inference import predict
from tests.cli import ROOT, Done, Warm, artifacts, environment, records

OWN = ("model=tiny", "tracking=none", "sft=none", "rl=none", "dataset=local")
Rows = Sequence[tuple[str, str]]


def rows(word: str, count: int, labels: Sequence[str] = ("red", "blue")) -> list[tuple[str, str]]:
    return [(f"{word} {k}", labels[k % len(labels)]) for k in range(count)]


def write(path: Path, content: Rows) -> None:
    path.write_text("text,label\n" + "".join(f'{text},"{label}"\n' for text, label in content), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "colours"
    folder.mkdir()
    for split, count in (("train", 20), ("dev", 6), ("test", 8)):
        write(folder / f"{split}.csv", rows(split, count))
    return folder


def told(done: Done) -> list[str]:
    """What is said about the data of a cell, before its first stage."""
    return [
        line.strip() for line in done.require().out.splitlines() if line.startswith(("  colours:", "  not read"))
    ]


def test_dev_is_validation_and_one_line_says_what_was_read(warm: Warm, folder: Path, tmp_path: Path):
    write(folder / "test.csv", [*rows("test", 8), ("TRAIN 3!", "blue")])
    (folder / "old.csv").write_text("")
    done = warm.run(*OWN, f"dataset.path={folder}", outputs=tmp_path / "out")
    assert told(done) == [
        "colours: train 20 · validation 6 · test 9 · 2 labels · 1 test text also in train (left in)",
        f"not read in {folder}: old.csv",
    ]
    assert done.out.index("colours: train 20") < done.out.index("score")
    assert len(records(tmp_path / "out")) == 1


def test_without_validation_the_line_says_where_it_is_from(warm: Warm, folder: Path, tmp_path: Path):
    (folder / "dev.csv").unlink()
    done = warm.run(*OWN, f"dataset.path={folder}", outputs=tmp_path / "out")
    assert told(done) == ["colours: train 18 · validation 2 (from train) · test 8 · 2 labels"]


def test_a_sweep_says_once_what_its_cells_share(warm: Warm, folder: Path, tmp_path: Path):
    words = ("strategy=icl,[icl,numeric]", "dataset.train_size=20,10", "decode=ppl,ppl_sum")
    done = warm.run("-m", *OWN, f"dataset.path={folder}", *words, outputs=tmp_path / "out")
    assert sorted(told(done)) == [
        "colours: train 10 · validation 6 · test 8 · 2 labels",
        "colours: train 20 · validation 6 · test 8 · 2 labels",
    ]
    assert len(records(tmp_path / "out")) == 8


def test_overlap_and_empty_texts_are_kept_dropped_or_refused(warm: Warm, folder: Path, tmp_path: Path):
    write(folder / "test.csv", [("train 3", "blue"), ("", "red"), *rows("test", 8)])
    own = (*OWN, f"dataset.path={folder}")
    stopped = warm.run(*own, outputs=tmp_path / "out")
    assert stopped.code == 1
    assert stopped.err.startswith(f"error: {folder}/test.csv, line 3: 'text' is empty ('')")
    assert "dataset.empty=drop" in stopped.err
    dropped = warm.run(*own, "dataset.empty=drop", "dataset.overlap=drop", outputs=tmp_path / "out")
    expected = "test 8 · 2 labels · 1 row without a text (dropped) · 1 test text also in train (dropped)"
    assert told(dropped)[0].endswith(expected)
    (tested,) = artifacts(tmp_path / "out", "predict")
    assert {prediction.id for prediction in predict.read(tested)} == {f"test-{k}" for k in range(2, 10)}
    refused = warm.run(*own, "dataset.empty=drop", "dataset.overlap=stop", outputs=tmp_path / "out")
    assert refused.err.count("\n") == 1
    assert f"{folder}/test.csv, line 2 and {folder}/train.csv, line 5" in refused.err


def test_two_validation_splits_are_one_too_many(warm: Warm, folder: Path, tmp_path: Path):
    write(folder / "val.csv", rows("val", 4))
    own = (*OWN, f"dataset.path={folder}")
    done = warm.run(*own, outputs=tmp_path / "out")
    assert done.code == 1
    assert "holds dev.csv and val.csv; expected one validation split" in done.err
    assert done.err.count("\n") == 1
    chosen = warm.run(*own, "dataset.splits.validation=val", outputs=tmp_path / "out")
    assert told(chosen)[0] == "colours: train 20 · validation 4 · test 8 · 2 labels"


@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_all_faults_of_a_file_are_told_a_line_each(
    warm: Warm, folder: Path, tmp_path: Path, flags: tuple[str, ...]
):
    bad = ["text,label", ",red", "fine,blue", "one,two,three", "a,", '"b" c,red', *["d,"] * 42]
    (folder / "train.csv").write_text("\n".join(bad))
    done = warm.run(*flags, *OWN, f"dataset.path={folder}", outputs=tmp_path / "out")
    assert done.code == 1
    lines = done.err.splitlines()
    assert lines[0] == f"error: {folder}/train.csv has 46 faults:"
    assert [int(re.findall(r"^  line (\d+)", line)[0]) for line in lines[1:11]] == [2, *range(4, 13)]
    assert lines[11:] == ["  … and 36 more"]
    assert records(tmp_path / "out") == []


def test_labels_with_commas_are_quoted_in_the_list_alone(warm: Warm, folder: Path, tmp_path: Path):
    for split, count in (("train", 20), ("dev", 6), ("test", 8)):
        write(folder / f"{split}.csv", rows(split, count, ("yes", "yes, maybe")))
    words = (*OWN, f"dataset.path={folder}", f"outputs={tmp_path}", "strategy=icl", "show=1")
    script = [sys.executable, "scripts/show_prompts.py", *words]
    done = subprocess.run(script, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.count('"') == 2 * 4  # the list of each side
    assert done.stdout.count('Labels: "yes", "yes, maybe"\n') == 2
    assert re.search(r"^Label: yes, maybe$", done.stdout, re.MULTILINE)
