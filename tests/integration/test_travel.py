"""Outputs can be moved to another folder or machine: no artifact says where it was made."""

import re
import socket
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli import ROOT, TINY, TINY_RL, Warm, artifacts, records, timeless

SWEEP = ("-m", *TINY, *TINY_RL, "sft=full,lora,none", "rl=none,grpo")
FACTS = (*TINY, "strategy=[icl_similar,uncertainty]", "decode=greedy")


@pytest.fixture(scope="module")
def outputs(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("here") / "outputs"
    for words in (SWEEP, FACTS):
        warm.run(*words, outputs=made).require()
    return made


def content(path: Path) -> str:
    """What a file says; of a table its values and its metadata, of weights the header."""
    data = path.read_bytes()
    if path.suffix == ".parquet":
        return repr(pq.read_table(path).to_pylist()) + repr(pq.read_metadata(path).metadata)
    if path.suffix == ".safetensors":
        data = data[8 : 8 + int.from_bytes(data[:8], "little")]
    return data.decode()


def test_no_artifact_names_a_folder_or_the_machine(outputs: Path):
    files = [path for path in (outputs / "artifacts").rglob("*") if path.is_file()]
    stages = {path.relative_to(outputs / "artifacts").parts[0] for path in files}
    assert {"base", "sft", "rl", "score", "complete", "predict", "mine", "neighbours"} <= stages
    assert any(path.name == "adapter_config.json" for path in files)
    host = re.compile(rf"(?<!\w){re.escape(socket.gethostname())}(?!\w)")
    for path in files:
        text = content(path)
        assert str(outputs.parent) not in text, path
        assert str(ROOT) not in text, path
        # The vocabulary of a tokenizer may hold any word.
        assert path.name == "tokenizer.json" or not host.search(text), path


def test_no_artifact_is_a_pickle(outputs: Path):
    suffixes = {path.suffix for path in (outputs / "artifacts").rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".jsonl", ".parquet", ".safetensors", ".jinja", ".md", ".lock"}


def test_a_record_names_the_folder_of_its_policy(outputs: Path):
    found = records(outputs)
    assert any("policy" not in record for record in found)
    for record in found:
        chosen = [stage for stage in ("sft", "rl") if record[stage] != "none"]
        if chosen:
            key = record[f"artifact/{chosen[-1]}"]
            assert record["policy"] == f"artifacts/{chosen[-1]}/{key}"
            assert (outputs / record["policy"] / "policy").is_dir()


def test_everything_is_reused_where_it_was_moved_to(warm: Warm, outputs: Path, tmp_path: Path):
    before, known = records(outputs), artifacts(outputs)
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    outputs.rename(moved)
    try:
        for path in (moved / "results").rglob("*.json"):
            path.unlink()
        for words in (SWEEP, FACTS):
            done = warm.run(*words, outputs=moved).require()
            assert not done.computed()
            assert done.reused()["score"]
        assert [timeless(record) for record in records(moved)] == [timeless(record) for record in before]
        assert len(artifacts(moved)) == len(known)
    finally:
        moved.rename(outputs)
