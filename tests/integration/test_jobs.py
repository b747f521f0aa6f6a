"""`hydra/launcher=slurm` in processes of this machine: a job per cell, with the sweep's table and exit code."""

import re
from pathlib import Path

import pytest

from genclspp.runs.ledger import Ledger
from tests.cli import TINY, Warm, artifacts, records, run

PARTS = """
import os
from dataclasses import dataclass

from genclspp.inference.decode import Perplexity


@dataclass(frozen=True)
class Dies(Perplexity):
    def scores(self, said):
        os._exit(3)


@dataclass(frozen=True)
class Raises(Perplexity):
    def scores(self, said):
        raise KeyError("nowhere")
"""
LOCAL = ("-m", "hydra/launcher=submitit_local", "tracking=none", "dataset.train_size=24", "dataset.test_size=8")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    (folder / "parts.py").write_text(PARTS, encoding="utf-8")
    (folder / "conf" / "decode").mkdir(parents=True)
    for name in ("Dies", "Raises"):
        text = f"_target_: parts.{name}\nnormalise: mean\n"
        (folder / "conf" / "decode" / f"{name.lower()}.yaml").write_text(text, encoding="utf-8")
    return folder


def test_each_cell_is_a_job_of_its_own(tmp_path: Path):
    done = run(*LOCAL, "method=majority,svm", outputs=tmp_path).require()
    assert [record["method"] for record in records(tmp_path)] == ["majority", "svm"]
    entries = Ledger(tmp_path / "results" / "dev").read()
    assert [(entry.number, entry.state, entry.heading) for entry in entries] == [
        (1, "done", "method=majority"),
        (2, "done", "method=svm"),
    ]
    assert re.search(r"^ majority +\d", done.out, re.MULTILINE)
    told = [path.read_text("utf-8") for path in (tmp_path / "logs" / "dev" / "submitit").glob("*_log.out")]
    assert sorted(re.findall(r"^cell .*$", "".join(told), re.MULTILINE)) == [
        "cell 1 method=majority",
        "cell 2 method=svm",
    ]


@pytest.mark.slow  # four processes that import torch
def test_a_job_that_dies_costs_its_cell(parts: Path, tmp_path: Path):
    words = (*LOCAL, *(word for word in TINY if word not in LOCAL), "decode=ppl,ppl_sum,raises,dies")
    words = (f"--config-dir={parts / 'conf'}", *words, "hydra.launcher.parallel=4")
    done = run(*words, outputs=tmp_path, PYTHONPATH=str(parts))
    assert done.code == 1
    assert [record["decode"] for record in records(tmp_path)] == ["ppl", "ppl_sum"]
    assert len(artifacts(tmp_path, "sft")) == 1  # whoever came second waited for it
    entries = Ledger(tmp_path / "results" / "dev").read()
    assert [entry.state for entry in entries] == ["done", "done", "failed", "failed"]
    assert "KeyError" in entries[2].sentence
    assert "Traceback" in Path(entries[2].log).read_text(encoding="utf-8")
    assert "ended without a result" in entries[3].sentence
    assert Path(entries[3].log).parent == tmp_path / "logs" / "dev" / "submitit"
    assert "2 of 4 cells have failed" in done.out
    assert all(entry.sentence in done.out and entry.log in done.out for entry in entries[2:])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("hydra/launcher=slurm",), "hydra/launcher=slurm finds no srun"),
        (("hydra/launcher=slurn",), "unknown choice hydra/launcher=slurn; did you mean 'slurm'?"),
        (("hydra/launcher=submitit_local", "failures=stop"), "failures=stop ends a sweep in one process"),
        (("hydra/launcher=submitit_local", "seed=0,0.5"), "seed=0.5"),  # before the first job
    ],
    ids=str,
)
def test_what_cannot_be_launched_is_said(warm: Warm, tmp_path: Path, words: tuple[str, ...], sentence: str):
    done = warm.run("-m", *TINY, *words, outputs=tmp_path)
    assert done.code == 1
    assert sentence in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "logs" / "dev" / "submitit").exists()
