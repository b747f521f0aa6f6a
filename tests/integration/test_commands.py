"""Every command that README and --help show, run as it stands but for a tiny model and few examples."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from genclspp.cli.words import key_of
from genclspp.report.page import provenance
from tests.cli import ROOT, TINY, TINY_RL, Warm, artifacts, environment, records

README = (ROOT / "README.md").read_text(encoding="utf-8")
HELP = (ROOT / "conf" / "config.yaml").read_text(encoding="utf-8")


def shown() -> list[str]:
    """The commands of README's table and of --help, without comments."""
    table = README.partition("| want | type |")[2].partition("\n\n")[0]
    spans = [span for span in re.findall(r"`([^`]+)`", table) if "=" in span]
    helped = re.findall(r"^ +(python .*?)(?: {2,}.*)?$", HELP, re.MULTILINE)
    return list(dict.fromkeys(span.removeprefix("python run.py ") for span in [*spans, *helped]))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all commands."""
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split, count in (("train", 24), ("validation", 8), ("test", 8)):
        rows = [
            f'{{"text": "{split} {"good" if k % 2 else "bad"} {k}", "label": "{k % 2}"}}' for k in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def complete(words: list[str], outputs: Path, data: Path) -> list[str]:
    """The words with DIR filled in, and what makes them quick, unless they set it themselves."""
    (base,) = artifacts(outputs, "base")[:1] or [data]
    filled = [
        re.sub("DIR(_or_FILE)?", str(base if word.startswith("model.path") else data), word) for word in words
    ]
    typed = {key_of(word) for word in filled}
    quick = [word for word in TINY if word not in _left_out(filled)]
    if "rl=expected" in filled:
        quick.append("rl.examples=2")
    elif any(key.startswith("rl.") for key in typed):
        quick += TINY_RL
    if "experiment=layouts" in filled:
        quick.append("layout=plain")  # tiny has no chat template
    return [*filled, *(word for word in quick if key_of(word) not in typed)]


def _left_out(words: list[str]) -> set[str]:
    """What of TINY would contradict the words, or change nothing beside them."""
    found = {"rl=none"} if any(word.startswith("rl.") for word in words) else set()
    if "sft.args.num_train_epochs=1" in words:
        found.add("sft.args.max_steps=1")
    if "experiment=layouts" in words:  # neither trains nor reads validation examples
        found |= {"sft.args.max_steps=1", "dataset.validation_size=8"}
    return found


@pytest.mark.parametrize("command", shown())
def test_a_command_that_is_shown_runs(warm: Warm, outputs: Path, data: Path, command: str):
    words = shlex.split(command)
    if words[:1] == ["python"]:
        words = words[1:]
    if words[:1] == ["run.py"]:
        words = words[1:]
    if words and words[0].startswith("scripts/"):
        if words[0] == "scripts/make_tables.py":  # of an experiment, which may have run before
            tried = complete([f"experiment={words[1]}"], outputs, data)
            warm.run(*tried, outputs=outputs).require()
            words = [*words, "--outputs", str(outputs)]
        else:
            words = complete(words, outputs, data)
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return
    warm.run(*complete(words, outputs, data), outputs=outputs).require()


def test_the_commands_are_found():
    assert len(shown()) > 20
    assert "-m strategy=icl,numeric decode=ppl" in " ".join(shown())


def test_the_command_of_a_record_makes_it_again(warm: Warm, tmp_path: Path) -> None:
    sides = ("strategy@train=icl", "strategy@infer=numeric,zero_shot")
    warm.run("experiment=pairings", *TINY, *sides, outputs=tmp_path).require()
    made = records(tmp_path, "pairings")
    assert len(made) == 2
    for record in made:
        _, _, *words = shlex.split(provenance.command(record))
        done = warm.run(*words, "tracking=none", outputs=tmp_path).require()
        assert not done.computed()
    assert records(tmp_path, "pairings") == made


def test_the_command_of_a_record_has_the_words_that_its_cell_reads(warm: Warm, tmp_path: Path) -> None:
    words = ("method=generative,svm", "strategy=icl,zero_shot", "strategy.icl.shots=1", "rl=none,expected")
    warm.run("-m", *TINY, *words, "rl.examples=2", "name=mixed", outputs=tmp_path).require()
    made = records(tmp_path, "mixed")
    assert len(made) == 5
    for record in made:
        _, _, *again = shlex.split(provenance.command(record))
        assert ("rl.examples=2" in again) == (record.get("rl") == "expected")
        assert any(word.startswith("model=") for word in again) == (record["method"] == "generative")
        assert not warm.run(*again, "tracking=none", outputs=tmp_path).require().computed()
