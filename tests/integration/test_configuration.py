"""Every choice composes into a checked cell; nothing is loaded for it."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hydra import compose as compose_config
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from genclspp.cli import compose, tables
from genclspp.cli.grid import jobs
from genclspp.report.records import path_of
from genclspp.report.results import Results
from genclspp.report.table import build
from genclspp.settings import Cell

CONF = Path(compose.CONF)
PLACES = {"local": "path=somewhere", "hub": "path=some/where"}


def choices(group: str) -> list[str]:
    found = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    assert found, group
    return found


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    compose.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(compose.CONF, version_base="1.3"):
        yield


def composed(*words: str) -> DictConfig:
    return compose_config("config", list(words), return_hydra_config=True)


def cell(*words: str) -> Cell:
    return compose.cell(composed(*words))


@pytest.mark.parametrize("choice", choices("model"))
def test_every_model_composes(choice: str):
    more = [f"model.{PLACES[choice]}"] if choice in PLACES else []
    made = cell(f"model={choice}", *more)
    assert made.choices["model"] == choice
    assert made.model.path or made.model.config


def test_records_of_the_generative_method_are_named_as_before_there_were_others():
    made = cell()
    before = {word: choice for word, choice in made.choices.items() if word != "method"}
    assert path_of(made) == path_of(replace(made, choices=before))
    assert path_of(made) != path_of(cell("method=svm"))


@pytest.mark.parametrize("choice", choices("dataset"))
def test_every_dataset_composes(choice: str):
    more = [f"dataset.{PLACES[choice]}"] if choice in PLACES else []
    named = {"local": "somewhere", "hub": "where"}  # data of one's own has the name of its folder
    assert cell(f"dataset={choice}", *more).choices["dataset"] == named.get(choice, choice)


@pytest.mark.parametrize("choice", choices("strategy"))
@pytest.mark.parametrize("side", ["strategy", "strategy@train", "strategy@infer"])
def test_every_strategy_composes_at_every_place(side: str, choice: str):
    made = cell(f"{side}={choice}")
    chosen = {"train": made.choices["train"], "infer": made.choices["infer"]}
    if side == "strategy":
        assert set(chosen.values()) == {choice}
        assert made.train == made.infer
    else:
        mine = side.removeprefix("strategy@")
        assert chosen == {"train": "zero_shot", "infer": "zero_shot"} | {mine: choice}
    strategies = made.infer if side == "strategy@infer" else made.train
    assert bool(strategies) == (choice != "zero_shot")


@pytest.mark.parametrize(
    ("group", "choice"),
    [(g, c) for g in ("decode", "sft", "rl", "reward", "metric", "reasoning", "tracking") for c in choices(g)],
)
def test_every_other_choice_composes(group: str, choice: str):
    partners = {"abstain": "strategy=uncertainty", "correct_format": "reasoning=think"}
    made = cell(f"{group}={choice}", *([partners[choice]] if choice in partners else []))
    assert made.choices.get(group, choice) == choice


# Of experiments with many cells, one data set and seed.
FEW = {"main": ("dataset=trec", "seed=0")} | dict.fromkeys(("decoders", "demo_pairings", "shots"), ("seed=0",))


@cache
def expanded(experiment: str) -> list[Cell]:
    config = composed(f"experiment={experiment}", *FEW.get(experiment, ()))
    assert str(config.hydra.mode).endswith("MULTIRUN")
    return [compose.cell(one.config) for one in jobs(config)]


@pytest.mark.parametrize("choice", choices("experiment"))
def test_every_experiment_expands_into_different_valid_cells(choice: str):
    cells = expanded(choice)
    assert len(cells) > 1
    same = [
        one for one in cells if one.method is not None
    ]  # a method without prompts is once in each grid over them
    assert len({(*one.choices.items(), *one.knobs.items(), one.seed) for one in cells}) >= len(cells) - len(same)
    assert {one.sweep for one in cells} == {choice}


@pytest.mark.parametrize("choice", choices("experiment"))
def test_the_cells_of_an_experiment_make_its_tables(choice: str):
    numbers = dict.fromkeys(("accuracy", "macro_f1", "invalid_rate", "seconds", "tokens/score"), 0.5)
    cells = {str((one.choices, one.knobs, one.seed)): one for one in expanded(choice)}.values()
    records = [{"name": choice, "seed": one.seed, **one.choices, **one.knobs, **numbers} for one in cells]
    for name, about in tables.read(tables.FOLDER / f"{choice}.yaml").items():
        made = build(Results(records, Path("nowhere")), about, name)
        assert len(made.entries) > 1
        assert all(entry.is_baseline or entry.points == 0 for entry in made.entries.values()) or not about.baseline
        assert not about.baseline or any(entry.is_baseline for entry in made.entries.values())
        assert {row.block for row in made.rows} <= {*about.blocks} if about.blocks else True


PAIRS = [  # every model with some of the experiments, and every experiment with some of the models
    (model, choices("experiment")[(place + step) % len(choices("experiment"))])
    for place, model in enumerate(choices("model"))
    for step in range(0, len(choices("experiment")), 3)
]


@pytest.mark.parametrize(("model", "choice"), PAIRS)
def test_every_experiment_takes_every_model(model: str, choice: str):
    words = [f"model={model}", *([f"model.{PLACES[model]}"] if model in PLACES else [])]
    assert cell(f"experiment={choice}", *words).model == cell(*words).model


def test_an_experiment_may_be_several_grids_and_the_command_line_comes_last():
    cells = [compose.cell(one.config) for one in jobs(composed("experiment=warmup"))]
    found = {(one.choices["sft"], one.choices["rl"]) for one in cells}
    assert found == {("none", rl) for rl in ("none", "grpo", "expected")} | {
        ("full", rl) for rl in ("none", "matched", "grpo", "expected")
    }
    assert len(cells) == 3 * len(found)
    cells = [compose.cell(one.config) for one in jobs(composed("experiment=warmup", "rl=none", "seed=1"))]
    assert {(one.choices["sft"], one.choices["rl"], one.seed) for one in cells} == {
        ("none", "none", 1),
        ("full", "none", 1),
    }


def test_a_grid_is_a_mapping():
    with pytest.raises(ValueError, match=r"grids holds 'a'; expected mappings such as \{rl: 'none,grpo'\}"):
        jobs(composed("grids=[a]"))


def test_the_pairings_are_the_three_by_three_matrix():
    cells = [compose.cell(one.config) for one in jobs(composed("experiment=pairings"))]
    names = ("zero_shot", "icl", "numeric")
    assert [(one.choices["train"], one.choices["infer"]) for one in cells] == [
        (train, infer) for train in names for infer in names
    ]


def test_the_matched_control_trains_by_sft_alone_on_as_many_examples_as_rl():
    matched, grpo = (cell(f"rl={name}", "rl.examples=64", "sft=lora") for name in ("matched", "grpo"))
    assert matched.sft.extra_examples == grpo.rl.examples == 64
    assert grpo.sft.extra_examples == 0
    assert matched.rl.learner is None
    assert cell("rl=matched").sft.extra_examples == 256
    matched, grpo = (cell(f"rl={name}", "rl.args.num_train_epochs=3") for name in ("matched", "grpo"))
    assert matched.sft.extra_epochs == grpo.rl.args["num_train_epochs"] == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("rl=matched", "sft=none"), r"sft\.extra_examples=256 extends SFT, found sft=none"),
        (("rl=grpo", "sft.extra_examples=1"), r"sft\.extra_examples=1 is the control for RL, found rl=grpo"),
    ],
)
def test_extra_examples_are_for_sft_without_rl(words: tuple[str, ...], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        cell(*words)


def test_library_arguments_keep_the_librarys_names():
    made = cell("sft=lora", "sft.args.weight_decay=0.5", "+sft.lora.bias=none", "rl=grpo", "rl.args.beta=0.5")
    assert made.sft.args["weight_decay"] == 0.5
    assert made.sft.lora is not None
    assert made.sft.lora["bias"] == "none"
    assert made.rl.args["beta"] == 0.5


@pytest.mark.parametrize("learner", choices("rl"))
@pytest.mark.parametrize("sft", choices("sft"))
@pytest.mark.parametrize("choice", [name for name in choices("model") if name not in PLACES])
def test_a_preset_of_a_model_decides_for_no_other_group(choice: str, sft: str, learner: str):
    words = (f"sft={sft}", f"rl={learner}")
    if (sft, learner) == ("none", "matched"):
        return  # refused, see above
    made, plain = cell(f"model={choice}", *words), cell("model=hub", "model.path=some/where", *words)
    assert (made.sft.lora is not None) == (sft == "lora")
    advised = ("learning_rate", "num_train_epochs")
    for ours, theirs in ((made.sft, plain.sft), (made.rl, plain.rl)):
        assert {name: value for name, value in ours.args.items() if name not in advised} == {
            name: value for name, value in theirs.args.items() if name not in advised
        }
        assert replace(ours, args={}) == replace(theirs, args={})
    assert made.rl.args.keys() == plain.rl.args.keys()
    advice = OmegaConf.to_container(composed(f"model={choice}").model.advice)
    expected = {**plain.sft.args, **advice.get(sft, {})}
    assert made.sft.args == {name: expected[name] for name in plain.sft.args}
    method = "grpo" if learner == "rloo" else learner
    assert made.rl.args == {**plain.rl.args, **advice.get(method, {})}


def test_the_command_line_comes_before_an_experiment_before_advice_before_the_group():
    word = "sft.args.learning_rate=1"
    assert cell("model=smollm2", word).sft.args["learning_rate"] == 1
    advised, plain = (cell(f"model={name}", "sft=lora").sft.args["learning_rate"] for name in ("smollm2", "tiny"))
    assert advised != plain
    assert cell("model=smollm2", "model.advice.full.learning_rate=2").sft.args["learning_rate"] == 2
    rates = [cell("experiment=pilot_rl", *more).rl.args["learning_rate"] for more in ((), ("model=qwen2_5_0_5b",))]
    assert rates == [3e-5, 3e-5]
    assert cell("experiment=pilot_rl", "rl.args.learning_rate=7").rl.args["learning_rate"] == 7


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("+model.advice.ful.learning_rate=1", r"model\.advice\.ful; did you mean 'full'\?"),
        (
            "+model.advice.lora.target_module=q",
            r"model\.advice\.lora\.target_module; did you mean 'target_modules'",
        ),
    ],
)
def test_advice_that_no_group_asks_for_is_refused(word: str, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        cell(word)


@pytest.mark.parametrize("choice", choices("precision"))
def test_every_precision_composes(choice: str):
    assert cell("model=smollm2", f"precision={choice}").choices["precision"] == choice
    assert cell("model=tiny").choices["precision"] == "float32"  # as its preset says
