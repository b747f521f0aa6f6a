"""`hydra/launcher=ray`: the records of one process, and a stage that breaks costs the cells that need it."""

import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from genclspp.runs import standing
from genclspp.runs.ledger import Ledger
from genclspp.store.manifests import manifest
from tests.cli import TINY, Done, Warm, artifacts, records, run, timeless
from tests.soak import Soak

ray = pytest.importorskip("ray")

BREAKING = """
import os, signal
from dataclasses import dataclass

from genclspp.inference.decode import Perplexity


@dataclass(frozen=True)
class Breaks(Perplexity):
    how: str = "not at all"

    def choose(self, said, surfaces):
        if self.how == "raises":
            raise RuntimeError("it broke")
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "exits":
            os._exit(3)
        return super().choose(said, surfaces)
"""


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """A sweep of eight cells on Ray, of which three break, each in its own way."""
    outputs = tmp_path_factory.mktemp("ray")
    (outputs / "decode").mkdir()
    (outputs / "breaking.py").write_text(BREAKING)
    (outputs / "decode" / "breaks.yaml").write_text("_target_: breaking.Breaks\nnormalise: mean\nhow: none\n")
    words = (f"--config-dir={outputs}", "-m", *TINY, "decode=breaks", "decode.how=a,b,c,d,e,raises,killed,exits")
    return run(*words, "hydra/launcher=ray", outputs=outputs, PYTHONPATH=str(outputs)), outputs


def test_five_of_eight_cells_have_records_and_three_have_reasons(broken: tuple[Done, Path]):
    done, outputs = broken
    assert done.code == 1, done.err
    assert sorted(record["decode.how"] for record in records(outputs)) == list("abcde")
    entries = {entry.heading: entry for entry in Ledger(outputs / "results" / "dev").read()}
    reasons = {how: entries[f"decode.how={how}"].sentence for how in ("raises", "killed", "exits")}
    assert "it broke" in reasons["raises"]
    assert "its process died" in reasons["killed"]
    assert "os._exit(3) was called" in reasons["exits"]
    assert all(Path(entries[f"decode.how={how}"].log).is_file() for how in reasons)
    assert "RuntimeError: it broke" in Path(entries["decode.how=raises"].log).read_text("utf-8")
    assert all(sentence.partition(";")[0] in done.out for sentence in reasons.values())
    assert done.err == ""
    assert "raylet" not in done.out


def test_what_cells_share_was_computed_once(broken: tuple[Done, Path]):
    done, outputs = broken
    assert done.computed() == {"sft": 1, "score": 1, "score_validation": 1, "predict": 5}
    assert len(artifacts(outputs, "sft")) == 1
    assert "for 8 cells" in next(line for line in done.out.split("\n") if line.startswith("  sft"))


def test_the_sweep_stands_as_it_ended(broken: tuple[Done, Path]):
    found = standing.read("dev", broken[1], 0.0)
    assert [entry.state for entry in found.entries] == ["done"] * 5 + ["failed"] * 3
    assert {entry.state for entry in found.begun.values()} == {"failed", "died"}


def test_one_process_reuses_all_and_writes_the_same_records(broken: tuple[Done, Path], warm: Warm, tmp_path: Path):
    _, outputs = broken
    before = {record["decode.how"]: record for record in records(outputs)}
    words = (f"--config-dir={outputs}", "-m", *TINY, "decode=breaks", "decode.how=a,b")
    again = warm.run(*words, outputs=outputs, PYTHONPATH=str(outputs)).require()
    assert not again.computed()
    assert all(before[record["decode.how"]] == record for record in records(outputs))
    warm.run(*words, outputs=tmp_path, PYTHONPATH=str(outputs)).require()
    assert [timeless(record) for record in records(tmp_path)] == [timeless(before[how]) for how in ("a", "b")]


@pytest.mark.slow  # benchmarks/soak.py does this thirty times
def test_a_sweep_on_ray_that_is_killed_goes_on(tmp_path: Path):
    # Which examples are uncertain is known only once a policy was trained: then the cell is planned again.
    words = ("-m", *TINY, "strategy=zero_shot,uncertainty", "decode=ppl", "hydra/launcher=ray")
    soak = Soak(words, ("worker",), tmp_path, Random(0), (0.0, 0.1))
    assert "2 records equal" in list(soak.rounds(1))[-1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["hydra.launcher.resources.sft.num_gpus=3"], "sft.num_gpus=3; expected 0, as no machine has a GPU"),
        (["hydra.launcher.resources.sfft.num_cpus=1"], "sfft"),
        (["hydra.launcher.address=127.0.0.1:1"], "127.0.0.1:1: nothing answers"),
        (["hydra.launcher.address=here"], "expected host:port"),
        (["hydra.launcher.slots=0"], "slots=0; expected a number, 1 or more"),
        (["hydra.launcher.resources.sft.num_cpus=-1"], "num_cpus=-1; expected a number"),
        (["threads=2"], "num_cpus"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(words: list[str], sentence: str, warm: Warm, tmp_path: Path):
    done = warm.run("-m", *TINY, "decode=ppl,greedy", "hydra/launcher=ray", *words, outputs=tmp_path)
    assert done.code == 1
    assert sentence in done.err
    assert len(done.err.strip().split("\n")) == 1, done.err
    assert "Traceback" not in done.err


def test_one_cell_needs_no_launcher(warm: Warm, tmp_path: Path):
    done = warm.run(*TINY, "hydra/launcher=ray", outputs=tmp_path)
    assert done.code == 1
    assert done.err == "error: hydra/launcher=ray is for sweeps, and this is one cell; expected -m\n"


@pytest.mark.slow
def test_a_running_cluster_is_used_and_outlives_the_sweep(tmp_path: Path):
    def command(*words: str) -> None:
        subprocess.run([sys.executable, "-m", "ray.scripts.scripts", *words], check=True, capture_output=True)

    start = ("start", "--head", "--include-dashboard=false", "--disable-usage-stats")
    command(*start, "--port=6398", "--num-cpus=2", "--num-gpus=1")  # a GPU that is counted and not used
    try:
        words = ("-m", *TINY, "decode=ppl,greedy", "hydra/launcher=ray", "hydra.launcher.address=127.0.0.1:6398")
        two = "hydra.launcher.resources.sft.num_cpus=2"
        first = run(*words, two, outputs=tmp_path, RAY_AUTH_MODE="token").require()
        again = run(*words, outputs=tmp_path, RAY_AUTH_MODE="token").require()
        refused = run(*words, outputs=tmp_path, RAY_AUTH_MODE="disabled")
    finally:
        command("stop")
    assert first.computed()["sft"] == 1
    wheres = re.findall(r"^  (?:sft|score|complete)\w* +computed in .* \((\d+)\)", first.out, re.MULTILINE)
    assert len(set(wheres)) == len(wheres) > 3  # a process that had a GPU has ended, and given its memory back
    assert not again.computed()
    threads = {path.parent.name: manifest(path)["threads"] for path in artifacts(tmp_path)}
    assert (threads["sft"], threads["score"]) == (2, 1)
    assert refused.code == 1
    assert "no Ray cluster lets us in" in refused.err
    assert len(refused.err.strip().split("\n")) == 1
