"""Records with their predictions: levels, gains, and what stands in their way."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genclspp.inference import metrics, predictions
from genclspp.inference.predictions import Predictions, Texts
from genclspp.report import results, statistics
from genclspp.report.results import RESAMPLED, Results
from genclspp.store.files import write_json
from genclspp.suggest import UserError

LABELS = ("a", "b", "c")
Record = dict[str, Any]


def predicted(seed: int, right: float, examples: int = 60) -> Predictions:
    """Predictions of which about a share `right` is right; gold labels are the same for all seeds."""
    gold = np.random.default_rng(0).integers(0, 3, examples)
    generator = np.random.default_rng(seed + 1)
    label = np.where(generator.random(examples) < right, gold, generator.integers(-2, 3, examples))
    return Predictions(
        *(LABELS, tuple(map(str, range(examples))), gold, label, np.maximum(label, 0)),
        *(np.full((examples, 3), 1 / 3), np.zeros((examples, 4)), ("",) * examples, np.zeros(examples, bool)),
    )


def add(root: Path, rl: str, seed: int, right: float, examples: int = 60, **changes: Any) -> Record:
    """Write the predictions of a cell, and its record."""
    key = f"{rl}{seed}{examples}"
    folder = root / "artifacts" / "predict" / key
    folder.mkdir(parents=True)
    found, texts = predicted(seed + 100 * len(rl), right, examples), Texts(("",) * examples)
    predictions.write(folder, "test", found, texts)
    measured = metrics.compute(predictions.rows(found, texts), LABELS)
    same = {"name": "dev", "dataset": "tickets", "train": "icl", "infer": "icl", "digest/test": str(examples)}
    record = {**same, "rl": rl, "seed": seed, "artifact/predict": key, **measured, **changes}
    write_json(root / "results" / record["name"] / f"{key}.json", record)
    return record


def sweep(root: Path, *, seeds: int = 3, **changes: Any) -> Results:
    found = [add(root, "none", seed, 0.5, **changes) for seed in range(seeds)]
    found += [add(root, "grpo", seed, 0.9, **changes) for seed in range(seeds)]
    return Results(found, root / "artifacts")


def test_a_baseline_without_decoder_and_rl_is_found_all_the_same(tmp_path: Path):
    found = [add(tmp_path, "none", 0, 0.5, method="generative", decode="ppl", **{"rl.examples": 5})]
    found += [add(tmp_path, rl, 0, 0.5, method="generative", decode="ppl") for rl in ("grpo", "expected")]
    svm = {
        name: value
        for name, value in found[0].items()
        if name not in ("train", "infer", "decode", "rl", "rl.examples")
    }
    results = Results([*found, svm | {"method": "svm"}], tmp_path)
    *generative, baseline = results.series
    assert [results.baseline_of(one, {"method": "svm"}) for one in generative] == [baseline] * 3
    assert results.baseline_of(baseline, {"method": "svm"}) is baseline
    assert results.baseline_of(baseline, {"method": "generative", "rl": "grpo"}) is generative[1]
    assert results.baseline_of(baseline, {"method": "generative"}) is None  # which of the three?
    assert results.baseline_of(generative[0], {"method": "knn"}) is None


def test_of_several_possible_baselines_there_is_none_and_a_cell_may_be_its_own(tmp_path: Path):
    shots = [
        add(tmp_path, rl, 0, 0.5, train="icl", infer="icl", **{"strategy.icl.shots": count})
        for count, rl in enumerate(("a", "bb", "ccc"))
    ]
    for record in shots:
        record["rl"] = "none"
    naive = add(tmp_path, "none", 0, 0.5, train="zero_shot", infer="zero_shot")
    results = Results([*shots, naive], tmp_path)
    *several, zero_shot = results.series
    icl = {"train": "icl", "infer": "icl"}
    assert results.baseline_of(zero_shot, icl) is None
    assert [results.baseline_of(one, icl) for one in several] == several
    assert [results.baseline_of(one, {"train": "zero_shot", "infer": "zero_shot"}) for one in several] == [
        zero_shot
    ] * 3


@pytest.mark.parametrize("metric", RESAMPLED)
def test_a_level_is_the_mean_of_what_the_records_say(metric: str, tmp_path: Path):
    found = sweep(tmp_path)
    for series in found.series:
        level = found.level(series, metric)
        assert level is not None
        assert level.mean == pytest.approx(np.mean([record[metric] for record in series.records]))
        assert level.low <= level.mean <= level.high


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_a_gain_and_its_reverse_mirror_each_other(metric: str, tmp_path: Path):
    found = sweep(tmp_path)
    worse, better = found.series
    there, back = found.gain(better, worse, metric), found.gain(worse, better, metric)
    assert there is not None
    assert back is not None
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low))
    assert there.p == pytest.approx(back.p)
    assert there.low > 0
    relative = found.relative_gain(better, worse, metric)
    assert relative is not None
    assert relative.mean > there.mean  # a share of a level below 1


def test_seeds_are_pairs_where_they_share_a_policy(tmp_path: Path):
    apart, shared = sweep(tmp_path / "apart"), sweep(tmp_path / "shared")
    for record in shared.records:
        record["artifact/sft"] = f"sft{record['seed']}"
    shared = Results(shared.records, shared.artifacts)
    gains = [found.gain(*reversed(found.series)) for found in (apart, shared)]
    scores = [apart.scores(series) for series in reversed(apart.series)]
    assert gains == [statistics.gain(*scores, paired_seeds=paired) for paired in (False, True)]  # type: ignore[arg-type]
    assert gains[0] != gains[1]


def test_a_cell_without_randomness_stands_for_every_seed(tmp_path: Path):
    trained = [add(tmp_path, "grpo", seed, 0.6 + 0.1 * seed) for seed in range(3)]
    for is_random, method in ((False, "crossed"), (True, "crossed, with lent seed variance")):
        fixed = add(tmp_path / str(is_random), "none", 0, 0.5, is_random=is_random)
        (tmp_path / "artifacts" / "predict" / "none060").mkdir(exist_ok=True)
        found = predictions.read(tmp_path / str(is_random) / "artifacts" / "predict" / "none060")
        predictions.write(tmp_path / "artifacts" / "predict" / "none060", "test", found, Texts(("",) * 60))
        gathered = Results([*trained, fixed], tmp_path / "artifacts")
        gain = gathered.gain(*gathered.series)
        assert gain is not None
        assert gain.method == method


def test_other_test_examples_and_missing_predictions_leave_no_gain(tmp_path: Path):
    found = [add(tmp_path, "none", 0, 0.5), add(tmp_path, "grpo", 0, 0.5, examples=50)]
    found += [add(tmp_path, "rloo", 0, 0.5, **{"artifact/predict": "elsewhere"})]
    found += [add(tmp_path, "expected", 0, 0.5, **{"digest/test": "other texts"})]
    gathered = Results(found, tmp_path / "artifacts")
    first, *others = gathered.series
    assert [gathered.gain(first, other) for other in others] == [None] * 3
    assert [gathered.on_same_examples(first, other) for other in others] == [False] * 3
    assert gathered.level(gathered.series[2]) is None
    assert gathered.values(gathered.series[2], "accuracy") == {0: found[2]["accuracy"]}
    assert gathered.scores(first, "ece") is None


def test_sweeps_are_read_by_name(tmp_path: Path):
    sweep(tmp_path)
    found = results.read(["dev"], tmp_path)
    assert {len(series.records) for series in found.series} == {3}
    with pytest.raises(UserError, match=r"no sweep 'deb'.*dev"):
        results.read(["deb"], tmp_path)


def test_two_records_of_the_same_choices_and_seed_are_told(tmp_path: Path):
    add(tmp_path, "none", 0, 0.5)
    add(tmp_path, "none", 0, 0.5, examples=50)
    with pytest.raises(UserError, match="two records with the same choices and seed 0"):
        results.read(["dev"], tmp_path)
