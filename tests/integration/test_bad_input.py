"""Bad input stops with one clear sentence, before anything is computed, and leaves nothing behind."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli import TINY, TINY_RL, Done, Warm, artifacts, records, run

Words = tuple[str, ...]


class World:
    """Where bad input is made: data and models that are good but for one thing."""

    def __init__(self, root: Path, base: Path) -> None:
        self.root, self.base = root, base

    def data(self, **changed: Sequence[Any]) -> Words:
        """A folder of splits, some of them replaced by other rows: objects, or lines as they are."""
        folder = self.root / f"data{len(list(self.root.iterdir()))}"
        for split, count in (("train", 12), ("validation", 6), ("test", 6)):
            rows = changed.get(split, self.rows(split, count))
            self.write(f"{folder.name}/{split}.jsonl", *rows)
        return "dataset=local", f"dataset.path={folder}"

    def rows(self, word: str, count: int, labels: Sequence[str] = ("red", "blue")) -> list[dict[str, str]]:
        names = [labels[k % len(labels)] for k in range(count)]
        return [{"text": f"{word} {k} is {name}", "label": name} for k, name in enumerate(names)]

    def file(self, name: str, *lines: Any) -> Words:
        return "dataset=local", f"dataset.path={self.write(name, *lines)}"

    def write(self, name: str, *lines: Any) -> Path:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        kept = [line if isinstance(line, str | bytes) else json.dumps(line) for line in lines]
        path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in kept))
        return path

    def model(self, change: Callable[[Path], object]) -> Words:
        folder = self.root / f"model{len(list(self.root.iterdir()))}"
        shutil.copytree(self.base, folder)
        (folder / "manifest.json").unlink()
        change(folder)
        return "model=local", f"model.path={folder}"


def configured(**values: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def cut(name: str, length: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


# what is bad -> (how to make it, what the sentence must contain)
CASES: dict[str, tuple[Callable[[World], Words], Words]] = {
    # the command line
    "unknown strategy": (lambda w: ("strategy=icll",), ("strategy=icll", "did you mean 'icl'?")),
    "unknown strategy of a side": (lambda w: ("strategy@train=numerical",), ("numerical", "'numeric'")),
    "unknown group": (lambda w: ("strtegy=icl",), ("strtegy", "did you mean 'strategy'?")),
    "unknown decoder": (lambda w: ("decode=pp",), ("decode=pp", "did you mean 'ppl'?")),
    "unknown experiment": (lambda w: ("experiment=none",), ("experiment=none", "pairings")),
    "unknown key at the top": (lambda w: ("+foo=1",), ("'foo'",)),
    "null for a choice": (lambda w: ("sft=null",), ("sft=null", "known: full, lora, none")),
    "several values without -m": (lambda w: ("strategy=icl,numeric",), ("strategy=icl,numeric", "-m")),
    "half a list": (lambda w: ("strategy=[icl",), ("strategy=[icl", "key=[a,b]")),
    "no value": (lambda w: ("dataset.path",), ("'dataset.path'", "key=value")),
    "typo in a nested key": (lambda w: ("dataset.train_sise=3",), ("dataset.train_sise", "'dataset.train_size'")),
    "typo in an argument of TRL": (lambda w: ("sft.args.learning_rat=1",), ("sft.args.learning_rat", "SFTConfig")),
    "typo in a knob": (lambda w: ("strategy=icl", "strategy.icl.shot=5"), ("strategy.icl.shot", "icl.shots")),
    "knob of what is not chosen": (lambda w: ("strategy.icl.shots=5",), ("strategy.icl.shots", "strategy=icl is")),
    "text for a number": (lambda w: ("dataset.train_size=many",), ("dataset.train_size='many'", "an integer")),
    "fraction for a whole number": (lambda w: ("seed=1.5",), ("seed=1.5", "an integer")),
    "text for a truth": (lambda w: ("sft.enabled=maybe",), ("sft.enabled='maybe'", "true or false")),
    "text for a number of TRL's": (lambda w: ("sft.args.max_steps=x",), ("sft.args.max_steps='x'", "int")),
    # keys without effect
    "a file for the built-in data": (
        lambda w: ("dataset.path=mine.csv",),
        ("dataset=tickets reads no file: dataset.path needs dataset=local",),
    ),
    "a folder for a model from a package": (
        lambda w: ("model=minilm", "model.path=/no/such/folder"),
        ("model=minilm takes its weights from the installed package", "model.path needs model=local"),
    ),
    "a key twice": (lambda w: ("seed=1", "seed=2"), ("seed=1 and seed=2 set the same key",)),
    "a choice twice": (lambda w: ("decode=ppl", "decode=greedy"), ("decode=ppl and decode=greedy",)),
    "columns of the built-in data": (lambda w: ("dataset.text=sentence",), ("dataset.text needs dataset=local",)),
    "definitions that nobody reads": (
        lambda w: ("dataset.definitions={refund: Money.}",),
        ("no prompt shows definitions: dataset.definitions needs strategy=definition",),
    ),
    "training arguments without SFT": (
        lambda w: ("sft=none", "strategy=icl", "sft.args.learning_rate=1e-4"),
        ("sft=none fine-tunes nothing: ", "needs sft=full or sft=lora"),
    ),
    "examples of RL without RL": (
        lambda w: ("rl=none", "rl.examples=5"),
        ("rl.examples needs rl=grpo", "rl=matched"),
    ),
    "a reward without RL": (lambda w: ("reward=correct_parsed",), ("reward needs rl=grpo",)),
    "solved without a focus": (
        lambda w: (*TINY_RL, "rl.solved=0.5"),
        ("rl.focus=all leaves out no solved example: rl.solved needs rl.focus=unsolved",),
    ),
    "a warm-up of all": (lambda w: (*TINY_RL, "rl.warmup=0.5"), ("rl.warmup needs rl.focus=rest",)),
    "a length of thoughts that are not thought": (
        lambda w: ("reasoning.max_thought_tokens=9",),
        ("reasoning.max_thought_tokens needs reasoning=think",),
    ),
    "a length of completions that nobody writes": (
        lambda w: ("decode=ppl", "predict.max_new_tokens=9"),
        ("decode=ppl writes no completion: predict.max_new_tokens needs decode=greedy",),
    ),
    "folds of zero-shot scorers": (
        lambda w: ("strategy=uncertainty", "strategy.uncertainty.scorers=[model]", "strategy.uncertainty.folds=3"),
        ("no scorer is trained out of fold: strategy.uncertainty.folds needs one of tfidf, trained",),
    ),
    "training prompts that nobody reads": (
        lambda w: ("sft=none", "strategy=icl", "strategy@train=icl"),
        ("sft=none and rl=none read no training prompt: strategy@train needs SFT or RL",),
    ),
    "a seed of weights that are not random": (
        lambda w: (*w.model(lambda folder: None), "model.seed=1"),
        ("model.seed needs model.config",),
    ),
    "splits of one file": (
        lambda w: (*w.file("one.jsonl", *w.rows("t", 20)), "dataset.test_from=train", "dataset.splits.test=dev"),
        ("one.jsonl is one file: dataset.splits.test needs a folder",),
    ),
    "epochs under a number of steps": (
        lambda w: ("sft.args.num_train_epochs=2",),
        ("sft.args.max_steps alone sets how long to train",),
    ),
    "unknown word": (lambda w: ("dataset.language=fr",), ("dataset.language='fr'", "en, zh")),
    "a batch of none": (lambda w: ("predict.batch_size=0",), ("predict.batch_size=0", "1 or more")),
    "a training batch of none": (
        lambda w: ("sft.args.per_device_train_batch_size=0",),
        ("sft.args.per_device_train_batch_size=0",),
    ),
    "a sweep named like a path": (lambda w: ("name=a/b",), ("name='a/b'",)),
    "an unknown target": (
        lambda w: ("reward.correct._target_=genclspp.training.rewards.corect",),
        ("reward.correct._target_", "genclspp.training.rewards.corect"),
    ),
    # strategies and learners
    "more shots than examples": (
        lambda w: ("strategy=icl", "strategy.icl.shots=99"),
        ("strategy.icl.shots=99", "has 23"),
    ),
    "more shots than examples, on one side": (
        lambda w: ("strategy=icl_similar", "strategy@infer=icl_similar", "infer.icl_similar.shots=99"),
        ("error: infer.icl_similar.shots=99",),
    ),
    "no shots": (
        lambda w: ("strategy=icl", "strategy.icl.shots=0"),
        ("error: strategy.icl.shots=0; expected 1 or more",),
    ),
    "no shots, on one side": (
        lambda w: ("strategy@train=[numeric,icl_similar]", "train.icl_similar.shots=0"),
        ("error: train.icl_similar.shots=0; expected 1 or more",),
    ),
    "an extra answer named like a label": (
        lambda w: (*w.data(), "strategy=[numeric,uncertainty]", "strategy.uncertainty.surface=blue"),
        ("error: strategy.uncertainty.surface='blue' is the name of a label",),
    ),
    "an unknown way to normalise": (
        lambda w: ("decode=ppl", "decode.normalise=men"),
        ("error: decode.normalise='men'",),
    ),
    "the same strategy twice": (lambda w: ("strategy=[icl,icl_similar]",), ("icl, icl_similar", "twice")),
    "definition without definitions": (
        lambda w: (*w.data(), "strategy=definition"),
        ("dataset.definitions", "0 of 2", "'blue'"),
    ),
    "a fraction above one": (
        lambda w: ("strategy=uncertainty", "strategy.uncertainty.fraction=2"),
        ("error: strategy.uncertainty.fraction=2.0",),
    ),
    "a setting of another learner": (
        lambda w: (*TINY_RL, "rl.learner.beta=0.3"),
        ("rl.learner.beta", "once rl=expected is chosen"),
    ),
    "a setting of a learner under the name of RL": (
        lambda w: (*TINY_RL, "rl.entropy=0.3"),
        ("unknown key rl.entropy", "rl.learner.entropy exists once rl=expected is chosen"),
    ),
    "an argument of RL, where there is none": (
        lambda w: ("rl=none", "+rl.args.num_train_epoch=2"),
        ("rl.args.num_train_epoch needs rl=grpo",),
    ),
    "a share that is none": (lambda w: (*TINY_RL, "rl.solved=2"), ("rl.solved=2", "more than 0 and less than 1")),
    "a rest without SFT": (lambda w: (*TINY_RL, "rl.focus=rest", "sft=none"), ("rl.focus='rest'", "both")),
    "a reward for thoughts without thoughts": (
        lambda w: (*TINY_RL, "reward=correct_format"),
        ("pays for thoughts", "reasoning=think"),
    ),
    "a reward for abstaining that is not offered": (
        lambda w: (*TINY_RL, "reward=abstain"),
        ("reward.abstained", "the strategy uncertainty"),
    ),
    "groups of one": (lambda w: (*TINY_RL, "rl.args.num_generations=1"), ("rl.args", "2 or more")),
    "fewer prompts than a step of GRPO wants": (
        lambda w: (*TINY_RL, "rl.examples=1"),
        ("1 prompt;", "2 or more", "rl.args.per_device_train_batch_size"),
    ),
    "a rest of fewer prompts than that": (
        lambda w: (*TINY_RL, "sft=full", "rl.focus=rest", "rl.warmup=0.99"),
        ("1 prompt;", "2 or more"),
    ),
    "text for a length of GRPO's": (
        lambda w: (*TINY_RL, "rl.args.max_completion_length=many"),
        ("rl.args.max_completion_length='many'", "int"),
    ),
    "completions longer than the model": (
        lambda w: (*TINY_RL, "rl.args.max_completion_length=5000"),
        ("too many", "to leave room for a text"),
    ),
    "a rate below zero": (
        lambda w: ("sft=full", "sft.args.learning_rate=-1e-4"),
        ("sft.args.learning_rate=-0.0001", "0 or more"),
    ),
    "a rate without end": (
        lambda w: (*TINY_RL, "rl.args.learning_rate=inf"),
        ("rl.args.learning_rate=inf", "a finite number"),
    ),
    "no epochs": (
        lambda w: ("sft.args.max_steps=-1", "sft.args.num_train_epochs=0"),
        ("sft.args.num_train_epochs=0", "more than 0"),
    ),
    "no steps": (lambda w: ("sft=full", "sft.args.max_steps=0"), ("sft.args.max_steps=0", "num_train_epochs")),
    "half a prompt per step": (
        lambda w: ("sft=full", "sft.args.per_device_train_batch_size=1.5"),
        ("sft.args.per_device_train_batch_size=1.5", "expected int"),
    ),
    "a rate that is a truth": (
        lambda w: ("sft=full", "sft.args.learning_rate=true"),
        ("sft.args.learning_rate=True", "expected float"),
    ),
    "a temperature of zero": (
        lambda w: (*TINY_RL, "rl.args.temperature=0"),
        ("rl.args.temperature=0", "more than 0"),
    ),
    "a seed below zero": (lambda w: ("seed=-1",), ("seed=-1", "between 0 and 4294967295")),
    "a seed of too many bits": (
        lambda w: ("dataset.seed=4294967296",),
        ("dataset.seed=4294967296", "4294967295"),
    ),
    "a model's seed below zero": (lambda w: ("model.seed=-3",), ("model.seed=-3", "between 0")),
    "a weight that is no number": (
        lambda w: (*TINY_RL, "reward.correct.weight=nan"),
        ("reward.correct.weight=nan", "a finite number"),
    ),
    "attention that does not exist": (
        lambda w: ("model.attention=nonsense",),
        ("model.attention='nonsense'", "sdpa, eager, flex_attention"),
    ),
    "an adapter on layers that are not there": (
        lambda w: ("sft=lora", "sft.lora.target_modules=[q_proj,v_prj]"),
        ("sft.lora.target_modules names 'v_prj'", "did you mean 'v_proj'?"),
    ),
    "an adapter on no layer": (
        lambda w: ("sft=lora", "sft.lora.target_modules=nothing"),
        ("PEFT cannot attach sft.lora", "Target modules nothing not found"),
    ),
    "an adapter without a rank": (
        lambda w: ("sft=lora", "sft.lora.r=0"),
        ("sft.lora.r=0", "1 or more"),
    ),
    "weights of other shapes": (
        lambda w: w.model(configured(intermediate_size=100)),
        ("do not fit its configuration", "mlp.down_proj.weight is 64 x 128, not 64 x 100"),
    ),
    "fewer layers of weights than of the model": (
        lambda w: w.model(configured(num_hidden_layers=3, layer_types=["full_attention"] * 3)),
        ("do not fit its configuration", "are missing", "model.layers.2."),
    ),
    "an override that the weights do not fit": (
        lambda w: ("sft=none", "model.overrides.intermediate_size=100"),
        ("do not fit its configuration", "64 x 128, not 64 x 100"),
    ),
    "checkpoints by steps": (
        lambda w: ("sft=full", "sft.args.save_steps=3"),
        ("sft.args.save_steps cannot be set", "determined by the clock"),
    ),
    "a control that counts steps": (
        lambda w: ("sft=full", "sft.args.max_steps=-1", "rl=matched", "+rl.args.max_steps=3"),
        ("rl.args.max_steps=3", "rl=matched", "rl.examples"),
    ),
    "an argument that is settled elsewhere": (
        lambda w: ("sft=full", "sft.args.output_dir=/nowhere"),
        ("sft.args.output_dir", "determined by outputs"),
    ),
    "weights of rewards in the wrong place": (
        lambda w: (*TINY_RL, "rl.args.reward_weights=[2]"),
        ("rl.args.reward_weights", "reward.NAME.weight"),
    ),
    "another loss for SFT": (
        lambda w: ("sft=full", "sft.args.label_smoothing_factor=0.1"),
        ("sft.args.label_smoothing_factor=0.1", "expected 0"),
    ),
    "smoothed labels where there are none": (
        lambda w: ("rl=expected", "rl.args.label_smoothing_factor=0.1"),
        ("rl.args.label_smoothing_factor", "rl=expected"),
    ),
    "typo in an argument of a reward": (
        lambda w: (*TINY_RL, "+reward.correct.wieght=2"),
        ("reward.correct.wieght", "did you mean 'weight'?"),
    ),
    "a reward that is no function": (
        lambda w: (*TINY_RL, "reward.correct._target_=genclspp.training.rewards.COLUMNS"),
        ("reward.correct._target_", "is not a function"),
    ),
    "no reward at all": (lambda w: (*TINY_RL, "~reward"), ("rl=grpo has no reward to maximise", "reward=correct")),
    "an unknown argument of PEFT": (
        lambda w: ("sft=lora", "+sft.lora.rank=3"),
        ("sft.lora", "rank"),
    ),
    "prompts longer than the model": (lambda w: ("model.max_length=30",), ("too many", "dataset.list_labels")),
    "more positions than there are": (lambda w: ("model.max_length=99999",), ("model.max_length=99999", "1024")),
    # data
    "missing file": (lambda w: ("dataset=local", "dataset.path=/nowhere/a.jsonl"), ("/nowhere/a.jsonl",)),
    "missing folder": (lambda w: ("dataset=local", "dataset.path=/nowhere"), ("dataset.path=/nowhere",)),
    "no path": (lambda w: ("dataset=local",), ("dataset.path is empty",)),
    "wrong column": (
        lambda w: (*w.data(), "dataset.text=sentence"),
        ("'sentence'", "dataset.text", "known: text"),
    ),
    "empty split": (lambda w: w.data(test=[]), ("test.jsonl", "is empty")),
    "unknown label in test": (
        lambda w: w.data(test=w.rows("test", 3, ("red", "bleu", "blue"))),
        ("test.jsonl, line 2", "'bleu'", "did you mean 'blue'?"),
    ),
    "one class only": (
        lambda w: w.data(**{split: w.rows(split, 4, ("red",)) for split in ("train", "validation", "test")}),
        ("only one class", "'red'"),
    ),
    "duplicate label names": (
        lambda w: (*w.data(), "dataset.names={red: colour, blue: colour}"),
        ("'blue'", "'red'", "'colour'"),
    ),
    "a label named twice": (lambda w: (*w.data(), "dataset.labels=[red,blue,red]"), ("dataset.labels", "'red'")),
    "no test split": (
        lambda w: w.file("alone.jsonl", *w.rows("t", 20)),
        ("alone has no test split", "dataset.test_from"),
    ),
    "invalid UTF-8": (
        lambda w: w.file("latin.jsonl", *w.rows("t", 2), b'{"text": "caf\xe9", "label": "red"}'),
        ("latin.jsonl, line 3", "UTF-8"),
    ),
    "half a jsonl line": (
        lambda w: w.data(train=[*w.rows("train", 6), '{"text": "half']),
        ("train.jsonl, line 7", "half"),
    ),
    "a field too many": (
        lambda w: w.file("wide.csv", "text,label", "a,b,c"),
        ("wide.csv, line 2", "3 fields", "expected 2"),
    ),
    "broken parquet": (lambda w: w.file("broken.parquet", "no parquet"), ("broken.parquet",)),
    "an id twice": (
        lambda w: (*w.data(train=[{"id": 7, **row} for row in w.rows("train", 2)]), "dataset.id=id"),
        ("'7'", "line 1", "line 2"),
    ),
    "a text of no text": (
        lambda w: w.data(train=[*w.rows("train", 4), {"text": 3, "label": "red"}]),
        ("train.jsonl, line 5", "a number"),
    ),
    "the same rows in two splits": (lambda w: w.data(test=w.rows("train", 12)), ("same rows", "test.jsonl")),
    "a data set that is not there": (
        lambda w: ("dataset=hub", "dataset.path=nobody/nothing"),
        ("nobody/nothing", "not found"),
    ),
    # models
    "missing model": (lambda w: ("model=local", "model.path=/nowhere"), ("model.path='/nowhere'",)),
    "model of a hub out of reach": (
        lambda w: ("model=hub", "model.path=nobody/nothing"),
        ("nobody/nothing", "hub"),
    ),
    "model folder without configuration": (
        lambda w: w.model(lambda folder: (folder / "config.json").unlink()),
        ("no config.json",),
    ),
    "model folder without weights": (
        lambda w: w.model(lambda folder: (folder / "model.safetensors").unlink()),
        ("no weights", "*.safetensors"),
    ),
    "pickle-only weights": (
        lambda w: w.model(lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin")),
        ("pytorch_model.bin", "pickle"),
    ),
    "weights cut off": (
        lambda w: w.model(cut("model.safetensors", 5000)),
        ("model.safetensors is not a complete safetensors file",),
    ),
    "half a configuration": (
        lambda w: w.model(cut("config.json", 40)),
        ("config.json is not valid JSON",),
    ),
    "a model that brings code": (
        lambda w: w.model(configured(auto_map={"AutoModel": "theirs.Model"})),
        ("code of its own", "model.trust_remote_code"),
    ),
    "an unknown kind of model": (
        lambda w: w.model(configured(model_type="quen2")),
        ("config.json", "'quen2'", "did you mean 'qwen2'?"),
    ),
    "a broken tokenizer": (
        lambda w: w.model(lambda folder: (folder / "tokenizer.json").write_text("{}")),
        ("tokenizer in", "cannot be loaded"),
    ),
    "an end token that is none": (
        lambda w: ("model.eos='[SEP]'",),
        ("model.eos='[SEP]'", "vocabulary"),
    ),
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def world(warm: Warm, outputs: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Checking a cell makes the random model that bad ones are made from."""
    require_error(warm.run(*TINY, "model.max_length=99999", outputs=outputs), outputs)
    (base,) = artifacts(outputs)
    assert base.parent.name == "base"
    return World(tmp_path_factory.mktemp("world"), base)


def require_error(done: Done, outputs: Path) -> str:
    """The one sentence; nothing but the random base model may have been adopted."""
    assert done.code not in (0, 130)
    assert done.err.startswith("error: "), done.err
    assert done.err.count("\n") == 1, done.err
    assert "Traceback" not in done.err + done.out
    assert "a bug in genclspp" not in done.err
    assert not list((outputs / "results").rglob("*"))
    assert {path.parent.name for path in artifacts(outputs)} <= {"base"}
    assert not list((outputs / "artifacts").rglob("*.partial"))
    return done.err


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_sentence(warm: Warm, world: World, outputs: Path, case: str):
    make, needles = CASES[case]
    sentence = require_error(warm.run(*TINY, *make(world), outputs=outputs), outputs)
    for needle in needles:
        assert needle in sentence


@pytest.mark.parametrize("place", ["a file", "a folder of the kernel"])
def test_outputs_that_cannot_be_written(warm: Warm, tmp_path: Path, place: str):
    (tmp_path / "file").touch()
    outputs = tmp_path / "file" / "below" if place == "a file" else Path("/proc/nowhere")
    done = warm.run(*TINY, outputs=outputs)
    assert done.code not in (0, 130)
    assert done.err.startswith(f"error: {outputs}")
    assert done.err.count("\n") == 1


def test_no_outputs_at_all_are_refused(warm: Warm):
    done = warm.run(*TINY, outputs=Path("' '"))
    assert done.err == "error: outputs=' '; expected a folder\n"


@pytest.mark.parametrize(
    ("words", "needle"),
    [
        (("strategy=zero_shot,icll",), "strategy=icll"),
        (("strategy=zero_shot,icl", "strategy.icl.shots=99"), "strategy.icl.shots"),
        (("strategy=zero_shot,[icl,icl_similar]",), "twice"),
        (("dataset.train_size=24,2", "strategy=icl"), "shots=3"),
        (("model.max_length=1024,30",), "dataset.list_labels"),
        (("sft.args.learning_rate=0.1,fast",), "sft.args.learning_rate='fast'"),
        (("sft=none,null",), "sft=null"),
        (("seed=0,1", "rl.solved=0.5"), "rl.solved needs rl=grpo"),
        (("sft=none", "strategy=icl", "strategy@train=icl,numeric"), "strategy@train needs SFT or RL"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_one_bad_cell_stops_a_sweep_before_its_first(warm: Warm, tmp_path: Path, words: Words, needle: str):
    done = warm.run("-m", *TINY, *words, outputs=tmp_path)
    assert needle in require_error(done, tmp_path)
    assert "cell " not in done.out


def test_a_new_process_says_the_same(tmp_path: Path):
    """Without what the forks of the other tests have imported."""
    for words in (("strategy=icll",), ("sft.args.max_steps=x",), ("-m", "strategy=icl,icll")):
        done = run(*TINY, *words, outputs=tmp_path)
        assert done.code == 1
        require_error(done, tmp_path)
    assert records(tmp_path) == []


@pytest.mark.parametrize("word", ["seed=1.5", "--decode=ppl"])  # refused by us, and before Hydra starts
def test_a_traceback_is_there_for_who_asks(warm: Warm, tmp_path: Path, word: str):
    done = warm.run(*TINY, word, outputs=tmp_path, HYDRA_FULL_ERROR="1")
    assert done.code == 1
    assert "Traceback" in done.err
    assert word in done.err


FAILING = """
def mine(completions, answer, **_):
    known = {"refund": 1.0}
    return [known[written] for written in completions]
"""


def test_a_reward_that_fails_is_blamed_by_name_file_and_line(tmp_path: Path):
    (tmp_path / "mine.py").write_text(FAILING)
    (tmp_path / "conf" / "reward").mkdir(parents=True)
    (tmp_path / "conf" / "reward" / "mine.yaml").write_text("mine:\n  _target_: mine.mine\n")
    words = ("-m", f"--config-dir={tmp_path / 'conf'}", *TINY, *TINY_RL, "reward=correct,mine")
    done = run(*words, outputs=tmp_path / "outputs", PYTHONPATH=str(tmp_path))
    sentence = require_error(done, tmp_path / "outputs")
    assert "reward.mine raised KeyError" in sentence
    assert f"({tmp_path / 'mine.py'}:4)" in sentence
    assert "cell " not in done.out
