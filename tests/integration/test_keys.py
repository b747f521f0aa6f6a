"""Every key counts: another value changes what is computed, or is refused with a sentence."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as compose_config
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from genclspp import pipeline
from genclspp.cli import compose, effects
from genclspp.models import folders
from genclspp.runs.plan import Memory
from genclspp.settings import ModelSettings
from genclspp.store.artifacts import Store
from genclspp.task import SPLITS
from tests.cli import Warm
from tests.tiny import TINY

CONF = Path(compose.CONF)
# Keys that change no stage, and what they are for. All others have to change one, or to be refused.
EXEMPT = {
    "name": "places the record",
    "outputs": "places everything",
    "tracking": "mirrors what is computed",
    "metric": "is computed from predictions, and stands in the record alone",
    "predict.batch_size": "suits the device; changes results by rounding alone",
    "model.attention": "is a kernel that suits the device; changes results by rounding alone",
    "model.trust_remote_code": "is a permission: it loads what is refused without it",
}
TURNS = "{% for m in messages %}<|start|>{{ m.role }} {{ m.content }}<|end|>{% endfor %}"
TEMPLATE = TURNS + "{{ think }}{{ enable_thinking }}"
SMALL = (
    "model=tiny",
    "tracking=none",
    "dataset.train_size=16",
    "dataset.validation_size=8",
    "dataset.test_size=4",
)
SAMPLING = (
    *("rl.args.per_device_train_batch_size=4", "rl.args.num_generations=2"),
    "rl.examples=8",
)
# Another value for a key whose own does not suggest one.
OTHERS: dict[str, Any] = {
    "dataset.subset": "other",
    "dataset.revision": "other",
    "dataset.rationale": "why",
    "dataset.id": "number",
    "dataset.ambiguous": "doubtful",
    "dataset.validation_fraction": 0.4,
    "dataset.instruction": "Sort the text.",
    "dataset.train_size": 12,
    "dataset.validation_size": 4,
    "dataset.test_size": 3,
    "model.package": "nonesuch",
    "model.gguf": ["nonesuch.gguf"],
    "model.sha256": "0",
    "model.revision": "other",
    "model.config": {"model_type": "nonesuch"},
    "model.overrides": {"attention_dropout": 0.1},
    "model.chat_args": {"think": "!"},
    "model.bos": "<|pad|>",
    "model.eos": "<|pad|>",
    "model.max_length": 110,
    "model.advice": {"full": {"learning_rate": 0.5}},
    "sft.lora": {"r": 2},
    "rl.learner": {"_target_": "genclspp.training.learners.Expected"},
    "rl.examples": 6,
    "rl.held_out": 2,
    "reasoning.max_thought_tokens": 20,
    "predict.max_new_tokens": 9,
    "predict.validation": 2,
    "numeric.shuffle": 1,
    "uncertainty.scorers": ["model"],
    "uncertainty.confidence": "gold",
    "uncertainty.fraction": 0.4,
    "icl.select": "similar",
    "icl_similar.select": "fixed",
    "icl_similar.embedder": "./other",
}
SWITCHES = {
    "dataset.test_from": ("validation", "train"),
    "dataset.several_labels": ("drop", "stop"),
    "dataset.source": ("tickets", "local"),
    "dataset.language": ("en", "zh"),
    "model.layout": ("plain", "single"),
    "model.precision": ("float32", "bfloat16"),
    "sft.packing": ("tree", "none"),
    "rl.focus": ("all", "unsolved"),
    "rl.best": ("accuracy", "reward"),
    "decode.normalise": ("mean", "sum"),
}

WRONG_TYPE = r"expected (a string|an integer|a number$|true or false|a list|a mapping)"


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


# Which of these keys count depends on the splits that a data set has.
WITH_TEST, WITHOUT_TEST = ("dataset.splits",), ("dataset.test_from", "dataset.validation_fraction")


# (words of the choice, the sections whose keys are walked)
CASES: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    *(((f"dataset={name}",), ("dataset",)) for name in choices("dataset")),
    (("dataset=local", "dataset.test_from=train"), ("dataset",)),
    *(((f"model={name}",), ("model",)) for name in choices("model")),
    *(((f"sft={name}",), ("sft",)) for name in choices("sft")),
    *(((f"rl={name}",), ("rl", "sft")) for name in choices("rl")),
    (("rl=none", "sft=none"), ("rl", "sft")),
    (("rl=expected", "rl.focus=unsolved"), ("rl",)),
    (("rl=expected", "rl.focus=rest"), ("rl",)),
    *(((f"reasoning={name}", "sft=none"), ("reasoning",)) for name in choices("reasoning")),
    *(((f"decode={name}",), ("decode", "predict", "seed", "name", "outputs")) for name in choices("decode")),
    *(
        ((f"{place}={name}",), ("strategy", "train", "infer"))
        for name in choices("strategy")
        for place in ("strategy", "strategy@train", "strategy@infer")
    ),
    (("method=knn",), ("method",)),
    (("method=head", "rl=none"), ("sft", "model", "rl")),
    (("method=svm", "sft=none"), ("method", "dataset", "model", "sft", "rl", "decode", "reward", "predict")),
    (("reward=correct",), ("reward",)),
    (("reward=correct_parsed",), ("reward",)),
    (("reward=correct_format", "reasoning=think", "sft=none"), ("reward",)),
    (("reward=abstain", "strategy=uncertainty"), ("reward",)),
    (("metric=ordinal",), ("metric",)),
]


class World:
    """Data and models that the choices are planned with, and what has been planned."""

    def __init__(self, root: Path) -> None:
        self.root, self.memory = root, Memory()
        self.model, self.other_model = self.make_model(0), self.make_model(1)
        self.file, self.other_file = self.make_folder("few", 60), self.make_folder("more", 90)

    def make_model(self, seed: int) -> Path:
        config = {**TINY, "max_position_embeddings": 4096}
        folder = folders.resolve(ModelSettings(config=config, seed=seed), Store(self.root)).folder
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": TEMPLATE}))
        return folder

    def rows(self, labels: Sequence[str], count: int = 60, **columns: str) -> list[dict[str, Any]]:
        text, label, id = (columns.get(name) or name for name in ("text", "label", "id"))
        rows = [
            {
                text: f"text {k} about {labels[k % len(labels)]}",
                label: [labels[k % len(labels)]],
                id: str(k),
                "why": "so",
            }
            for k in range(count)
        ]
        rows.append({text: "two", label: [labels[0], labels[1]], id: "two", "why": "so"})
        return [row | {"number": f"n{k}", "doubtful": "true"} for k, row in enumerate(rows)]

    def make_folder(self, name: str, count: int) -> Path:
        """A folder with all splits, beside one with a train split alone."""
        for folder, splits in ((name, SPLITS), (f"{name}_train", SPLITS[:1])):
            (self.root / folder).mkdir()
            for place, split in enumerate(splits):
                rows = self.rows(["up_side", "down"], count + place)
                lines = (json.dumps(row | {"number": f"{split}{k}"}) for k, row in enumerate(rows))
                (self.root / folder / f"{split}.jsonl").write_text("\n".join(lines))
        return self.root / name

    def make_hub(self, choice: str, dataset: Mapping[str, Any]) -> Path:
        """A data set as a preset expects it, saved on this machine."""
        from datasets import Dataset, DatasetDict

        labels = list(
            dataset["labels"] or [*dict.fromkeys([*dataset["names"], *dataset["definitions"]]), "in_side", "out"]
        )
        columns = {name: dataset[name] for name in ("text", "label", "id")}
        parts = {
            split: [
                row | {columns["id"] or "id": f"{split}-{k}", "number": f"{split}{k}"}
                for k, row in enumerate(self.rows(labels, count, **columns))
            ]
            for split, count in (("train", 60), ("validation", 40), ("test", 41))
        }
        folder = self.root / choice
        DatasetDict({split: Dataset.from_list(rows) for split, rows in parts.items()}).save_to_disk(str(folder))
        return folder

    def plan(self, config: DictConfig) -> Counter[tuple[str, str | None]]:
        cell = compose.cell(config)
        plan = pipeline.plan(cell, self.memory)
        for step in plan.steps:
            is_linear = step.role == "mine" and not step.call.keywords["readings"]
            if is_linear and not plan.holds(step.artifact):
                plan.carry_out(step)  # a linear model: cheap, and what follows has no key before
                return self.plan(config)
        return Counter((step.role, step.artifact.key) for step in plan.steps)


@pytest.fixture(scope="module", autouse=True)
def hydra() -> Iterator[None]:
    compose.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(compose.CONF, version_base="1.3"):
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def composed(*words: str) -> DictConfig:
    return compose_config("config", list(words), return_hydra_config=True)


def base(world: World, words: Sequence[str]) -> DictConfig:
    """A configuration that can be planned, with the choices that `words` make."""
    group, _, choice = words[0].partition("=")
    more = [f"outputs={world.root}", *SMALL]
    learner = next((word for word in words if word.startswith("rl=")), "")
    if learner in ("", "rl=grpo", "rl=rloo"):
        more += SAMPLING
    if group == "dataset" and choice == "local":
        folder = f"{world.file}_train" if "dataset.test_from=train" in words else world.file
        more += [f"dataset.path={folder}", "dataset.several_labels=drop"]
    elif group == "dataset" and choice != "tickets":
        dataset = composed(f"{group}={choice}", *(["dataset.path=x"] if choice == "hub" else [])).dataset
        more += [f"dataset.path={world.make_hub(choice, dataset)}", "dataset.several_labels=drop"]
    if group == "model":
        more.remove("model=tiny")
    if group == "model" and choice != "tiny":
        bare = ["model.package=null", "model.gguf=[]", "model.sha256=null", "model.bos=null", "model.eos=null"]
        more += [f"model.path={world.model}", *bare]
    made = composed(*more, *words)
    if group == "model" and choice != "tiny":
        made.model.overrides, made.model.as_decoder = {}, False  # what fits another model
    return made


def leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and (value or f"{prefix}{name}" not in OTHERS):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def other(world: World, key: str, value: Any, config: DictConfig) -> Any:
    """Another value of the right type."""
    if key == "dataset.path":
        return f"{config.dataset.path}_other" if config.dataset.source == "hub" else str(world.other_file)
    if key == "model.path":
        return str(world.other_model)
    if key == "dataset.labels":
        return ["up_side", "down", "out", "in_side"] if value is None else list(reversed(value))
    if key in ("dataset.names", "dataset.definitions"):
        return {"refund": "Money."}
    for known, found in OTHERS.items():
        if key == known or key.endswith(f".{known}"):
            return found
    for known, options in SWITCHES.items():
        if key == known:
            return options[value == options[0]]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return 2 * value or 1
    if isinstance(value, float):
        return value / 2 or 0.5
    if isinstance(value, list):
        return [*value, "other"]
    assert isinstance(value, str), f"{key}={value!r}: say in OTHERS what else it may be"
    return f"{value}x"


@contextmanager
def changed(config: DictConfig, key: str, value: Any) -> Iterator[None]:
    """The configuration with another value, as the command line would set it."""
    section: Any = config
    *places, name = key.split(".")
    for place in places:
        section = section[place]
    before = section._content.pop(name)  # else its node takes the new value
    with open_dict(config):
        section[name] = value
    try:
        yield
    finally:
        section._content[name] = before


@pytest.mark.parametrize(("words", "sections"), CASES, ids=lambda value: "-".join(value))
def test_every_key_counts_or_is_refused(world: World, words: tuple[str, ...], sections: tuple[str, ...]):
    config = base(world, words)
    before = world.plan(config)
    plain: Any = OmegaConf.to_container(config, resolve=True)
    walked = {name: plain[name] for name in sections if plain.get(name) is not None}
    idle = []
    moot = WITH_TEST if "dataset.test_from=train" in words else WITHOUT_TEST
    for key, value in leaves(walked):
        if any(key == name or key.startswith(f"{name}.") for name in (*EXEMPT, *moot)):
            continue
        again = other(world, key, value, config)
        assert again != value, key
        with changed(config, key, again):
            try:
                effects.check(Typed(config, key), [compose.cell(config)])
                if world.plan(config) == before:
                    idle.append(f"{key}={again}")
            except (ValueError, OSError) as error:
                if not is_about(str(error), key, again):
                    idle.append(f"{key}={again}: {error}")
    assert not idle


def is_about(sentence: str, key: str, value: Any) -> bool:
    """Whether a sentence refuses a key, or its value for more than its type."""
    if key == "dataset.source":  # whose labels differ
        return True
    names = key, key.rpartition(".")[2], str(value), f"{key.partition('.')[0]}="
    return any(name in sentence for name in names) and not re.search(WRONG_TYPE, sentence)


class Typed:
    """Hydra's own configuration, with one word that was typed."""

    def __init__(self, config: DictConfig, key: str) -> None:
        self.overrides, self.runtime = config.hydra.overrides.copy(), config.hydra.runtime
        self.overrides.task = [f"{key}=…"]


EXPERIMENT = """# @package _global_
name: mine
rl:
  solved: 0.5
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      seed: 0,1
"""


def test_a_key_of_an_experiment_without_effect_is_refused(warm: Warm, tmp_path: Path):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(EXPERIMENT)
    words = (f"--config-dir={tmp_path / 'conf'}", "model=tiny", "tracking=none", "experiment=mine")
    done = warm.run(*words[:1], words[-1], "dataset.train_size=80", outputs=tmp_path / "outputs")
    assert done.err == (
        "error: rl.focus=all leaves out no solved example: rl.solved needs rl.focus=unsolved "
        "(set by experiment=mine)\n"
    )
    grids = EXPERIMENT.replace("rl:\n  solved: 0.5", "grids:\n  - rl.solved: 0.5")
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(grids)
    assert warm.run(*words[:1], words[-1], "dataset.train_size=80", outputs=tmp_path / "outputs").err == done.err
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(EXPERIMENT)
    # Other choices are the command line's, and the experiment cannot know them.
    rest = ("rl=none", "seed=0", *SMALL[2:], "sft.args.max_steps=1")
    warm.run(*words, *rest, outputs=tmp_path / "outputs").require()


def test_a_key_that_one_cell_of_a_sweep_uses_stops_no_sweep(warm: Warm, tmp_path: Path):
    words = ("-m", *SMALL, "sft.args.max_steps=1", "rl=none", "decode=ppl,greedy", "predict.max_new_tokens=9")
    assert "2 cells" in warm.run(*words, outputs=tmp_path).require().out
    done = warm.run(*words[:-2], "decode=ppl,constrained", words[-1], outputs=tmp_path)
    assert "decode=ppl writes no completion: predict.max_new_tokens needs decode=greedy" in done.err
