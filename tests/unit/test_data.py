import csv
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genclspp.data import readers, sampling
from genclspp.data.labels import choose_order, class_names
from genclspp.data.load import load
from genclspp.settings import DatasetSettings
from genclspp.suggest import UserError
from genclspp.task import SPLITS, Example, Task, normalise
from tests.generated import quick

LOCAL = DatasetSettings("local", path="filled in below")


def rows(split: str, count: int = 12, labels: tuple = ("no", "yes")) -> list[dict]:
    """Rows in class order, as many files have them."""
    return sorted(
        ({"text": f"{split} text {n}", "label": labels[n % len(labels)]} for n in range(count)),
        key=lambda row: str(row["label"]),
    )


def write_jsonl(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split in SPLITS:
        write_jsonl(tmp_path / f"{split}.jsonl", rows(split))
    return tmp_path


def load_folder(folder: Path, **settings: Any) -> Task:
    return load(replace(LOCAL, path=str(folder), **settings))


# --- sampling --------------------------------------------------------------------------------------------


def make_examples(labels: list[str]) -> list[Example]:
    return [Example(f"train-{n}", f"text {n}", label) for n, label in enumerate(labels)]


many_labels = st.lists(st.sampled_from("abcd"), min_size=1, max_size=60)


@given(many_labels, st.integers(1, 60), st.integers(1, 60), st.integers(0, 3))
def test_smaller_samples_are_subsets_of_larger_ones(labels, one, other, seed):
    examples = make_examples(labels)
    small = sampling.subsample(examples, min(one, other), seed)
    large = sampling.subsample(examples, max(one, other), seed)
    assert set(small) <= set(large)
    assert len(large) == min(max(one, other), len(examples))


@given(many_labels, st.integers(4, 60), st.integers(0, 3))
def test_sample_keeps_every_class_and_its_share(labels, size, seed):
    examples = make_examples(labels)
    counts = Counter(e.label for e in sampling.subsample(examples, size, seed))
    assert set(counts) == set(labels)
    for label, count in Counter(labels).items():
        # "At least one of each" can cost the frequent classes a few.
        assert counts[label] >= int(count * min(1, size / len(labels))) - len(set(labels))


@given(many_labels, st.floats(0.01, 0.99), st.integers(0, 3))
def test_carving_loses_nothing_and_leaves_every_class_in_train(labels, fraction, seed):
    examples = make_examples(labels)
    rest, part = sampling.carve(examples, fraction, seed)
    assert sorted(e.id for e in rest + part) == sorted(e.id for e in examples)
    assert {e.label for e in rest} == set(labels)


@given(many_labels, st.integers(0, 60), st.integers(0, 60), st.integers(0, 3))
def test_checks_of_rl_and_comparisons_never_share_a_validation_example(labels, checks, compared, seed):
    examples = make_examples(labels)
    first, second = sampling.split_validation(examples, checks, compared, seed)
    assert not set(first) & set(second)
    assert len(first) == min(checks, len(examples) // 2)
    assert len(second) == min(compared, len(examples) - len(first))
    assert set(second) <= set(sampling.split_validation(examples, checks, compared + 1, seed)[1])


@given(st.text())
def test_normalised_text_is_normal(text):
    assert normalise(normalise(text)) == normalise(text) or not text.isascii()
    assert normalise(f"  {text}\t") == normalise(text)


def test_normalise_ignores_case_width_and_punctuation_but_not_smileys():
    assert normalise("Ｗhere’s MY parcel?!") == normalise("where s my-parcel")
    assert normalise("你好，世界！") == "你好世界"
    assert normalise(":-)") != normalise(":-(")


# --- what a good data set becomes ------------------------------------------------------------------------


def write_table(path: Path, rows: list[dict]) -> None:
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0], delimiter="," if path.suffix == ".csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    else:
        write_jsonl(path, rows)


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet"])
def test_every_format_gives_the_same_task(tmp_path, ending):
    awkward = 'two\nlines, "quotes",\ttabs, 中文, \u2028 and é'
    for split in SPLITS:
        content = [*rows(split), {"text": f"{split} {awkward}", "label": "yes"}]
        write_table(tmp_path / f"{split}{ending}", content)
    task = load_folder(tmp_path)
    assert task.labels == ("no", "yes")
    assert {split: len(task.splits[split]) for split in SPLITS} == dict.fromkeys(SPLITS, 13)
    assert task.splits["test"][0] == Example("test-0", "test text 0", "no")
    assert task.splits["test"][-1].text == f"test {awkward}"


def test_train_is_shuffled_by_the_seed_and_ids_are_the_rows_of_the_file(folder):
    task = load_folder(folder)
    train = task.splits["train"]
    assert [e.label for e in train] != sorted(e.label for e in train)
    source = rows("train")
    assert all(source[int(e.id.removeprefix("train-"))]["text"] == e.text for e in train)
    assert load_folder(folder) == task
    assert load_folder(folder, seed=1).splits["train"] != train
    assert load_folder(folder, seed=1).splits["test"] == task.splits["test"]


def test_sizes_are_upper_bounds_and_nested(folder):
    small = load_folder(folder, train_size=4, test_size=2, validation_size=100)
    large = load_folder(folder, train_size=8)
    assert {split: len(small.splits[split]) for split in SPLITS} == {"train": 4, "validation": 12, "test": 2}
    assert [e for e in large.splits["train"] if e in small.splits["train"]] == list(small.splits["train"])
    assert Counter(e.label for e in small.splits["train"]) == {"no": 2, "yes": 2}


def test_missing_validation_is_carved_from_train(folder):
    (folder / "validation.jsonl").unlink()
    task = load_folder(folder, validation_fraction=0.25)
    assert [len(task.splits[split]) for split in SPLITS] == [9, 3, 12]
    ids = {e.id for split in ("train", "validation") for e in task.splits[split]}
    assert ids == {f"train-{n}" for n in range(12)}


@pytest.mark.parametrize(("origin", "sizes"), [("validation", [9, 3, 12]), ("train", [9, 12, 3])])
def test_missing_test_is_taken_from_where_test_from_says(folder, origin, sizes):
    (folder / "test.jsonl").unlink()
    task = load_folder(folder, test_from=origin, validation_fraction=0.25)
    assert [len(task.splits[split]) for split in SPLITS] == sizes
    assert {e.id.split("-")[0] for e in task.splits["test"]} == {origin}


def test_single_file_is_train(folder):
    task = load_folder(folder / "train.jsonl", test_from="train", validation_fraction=0.2)
    assert [len(task.splits[split]) for split in SPLITS] == [8, 2, 2]
    ids = [e.id for examples in task.splits.values() for e in examples]
    assert len(ids) == len(set(ids)) == 12
    assert task.name == "train"


def test_an_empty_split_name_leaves_the_split_out(folder):
    (folder / "test.jsonl").write_text("not read\n")
    splits = {"train": "train", "validation": "validation", "test": ""}
    task = load_folder(folder, splits=splits, test_from="validation")
    assert task.splits["test"][0].id == "validation-0"


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (("b", "a"), ("a", "b")),
        ((10, 9), ("9", "10")),
        ((True, False), ("False", "True")),
        (("yes ", " no"), ("no", "yes")),
        ((1.0, 2.0), ("1", "2")),
        ((["x"], ["y"]), ("x", "y")),
    ],
)
def test_labels_become_strings_in_a_natural_order(tmp_path, values, labels):
    for split in SPLITS:
        write_jsonl(tmp_path / f"{split}.jsonl", rows(split, labels=values))
    assert load_folder(tmp_path).labels == labels


def test_rows_with_several_labels_are_dropped_on_request(folder):
    content = [*rows("train"), {"text": "both", "label": ["no", "yes"]}, {"text": "none", "label": []}]
    write_jsonl(folder / "train.jsonl", content)
    assert len(load_folder(folder, several_labels="drop").splits["train"]) == 12


def test_files_beside_the_splits_give_label_order_and_definitions(folder):
    (folder / "labels.json").write_text('["yes", "no", "never seen"]')
    (folder / "definitions.json").write_text('{"no": "It is not so.", "yes": "It is so."}')
    task = load_folder(folder, definitions={"no": "By no means."})
    assert task.labels == ("yes", "no", "never seen")
    assert task.definitions == {"yes": "It is so.", "no": "By no means."}
    assert load_folder(folder, labels=("never seen", "no", "yes")).labels == ("never seen", "no", "yes")


def test_names_are_mapped_or_made_readable(tmp_path):
    for split in SPLITS:
        write_jsonl(tmp_path / f"{split}.jsonl", rows(split, labels=("card_lost", "pin_blocked", "oos")))
    task = load_folder(tmp_path, readable=True, names={"oos": "out of scope"})
    assert task.names == {"card_lost": "card lost", "oos": "out of scope", "pin_blocked": "pin blocked"}
    assert load_folder(tmp_path).names["card_lost"] == "card_lost"


def test_further_columns_are_read(tmp_path):
    for split in SPLITS:
        content = [
            {**row, "key": f"{split[:2]}{n}", "why": f"because {n}", "unclear": bool(n % 2)}
            for n, row in enumerate(rows(split))
        ]
        write_table(tmp_path / f"{split}.csv", content)
    task = load_folder(tmp_path, id="key", rationale="why", ambiguous="unclear")
    assert task.splits["test"][1] == Example("te1", "test text 2", "no", "because 1", True)


def test_training_texts_that_recur_in_evaluation_stay(folder):
    write_jsonl(folder / "test.jsonl", [*rows("test"), rows("train")[0]])
    assert len(load_folder(folder).splits["train"]) == 12


@pytest.mark.parametrize(("language", "word"), [("en", "Classify"), ("zh", "分类")])
def test_instruction_has_a_default_in_each_language(folder, language, word):
    assert word in load_folder(folder, language=language).instruction
    assert load_folder(folder, language=language, instruction="Do it.").instruction == "Do it."


def test_byte_order_mark_windows_lines_and_blank_lines_do_no_harm(folder):
    text = "\ufefftext,label\r\n" + "".join(f"t {n},{'ab'[n % 2]}\r\n" for n in range(6)) + "\r\n"
    (folder / "x.csv").write_bytes(text.encode())
    assert load_folder(folder / "x.csv", test_from="train").labels == ("a", "b")


def test_tickets_grow_with_the_size_asked_for():
    task = load(DatasetSettings("tickets", train_size=1200, test_size=100))
    assert [len(task.splits[split]) for split in SPLITS] == [1200, 200, 100]
    assert set(task.definitions) == set(task.labels)
    smaller = load(DatasetSettings("tickets", train_size=300))
    assert set(smaller.splits["train"]) <= set(load(DatasetSettings("tickets")).splits["train"])


def test_import_is_cheap():
    code = (
        "import sys, genclspp.data.load, genclspp.selection.demonstrations\n"
        "heavy = {'torch', 'datasets', 'pyarrow', 'numpy', 'sklearn', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


CONF = Path(__file__).parents[2] / "conf" / "dataset"


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_holds_settings_that_differ_from_the_defaults(path):
    import yaml

    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    values = yaml.safe_load(text)
    settings = DatasetSettings(**{"path": "given on the command line", **values})
    defaults = DatasetSettings(settings.source, path="another")
    assert all(value != getattr(defaults, key) for key, value in values.items() if key != "source")
    for mapping in (settings.names, settings.definitions):
        assert all(isinstance(word, str) and word for pair in mapping.items() for word in pair)
    if settings.definitions:
        known = set(settings.labels or settings.names or settings.definitions)
        assert set(settings.definitions) == known


# --- which files are which splits ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dev", "val", "valid", "eval"])
def test_validation_goes_by_its_usual_names(folder, name):
    task = load_folder(folder)
    (folder / "validation.jsonl").rename(folder / f"{name}.jsonl")
    assert load_folder(folder) == task
    assert load_folder(folder, test_from="validation") == load_folder(folder)
    assert load_folder(folder).notes == (f"{folder.name}: train 12 · validation 12 · test 12 · 2 labels",)


def test_a_name_that_the_settings_give_goes_before_the_usual_ones(folder):
    (folder / "validation.jsonl").rename(folder / "val.jsonl")
    write_jsonl(folder / "dev.jsonl", rows("dev", 6))
    splits = {"train": "train", "validation": "validation", "test": "test"}
    chosen = load_folder(folder, splits={**splits, "validation": "dev"})
    assert chosen.splits["validation"][0].text == "dev text 0"
    assert chosen.notes[1] == f"not read in {folder}: val.jsonl"
    # What is another split already is not the validation split too.
    assert (
        load_folder(folder, splits={**splits, "test": "dev"}).splits["validation"][0].text == "validation text 0"
    )


def test_validation_itself_goes_before_its_other_names(folder):
    write_jsonl(folder / "dev.jsonl", rows("dev", 6))
    task = load_folder(folder)
    assert len(task.splits["validation"]) == 12
    assert task.notes[1:] == (f"not read in {folder}: dev.jsonl",)


def test_data_files_that_are_not_read_are_named(folder):
    for name in ("README.md", "labels.txt", ".hidden", "labels.json", "definitions.json"):
        (folder / name).write_text('["yes", "no"]' if name == "labels.json" else "{}")
    assert len(load_folder(folder).notes) == 1
    for name in ("old.csv", "train.xlsx", "dev.txt", "test.csv.gz", "more.PARQUET"):
        (folder / name).write_text("")
    unread = "dev.txt, more.PARQUET, old.csv, test.csv.gz, train.xlsx"
    assert load_folder(folder).notes[1:] == (f"not read in {folder}: {unread}",)
    for number in range(8):
        (folder / f"zz{number}.csv").write_text("")
    assert load_folder(folder).notes[1].endswith("zz4.csv, … and 3 more")


def test_endings_in_capitals_and_files_elsewhere_are_found(folder, tmp_path):
    (tmp_path / "below").mkdir()
    (folder / "train.jsonl").rename(folder / "train.JSONL")
    (folder / "test.jsonl").rename(folder / "below" / "exam.jsonl")
    splits = {"train": "train", "validation": "validation", "test": "below/exam"}
    assert [len(load_folder(folder, splits=splits).splits[split]) for split in SPLITS] == [12, 12, 12]


# --- what a person is told, and what is left out ---------------------------------------------------------


def test_notes_are_no_part_of_what_a_task_is(folder):
    task = load_folder(folder)
    assert task.notes
    assert replace(task, notes=()) == task
    assert replace(task, notes=()).key == task.key


def test_one_line_says_what_became_of_the_rows(folder):
    (folder / "validation.jsonl").unlink()
    repeated = [{**row, "text": row["text"].upper() + "!"} for row in rows("train")[:3]]
    bad = [{"text": " ", "label": "no"}, {"label": "no"}, {"text": None, "label": ["no", "yes"]}]
    write_jsonl(folder / "train.jsonl", rows("train", 100))
    write_jsonl(folder / "test.jsonl", [*rows("test"), *repeated, *bad, {"text": "x", "label": []}])
    task = load_folder(folder, empty="drop", several_labels="drop", seed=1)
    assert task.notes == (
        f"{folder.name}: train 90 · validation 10 (from train) · test 15 · 2 labels "
        "· 3 rows without a text (dropped) · 1 row with several labels or none (dropped) "
        "· 3 test texts also in train (left in)",
    )


def test_rows_are_dropped_whatever_else_is_wrong_with_them(folder):
    empty = [{"text": "", "label": ""}, {"label": "n/a"}, {"text": "\u3000", "label": {}}]
    write_jsonl(folder / "test.jsonl", [*empty, *rows("test")])
    write_table(folder / "validation.csv", [*rows("validation"), {"text": "", "label": ""}])
    (folder / "validation.jsonl").unlink()
    task = load_folder(folder, empty="drop")
    assert "4 rows without a text (dropped)" in task.notes[0]
    assert [e.id for e in task.splits["test"]] == [f"test-{n}" for n in range(3, 15)]
    write_jsonl(folder / "test.jsonl", empty)
    _assert_one_sentence(lambda: load_folder(folder, empty="drop"), ["test.jsonl", "all are dropped"])


letters = st.text("abA !", min_size=1, max_size=2).filter(str.strip)
some_rows = st.lists(st.tuples(letters, st.sampled_from(["no", "yes"])), min_size=1, max_size=12)


@quick
@given(some_rows, st.one_of(st.none(), some_rows), some_rows, st.integers(1, 40), st.integers(0, 3))
def test_dropping_overlap_leaves_nothing_of_it_and_the_same_test_for_all(train, validation, test, size, seed):
    with TemporaryDirectory() as name:
        folder = Path(name)
        for split, pairs in (("train", train), ("val", validation), ("test", test)):
            if pairs is not None:  # enough texts that no other split has, so that something of each is left
                content = [*rows(f"only {split}", 40), *({"text": text, "label": label} for text, label in pairs)]
                write_jsonl(folder / f"{split}.jsonl", content)
        some = {"seed": seed, "train_size": size, "validation_fraction": 0.5}
        whole, kept = load_folder(folder), load_folder(folder, **some)
        dropped = load_folder(folder, **some, overlap="drop")
    assert dropped.splits["train"] == kept.splits["train"]
    known = {normalise(row["text"]) for row in rows("only train", 40)} | {normalise(text) for text, _ in train}
    assert dropped.splits["test"] == tuple(e for e in whole.splits["test"] if normalise(e.text) not in known)
    drawn = {normalise(e.text) for e in dropped.splits["train"]}
    assert not any(normalise(e.text) in drawn for e in dropped.splits["validation"])
    left = sum(normalise(e.text) in drawn for e in kept.splits["test"])
    gone = len(whole.splits["test"]) - len(dropped.splits["test"])
    assert told(kept) == ((left, "left in") if left else None)
    assert told(dropped) == ((gone, "dropped") if gone else None)


def told(task: Task) -> tuple[int, str] | None:
    """How many test texts are also in train, and what became of them, as its note says; None without any."""
    found = re.search(r"(\d+) test texts? also in train \((.+?)\)", task.notes[0])
    return (int(found[1]), found[2]) if found else None


def test_overlap_can_stop(folder):
    assert load_folder(folder, overlap="stop") == load_folder(folder)
    write_jsonl(folder / "test.jsonl", [*rows("test"), {"text": "Train text 2!", "label": "yes"}])
    parts = ["1 test text is also in train", "test.jsonl, line 13 and ", "train.jsonl, line 2", "overlap=drop"]
    _assert_one_sentence(lambda: load_folder(folder, overlap="stop"), parts)
    (folder / "test.jsonl").write_text("")
    write_jsonl(folder / "test.jsonl", rows("train")[:7])
    _assert_one_sentence(
        lambda: load_folder(folder, overlap="stop"), ["7 test texts are also", "test.jsonl, line 1 "]
    )
    _assert_one_sentence(lambda: load_folder(folder, overlap="drop"), ["nothing of the test split", "all its 7"])


# --- the hub ---------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Local folders in hub format: parquet files, a saved DatasetDict, and files with a card."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["yes", "no"])}
    )
    content = datasets.DatasetDict(
        {
            split: datasets.Dataset.from_list(rows(split, labels=(0, 1)), features=features)
            for split in ("train", "test")
        }
    )
    content.save_to_disk(tmp_path / "saved")
    for name, more in (("named", ("dev", "unsupervised")), ("doubled", ("eval", "dev"))):
        extra = {split: datasets.Dataset.from_list(rows(split, 6, (0, 1)), features=features) for split in more}
        datasets.DatasetDict({**content, **extra}).save_to_disk(tmp_path / name)
    for split, part in content.items():
        for subset in ("one", "two"):
            (tmp_path / "subsets" / subset).mkdir(parents=True, exist_ok=True)
            part.to_parquet(tmp_path / "subsets" / subset / f"{split}.parquet")
        (tmp_path / "parquet" / "data").mkdir(parents=True, exist_ok=True)
        part.to_parquet(tmp_path / "parquet" / "data" / f"{split}-00000-of-00001.parquet")
        (tmp_path / "card").mkdir(exist_ok=True)
        write_jsonl(tmp_path / "card" / f"{split}.jsonl", rows(split, labels=(0, 1)))
    subsets = "configs:\n- {config_name: one, data_dir: one}\n- {config_name: two, data_dir: two}\n"
    (tmp_path / "subsets" / "README.md").write_text(f"---\n{subsets}---\n")
    label = "{name: label, dtype: {class_label: {names: {'0': yes, '1': no}}}}"
    info = f"dataset_info:\n  features:\n  - {{name: text, dtype: string}}\n  - {label}\n"
    (tmp_path / "card" / "README.md").write_text(f"---\n{info}---\n")
    return tmp_path


@pytest.mark.parametrize(("name", "labels"), [("saved", "yes no"), ("parquet", "yes no"), ("card", "True False")])
def test_hub_formats_keep_class_names_and_their_order(hub, name, labels):
    task = load(DatasetSettings("hub", path=str(hub / name)))
    assert task.labels == tuple(labels.split())  # a card that writes yes without quotes says true
    assert [len(task.splits[split]) for split in SPLITS] == [11, 1, 12]
    assert task.splits["test"][0] == Example("test-0", "test text 0", task.labels[0])


def test_hub_splits_go_by_their_usual_names_and_the_others_are_named(hub):
    task = load(DatasetSettings("hub", path=str(hub / "named")))
    assert task.splits["validation"][0].text == "dev text 0"
    sizes = "named: train 12 · validation 6 · test 12 · 2 labels"
    assert task.notes == (sizes, f"not read in {hub / 'named'}: unsupervised")


def test_parquet_files_of_a_local_folder_keep_class_names_too(hub):
    assert load_folder(hub / "subsets" / "one").labels == ("yes", "no")


@pytest.mark.parametrize(
    ("settings", "place"),
    [({"labels": ("yes",)}, "dataset.labels"), ({}, "parquet, split train, class names of 'label',")],
)
def test_an_order_that_lacks_a_label_is_blamed_where_it_stands(hub, settings, place):
    chosen = DatasetSettings("hub", path=str(hub / "parquet"), **settings)
    names, origin = class_names({"train": readers.read_hub(chosen.path, None, None)["train"]()}, chosen)
    assert names == ("yes", "no")
    train = [Example(label, "text", label) for label in ("yes", "no")]
    with pytest.raises(ValueError, match=f"{place} lacks the label 'no' of train"):
        choose_order("t", train, names[:1], chosen, origin)


def test_hub_subset_is_chosen_by_name(hub):
    assert load(DatasetSettings("hub", path=str(hub / "subsets"), subset="two")).name == "subsets-two"


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"path": "subsets"}, ["several subsets", "one, two"]),
        ({"path": "subsets", "subset": "tow"}, ["'tow'", "did you mean 'two'"]),
        ({"path": "saved", "text": "txt"}, ["split train", "'txt'", "did you mean 'text'"]),
        ({"path": "saved", "splits": {"train": "trian"}}, ["'trian'", "did you mean 'train'"]),
        ({"path": "doubled"}, ["doubled holds dev and eval", "dataset.splits.validation=dev"]),
        ({"path": "nowhere"}, ["nowhere", "not found", "the hub cannot be reached"]),
    ],
)
def test_bad_hub_input_gives_one_clear_sentence(hub, settings, parts):
    settings = {**settings, "path": str(hub / settings["path"])}
    _assert_one_sentence(lambda: load(DatasetSettings("hub", **settings)), parts)


# --- bad input -------------------------------------------------------------------------------------------


def _assert_one_sentence(call: Callable[[], Any], parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def _faults(call: Callable[[], Any]) -> list[str]:
    with pytest.raises(ValueError, match="line") as caught:
        call()
    return str(caught.value).split("\n")


GOOD = {"text": "fine", "label": "yes"}
# row in JSON lines, in csv -> what its line must say
WRONG = [
    ({"text": "", "label": "no"}, ",no", "empty=drop"),
    ({"text": "x", "label": ""}, "x,", "expected a label"),
    ('{"text": "half', "a,b,c", None),
    ({"text": "x", "label": "maybe"}, "x,maybe", "did you mean"),
]


@quick
@given(st.lists(st.sampled_from([None, *range(len(WRONG))]), min_size=1, max_size=40), st.booleans())
def test_all_faults_of_a_file_are_told_at_once(kinds, as_csv):
    """In the order of the file, whatever their kinds; the first ten of them."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_jsonl(folder / "train.jsonl", [{"text": "t", "label": "mayb"}, *rows("train")])
        content = [(json.dumps(GOOD), "fine,yes") if k is None else WRONG[k][:2] for k in kinds]
        if as_csv:
            (folder / "test.csv").write_text("".join(f"{row[1]}\n" for row in [("", "text,label"), *content]))
        else:
            texts = [row[0] if isinstance(row[0], str) else json.dumps(row[0]) for row in content]
            (folder / "test.jsonl").write_text("".join(f"{text}\n" for text in texts))
        wrong = [(place, WRONG[k][2]) for place, k in enumerate(kinds, 2 if as_csv else 1) if k is not None]
        if not wrong:
            assert len(load_folder(folder).splits["test"]) == len(kinds)
            return
        told = _faults(lambda: load_folder(folder))
        source = str(folder / f"test.{'csv' if as_csv else 'jsonl'}")
        if len(wrong) == 1:
            assert len(told) == 1
            told[0] = told[0].replace(f"{source}, ", "  ")
        else:
            assert told.pop(0) == f"{source} has {len(wrong)} faults:"
            assert len(wrong) <= 10 or told.pop() == f"  … and {len(wrong) - 10} more"
        for line, (place, part) in zip(told, wrong[:10], strict=True):
            assert line.startswith(f"  line {place}")
            assert (part or ("has 3 fields" if as_csv else "not a complete JSON object")) in line


def test_two_faults_of_a_row_are_both_told(folder):
    (folder / "test.jsonl").write_bytes(lines('{"text": 3, "label": null}', YES))
    assert [line[:15] for line in _faults(lambda: load_folder(folder))[1:]] == [
        "  line 1: 'text",
        "  line 1: 'labe",
    ]


def test_a_csv_is_read_on_after_a_line_that_is_not_csv(folder):
    (folder / "a.csv").write_bytes(lines("text,label", '"one" two,yes', "three,no", "four", '"five,no'))
    told = _faults(lambda: load_folder(folder / "a.csv"))
    assert [line[:8] for line in told[1:]] == ["  line 2", "  line 4", "  line 5"]


def lines(*lines: str | bytes) -> bytes:
    return b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\n"


YES, NO = '{"text": "one", "label": "yes"}', '{"text": "two", "label": "no"}'
BAD = {
    # what: (files to write over a good folder, None to delete; settings; what the message must contain)
    "no such folder": ({}, {"path": "gone"}, ["gone", "no such file or folder"]),
    "no such file": ({}, {"path": "gone.csv"}, ["no such file", "gone.csv"]),
    "no path": ({}, {"path": ""}, ["dataset.path", "needs a file or a folder"]),
    "unknown ending": ({"data.xls": b"x"}, {"path": "data.xls"}, ["data.xls", "'.xls'", ".parquet"]),
    "no train": ({"train.jsonl": None}, {}, ["no split 'train'", "known: test, validation"]),
    "misnamed split": (
        {"dev.jsonl": lines(YES)},
        {"splits": {"train": "train", "validation": "dve", "test": "test"}},
        ["'dve'", "dataset.splits.validation", "did you mean 'dev'"],
    ),
    "two validation splits": (
        {"validation.jsonl": None, "dev.csv": b"x", "val.csv": b"x"},
        {},
        ["holds dev.csv and val.csv", "dataset.splits.validation=dev"],
    ),
    "unknown overlap": ({}, {"overlap": "remove"}, ["dataset.overlap='remove'", "known: keep, drop, stop"]),
    "unknown split": ({}, {"splits": {"train": "train", "tset": "x"}}, ["splits.tset", "did you mean 'test'"]),
    "no split for train": ({}, {"splits": {"test": "test"}}, ["no split for 'train'"]),
    "two files for a split": ({"train.csv": b"x"}, {}, ["train.jsonl, train.csv", "expected one"]),
    "no test": ({"test.jsonl": None}, {}, ["no test split", "dataset.test_from=validation"]),
    "nothing to take test from": (
        {"test.jsonl": None, "validation.jsonl": None},
        {"test_from": "validation"},
        ["test_from=validation", "found: train"],
    ),
    "same file": (
        {},
        {"splits": {"train": "train", "validation": "validation", "test": "train"}},
        ["'train'", "'test'", "same file", "train.jsonl"],
    ),
    "same rows": ({"test.jsonl": lines(YES, NO), "train.jsonl": lines(YES, NO)}, {}, ["same rows", "test.jsonl"]),
    "wrong text column": ({}, {"text": "txet"}, ["train.jsonl", "'txet'", "did you mean 'text'"]),
    "wrong label column": ({}, {"label": "lable"}, ["dataset.label", "'lable'", "did you mean 'label'"]),
    "wrong id column": ({}, {"id": "key"}, ["dataset.id", "'key'", "known: text, label"]),
    "empty split": ({"validation.jsonl": b""}, {}, ["validation.jsonl", "is empty"]),
    "header only": ({"train.jsonl": None, "train.csv": b"text,label\n"}, {}, ["train.csv", "is empty"]),
    "empty text": ({"test.jsonl": lines(YES, '{"text": " ", "label": "no"}')}, {}, ["test.jsonl, line 2", "' '"]),
    "no text": ({"test.jsonl": lines(YES, '{"label": "no"}')}, {}, ["test.jsonl, line 2", "null"]),
    "text is a number": ({"test.jsonl": lines('{"text": 5, "label": "no"}')}, {}, ["line 1", "a number"]),
    "null label": ({"train.jsonl": lines(NO, "", '{"text": "x", "label": null}')}, {}, ["line 3", "None"]),
    "blank label": ({"train.jsonl": lines('{"text": "x", "label": " "}')}, {}, ["line 1", "expected a label"]),
    "object as label": ({"train.jsonl": lines('{"text": "x", "label": {}}')}, {}, ["line 1", "an object"]),
    "fraction as label": ({"train.jsonl": lines('{"text": "x", "label": 0.5}')}, {}, ["line 1", "0.5"]),
    "several labels": (
        {"train.jsonl": lines('{"text": "x", "label": ["no", "yes"]}')},
        {},
        ["line 1", "2 labels", "several_labels=drop"],
    ),
    "unknown label in test": (
        {"test.jsonl": lines(YES, '{"text": "x", "label": "yess"}')},
        {},
        ["test.jsonl, line 2", "'yess'", "'test'", "did you mean 'yes'"],
    ),
    "one class": (
        {"train.jsonl": lines(YES), "validation.jsonl": None, "test.jsonl": lines(YES, YES)},
        {},
        ["only one class", "'yes'"],
    ),
    "duplicate ids": (
        {"train.jsonl": lines('{"text": "a", "label": "yes", "id": 7}', '{"text": "b", "label": "no", "id": 7}')},
        {"id": "id"},
        ["'7'", "line 1", "line 2", "dataset.id=null"],
    ),
    "half a line": (
        {"train.jsonl": lines(YES, NO, '{"text": "thr')},
        {},
        ["train.jsonl, line 3", '{"text": "thr', "not a complete JSON object"],
    ),
    "a list per line": ({"train.jsonl": lines('["one", "yes"]')}, {}, ["line 1", "list", "expected an object"]),
    "one JSON list": ({"a.json": b"[{}]"}, {"path": "a.json"}, ["a.json", "one JSON list", "one object per line"]),
    "invalid UTF-8": ({"train.jsonl": lines(YES, b'{"text": "caf\xe9"}')}, {}, ["train.jsonl, line 2", "0xe9"]),
    "too many fields": (
        {"a.csv": b'text,label\n"one\ntwo",yes\nthree, four,no\n'},
        {"path": "a.csv"},
        ["a.csv, line 4", "3 fields", "expected 2 (text, label)"],
    ),
    "unclosed quote": ({"a.csv": b'text,label\n"one,yes\n'}, {"path": "a.csv"}, ["a.csv, line 2", "not valid"]),
    "same column twice": ({"a.csv": b"text,text\n1,2\n"}, {"path": "a.csv"}, ["a.csv", "'text' twice"]),
    "no parquet": ({"a.parquet": b"PAR1"}, {"path": "a.parquet"}, ["a.parquet", "not a readable parquet"]),
    "labels lack one": ({}, {"labels": ("yes", "nope")}, ["dataset.labels", "'no'", "did you mean 'nope'"]),
    "labels twice": ({}, {"labels": ("yes", "no", "yes")}, ["dataset.labels", "'yes' 2 times"]),
    "labels.json lacks one": ({"labels.json": b'["yes", "maybe"]'}, {}, ["labels.json", "'no'"]),
    "labels.json lacks one, by its path": ({"labels.json": b'["yes"]'}, {}, ["/labels.json lacks the label 'no'"]),
    "labels.json twice": ({"labels.json": b'["yes", "no", "no"]'}, {}, ["labels.json", "'no' 2 times"]),
    "labels.json is no list": ({"labels.json": b'{"yes": 1}'}, {}, ["labels.json", "an object"]),
    "labels.json broken": ({"labels.json": b'["yes",'}, {}, ["labels.json, line 1", "not valid JSON"]),
    "unknown definition": ({}, {"definitions": {"yse": "x"}}, ["dataset.definitions", "'yse'", "'yes'"]),
    "unknown in definitions.json": ({"definitions.json": b'{"so": "x"}'}, {}, ["definitions.json", "'so'"]),
    "unknown name": ({}, {"names": {"n": "x"}}, ["dataset.names", "'n'", "known: no, yes"]),
    "same names": ({}, {"names": {"no": "yes"}}, ["'no' and 'yes'", "the same name 'yes'"]),
    "same readable names": (
        {"train.jsonl": lines(YES.replace("yes", "a_b"), NO.replace("no", "a b")), "validation.jsonl": None},
        {"readable": True, "splits": {"train": "train"}, "test_from": "train", "labels": ("a_b", "a b")},
        ["the same name 'a b'"],
    ),
    "empty name": ({}, {"names": {"no": " "}}, ["'no'", "expected one line of text"]),
    "size zero": ({}, {"train_size": 0}, ["dataset.train_size=0", "expected 1 or more"]),
    "size below zero": ({}, {"test_size": -5}, ["dataset.test_size=-5"]),
    "fraction of one": ({}, {"validation_fraction": 1.0}, ["dataset.validation_fraction=1.0"]),
    "fraction of nothing": ({}, {"validation_fraction": 0.0}, ["dataset.validation_fraction=0.0"]),
    "unknown language": ({}, {"language": "fr"}, ["dataset.language='fr'", "known: en, zh"]),
    "unknown source": ({}, {"source": "lokal"}, ["dataset.source='lokal'", "did you mean 'local'"]),
    "strange truth": (
        {"train.jsonl": lines(YES.replace("}", ', "hard": "maybe"}'), NO)},
        {"ambiguous": "hard", "splits": {"train": "train"}, "test_from": "train"},
        ["line 1", "'maybe'", "expected true, false"],
    ),
}


@pytest.mark.parametrize(("files", "settings", "parts"), BAD.values(), ids=BAD.keys())
def test_bad_input_gives_one_clear_sentence(folder, files, settings, parts):
    for name, content in files.items():
        (folder / name).unlink(missing_ok=True) if content is None else (folder / name).write_bytes(content)
    path = str(folder / settings["path"]) if settings.get("path") else settings.get("path", str(folder))
    _assert_one_sentence(lambda: load(replace(LOCAL, **{**settings, "path": path})), parts)
