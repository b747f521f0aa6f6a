"""What a person types, and what it must mean: the configuration table of the design, through the command line."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from genclspp.inference import predict
from genclspp.runs.wandb_files import Run, read_runs
from tests.cli import TINY, TINY_RL, Warm, artifacts, records, run, timeless

MATRIX = ("-m", "strategy@train=zero_shot,icl,numeric", "strategy@infer=zero_shot,icl,numeric")
NAMES = ("zero_shot", "icl", "numeric")
PAIRS = {(train, infer) for train in NAMES for infer in NAMES}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests of this file: what one has trained, another reuses."""
    return tmp_path_factory.mktemp("outputs")


def sides(outputs: Path, name: str) -> set[tuple[str, str]]:
    """(train, infer) of every record of a sweep."""
    found = [(record["train"], record["infer"]) for record in records(outputs, name)]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("-m", "strategy=icl,numeric", "decode=ppl"), {("icl", "icl"), ("numeric", "numeric")}),
        (("strategy=icl",), {("icl", "icl")}),
        (("strategy=icl", "strategy@infer=zero_shot"), {("icl", "zero_shot")}),
        (("strategy=[icl,numeric]",), {("icl+numeric", "icl+numeric")}),
        (
            ("strategy@train=[icl_similar,definition]", "strategy@infer=numeric"),
            {("icl_similar+definition", "numeric")},
        ),
        (("strategy@train=numeric",), {("numeric", "zero_shot")}),
        (
            ("-m", "strategy=[icl,numeric],zero_shot"),
            {("icl+numeric", "icl+numeric"), ("zero_shot", "zero_shot")},
        ),
        (
            ("-m", "strategy@train=[icl,numeric],icl_definition", "strategy@infer=icl"),
            {("icl+numeric", "icl"), ("icl_definition", "icl")},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_choices_mean_what_the_table_says(warm: Warm, outputs: Path, words, expected, request):
    name = re.sub(r"\W+", "_", request.node.callspec.id)
    warm.run(*TINY, *words, f"name={name}", outputs=outputs).require()
    assert sides(outputs, name) == expected


def test_the_first_sweep_of_everyone_writes_its_table(warm: Warm, outputs: Path):
    done = warm.run("-m", *TINY, "strategy=icl,numeric", "decode=ppl", "name=table", outputs=outputs).require()
    assert {record["decode"] for record in records(outputs, "table")} == {"ppl"}
    assert "2 cells, all checked" in done.out
    assert f"records: {outputs / 'results' / 'table'}" in done.out
    assert done.err == ""


def test_a_knob_turns_both_sides_or_one(warm: Warm, outputs: Path):
    def tokens(*words: str) -> tuple[int, int]:
        """What SFT and scoring have read."""
        name = f"knob{len(list((outputs / 'results').glob('knob*')))}"
        warm.run(*TINY, *words, f"name={name}", outputs=outputs).require()
        (record,) = records(outputs, name)
        return record["tokens/sft"], record["tokens/score"]

    none, three = tokens("strategy=zero_shot"), tokens("strategy=icl")
    five = tokens("strategy=icl", "strategy.icl.shots=5")
    assert none[0] < three[0] < five[0]
    assert none[1] < three[1] < five[1]
    assert tokens("strategy@train=icl", "train.icl.shots=5") == (five[0], none[1])
    assert tokens("strategy=icl", "strategy@infer=icl", "infer.icl.shots=5") == (three[0], five[1])


def test_a_knob_can_be_swept(warm: Warm, outputs: Path):
    warm.run("-m", *TINY, "strategy=icl", "strategy.icl.shots=1,3", "name=shots", outputs=outputs).require()
    found = records(outputs, "shots")
    assert len({record["artifact/sft"] for record in found}) == 2
    assert {record["strategy.icl.shots"] for record in found} == {1, 3}


def test_a_matrix_trains_once_per_training_strategy(warm: Warm, tmp_path: Path):
    first = warm.run(*TINY, *MATRIX, outputs=tmp_path).require()
    assert sides(tmp_path, "dev") == PAIRS
    assert first.computed()["sft"] == len(artifacts(tmp_path, "sft")) == 3
    assert first.reused()["sft"] == 6
    before = [timeless(record) for record in records(tmp_path)]

    again = warm.run(*TINY, *MATRIX, outputs=tmp_path).require()
    assert again.computed() == Counter()
    assert [timeless(record) for record in records(tmp_path)] == before

    both = warm.run(*TINY, *MATRIX, "decode=greedy,ppl", outputs=tmp_path).require()
    assert both.computed()["sft"] == both.computed()["rl"] == both.computed()["score"] == 0
    assert len(records(tmp_path)) == 18
    assert len(artifacts(tmp_path, "sft")) == 3

    table = warm.run(*TINY, "experiment=pairings", outputs=tmp_path).require()
    assert table.computed() == Counter()
    assert sides(tmp_path, "pairings") == PAIRS
    assert {record["decode"] for record in records(tmp_path, "pairings")} == {"ppl"}

    words = ("experiment=pairings", "hydra.mode=RUN", "strategy@infer=icl", "name=one")
    warm.run(*TINY, *words, outputs=tmp_path).require()
    assert sides(tmp_path, "one") == {("zero_shot", "icl")}


def test_the_matched_control_is_a_choice_that_sees_more_examples(warm: Warm, tmp_path: Path):
    words = [word for word in (*TINY, *TINY_RL) if not word.startswith(("rl=", "rl.ex", "sft.args.max"))]
    more = ("rl=none,matched,grpo", "rl.examples=null", "sft.args.num_train_epochs=1", "name=control")
    warm.run("-m", *words, *more, outputs=tmp_path).require()
    found = {record["rl"]: record for record in records(tmp_path, "control")}
    assert found.keys() == {"none", "matched", "grpo"}
    tokens = {name: record["tokens/sft"] for name, record in found.items()}
    assert tokens["none"] == tokens["grpo"]  # which share one SFT
    assert tokens["matched"] == 2 * tokens["none"]
    assert "artifact/rl" not in found["matched"]


def test_predictions_keep_the_whole_text_also_where_the_model_read_less(warm: Warm, tmp_path: Path):
    def rows(count: int, *, length: int) -> list[dict[str, str]]:
        return [
            {"text": f"number {k} is {name} {'!? ' * length}end", "label": name}
            for k in range(count)
            for name in ("red", "blue")
        ]

    written = {"train": rows(10, length=1), "validation": rows(4, length=1), "test": rows(1, length=900)}
    for split, lines in written.items():
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    words = (*(word for word in TINY if "_size" not in word), "dataset=local", f"dataset.path={tmp_path}")
    warm.run(*words, "decode=ppl", outputs=tmp_path / "outputs").require()
    (folder,) = artifacts(tmp_path / "outputs", "predict")
    for split, truncated in (("test", True), ("validation", False)):
        kept = predict.read(folder, split)
        known = {(row["text"], row["label"]) for row in written[split]}
        assert {(row.text, row.gold) for row in kept} <= known
        assert len(kept) == (2 if split == "test" else 4)  # RL's checks keep half of validation for themselves
        assert {row.truncated for row in kept} == {truncated}


def test_the_record_says_how_many_parameters_were_trained(warm: Warm, tmp_path: Path):
    words = ("-m", *TINY, *TINY_RL, "sft=full,lora,none", "rl=none,grpo", "+rl.args.max_steps=1")
    warm.run(*words, outputs=tmp_path).require()
    trained = {(record["sft"], record["rl"]): record.get("parameters/trained") for record in records(tmp_path)}
    whole = trained["full", "grpo"]
    assert trained["full", "none"] == trained["none", "grpo"] == whole
    assert trained["lora", "none"] == trained["lora", "grpo"]
    assert 0 < trained["lora", "grpo"] < whole
    assert trained["none", "none"] is None


def test_an_experiment_takes_another_model(warm: Warm, tmp_path: Path):
    words = ("experiment=pilot_rl", "dataset=tickets", "seed=0")
    warm.run(*TINY, *words, outputs=tmp_path).require()
    assert [record["model"] for record in records(tmp_path, "pilot_rl")] == ["tiny"]


def test_cells_that_fail_are_counted_at_the_end(warm: Warm, tmp_path: Path):
    # The second learns to give no numbers.
    words = ("-m", *TINY, "sft.args.max_steps=3", "sft.args.learning_rate=1e-4,1e30")
    done = warm.run(*words, outputs=tmp_path)
    assert done.code != 0
    assert len(records(tmp_path)) == 1
    assert "1 of 2 cells has failed" in done.out


def test_a_sweep_over_seeds_ends_in_means(warm: Warm, outputs: Path):
    done = warm.run("-m", *TINY, "strategy=icl,numeric", "seed=0,1", "name=seeds", outputs=outputs).require()
    assert "mean ± standard deviation over n = 2 seeds (0, 1)" in done.out
    assert re.findall(r"^ (icl|numeric) .* ± ", done.out, re.MULTILINE) == ["icl", "numeric"]


def test_a_seed_makes_the_record_and_the_curves(tmp_path: Path):
    words = (*TINY, *TINY_RL, "sft.args.max_steps=3", "sft.args.learning_rate=0.01", "decode=ppl")

    def carry_out(outputs: Path, seed: int) -> tuple[dict, list[dict]]:
        """The record, and the curves of RL, which samples."""
        run(*words, f"seed={seed}", outputs=outputs).require()
        (record,), (rl,) = records(outputs), artifacts(outputs, "rl")
        rows = [json.loads(line) for line in (rl / "training.jsonl").read_text().splitlines()]
        return timeless(record), [{name: row[name] for name in row if not is_time(name)} for row in rows]

    def is_time(name: str) -> bool:
        return name.endswith(("time", "runtime", "per_second"))

    first = carry_out(tmp_path / "one", 1)
    assert carry_out(tmp_path / "two", 1) == first
    record, curves = carry_out(tmp_path / "three", 2)
    assert record["nll"] != first[0]["nll"]
    assert curves != first[1]


@pytest.fixture(scope="module")
def tracked(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Run], list[dict]]:
    """The runs and the records of a sweep with SFT and RL."""
    outputs = tmp_path_factory.mktemp("tracked")
    words = [word for word in TINY if word not in ("tracking=none", "sft.args.max_steps=1")]
    more = ("sft.args.max_steps=3", "sft.args.logging_steps=1", "strategy=icl,numeric", "name=mirror")
    warm.run("-m", *words, *TINY_RL, *more, outputs=outputs).require()
    return read_runs(outputs / "wandb"), records(outputs, "mirror")


def test_every_stage_has_one_finished_run_in_the_group_of_the_sweep(tracked):
    runs, _ = tracked
    assert {one.group for one in runs} == {"mirror"}
    assert all(one.exit_code == 0 for one in runs)
    assert len({one.id for one in runs}) == len(runs)
    jobs = Counter(one.job_type for one in runs)
    assert jobs["sft"] == jobs["rl"] == jobs["predict"] == jobs["result"] == 2
    assert jobs["aggregate"] == 3  # each cell over its seeds, and the charts of the sweep


def test_runs_carry_the_flat_configuration_and_the_choices(tracked):
    runs, _ = tracked
    for one in [one for one in runs if one.job_type != "aggregate"]:
        assert one.config["dataset.train_size"] == 24
        assert one.config["sft.args.max_steps"] == 3
        assert one.config["model"] == "tiny"
        assert f"train:{one.config['train']}" in one.tags
    assert {one.config["train"] for one in runs if one.job_type == "sft"} == {"icl", "numeric"}


def test_training_runs_hold_curves(tracked):
    runs, _ = tracked
    for one in runs:
        losses = [row["loss"] for row in one.history if "loss" in row]
        rewards = [row["reward"] for row in one.history if "reward" in row]
        if one.job_type == "sft":
            assert len(losses) == 3
            assert all(loss > 0 for loss in losses)
        if one.job_type == "rl":
            assert rewards
            assert all(0 <= reward <= 1 for reward in rewards)
        if one.job_type in ("sft", "rl"):
            assert any("learning_rate" in row for row in one.history)


def test_result_runs_hold_the_metrics_of_the_records(tracked):
    runs, written = tracked
    results = {one.config["train"]: one for one in runs if one.job_type == "result"}
    assert len(written) == 2
    for record in written:
        summary = results[record["train"]].summary
        for metric in ("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "invalid_rate", "nll", "ece"):
            assert summary[metric] == pytest.approx(record[metric]), metric
        assert list(results[record["train"]].folder.rglob("files/media/table/predictions*.json"))
