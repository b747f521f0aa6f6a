"""Tables from records: which series stands where, what is tested, and that all formats hold the same figures."""

import argparse
import csv
import io
import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from genclspp.cli import tables
from genclspp.report import formats, statistics
from genclspp.report.description import Description
from genclspp.report.entries import AVERAGE, Entry, Table
from genclspp.report.notes import notes
from genclspp.report.results import Results
from genclspp.report.sheets import OTHERS
from genclspp.report.table import build
from genclspp.runs import ledger
from tests.cli import ROOT, environment
from tests.sweeps import Record, add, results

LEVELS = {"none": 0.70, "grpo": 0.72, "expected": 0.9}
DATA = {"trec": 0.0, "sst5": -0.2, "snips": 0.05}
BASELINE = {"rl": "none"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def pilot(root: Path) -> list[Record]:
    """Three learners on three data sets with three seeds, and a method without randomness."""
    found = [
        add(root, level + shift + 0.01 * seed, seed, name="pilot", dataset=dataset, rl=rl)
        for dataset, shift in DATA.items()
        for rl, level in LEVELS.items()
        for seed in range(3)
    ]
    fixed = {"name": "pilot", "rl": "matched", "is_random": False}
    return found + [add(root, 0.6 + shift, dataset=dataset, **fixed) for dataset, shift in DATA.items()]


@pytest.fixture(scope="module")
def made(root: Path, pilot: list[Record]) -> Callable[..., Table]:
    found = Results(pilot, root / "artifacts")
    return lambda **words: build(found, Description(**words), "pilot")


def entries(table: Table) -> dict[tuple[str, ...], Entry]:
    return {(*row.place, *column): entry for (row, column), entry in table.entries.items()}


def printed(table: Table, width: int = 120) -> str:
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as captured:
        formats.show(table, console)
    return captured.get()


def test_an_entry_holds_what_the_statistics_say(made: Callable[..., Table]):
    table = made(rows=("rl",), columns=("dataset",), baseline=BASELINE)
    found = entries(table)
    ours, base = found["grpo", "trec"], found["none", "trec"]
    assert (base.is_baseline, base.gain, base.points) == (True, None, None)
    assert ours.gain is not None
    assert ours.level is not None
    assert ours.points == ours.gain.mean == pytest.approx(ours.mean - base.mean)
    assert ours.n == 3
    assert ours.sd == pytest.approx(0.01, abs=0.003)
    assert ours.level.low < ours.mean < ours.level.high
    assert ours.relative is not None
    assert ours.relative.mean == pytest.approx(ours.points / base.mean)


def test_all_tests_of_a_table_are_one_family(made: Callable[..., Table]):
    table = made(rows=("rl",), columns=("dataset",), baseline=BASELINE, average=True)
    found = entries(table)
    gains = [entry.gain for entry in found.values() if entry.gain]
    assert len(gains) == 3 * 3 + 3  # learners on data sets, and their averages
    assert table.compared == 4 * 3  # in each of the four columns, three learners against the best
    (said,) = (note for note in notes(table) if "family" in note)
    assert "one family of 24 tests (9 gains, 3 average gains and 12 comparisons with the best of a column)" in said
    least = min(gain.p for gain in gains)
    smallest = next(entry for entry in found.values() if entry.gain and entry.gain.p == least)
    assert smallest.corrected is not None
    assert smallest.corrected <= min(24 * least, 1)
    assert all(entry.corrected >= entry.gain.p for entry in found.values() if entry.gain and entry.corrected)
    assert found["expected", "trec"].is_significant


def test_bold_is_what_is_not_significantly_below_the_best(made: Callable[..., Table]):
    found = entries(made(rows=("rl",), columns=("dataset",)))
    assert all(found["expected", dataset].is_best for dataset in DATA)
    assert not any(found["matched", dataset].is_best for dataset in DATA)
    alone = entries(made(rows=("rl",), columns=("dataset",), where={"rl": ("none", "grpo")}))
    assert all(entry.is_best for entry in alone.values())  # two points are less than these can tell


def test_a_metric_without_scores_has_neither_tests_nor_a_best(made: Callable[..., Table]):
    table = made(rows=("rl",), columns=("dataset",), metric="nll", baseline=BASELINE)
    assert not any(entry.is_best or entry.gain for entry in entries(table).values())
    assert entries(table)["grpo", "trec"].points is not None
    assert any("nll is not among the metrics with tests" in note for note in notes(table))


def test_of_invalid_answers_the_fewest_are_best(tmp_path: Path):
    rights = {"none": 0.6, "grpo": 0.9}
    found = [add(tmp_path, right, seed, rl=rl, writes=True) for rl, right in rights.items() for seed in (0, 1)]
    table = build(results(tmp_path, *found), Description(metric="invalid_rate", baseline=BASELINE))
    told = entries(table)
    assert (told["grpo",].is_best, told["none",].is_best) == (True, False)
    assert told["grpo",].points == pytest.approx(-0.3)
    assert told["grpo",].is_significant


def test_an_average_is_of_the_gains_on_these_data_sets(made: Callable[..., Table]):
    table = made(rows=("rl",), columns=("dataset",), baseline=BASELINE, average=True)
    found = entries(table)
    ours = found["grpo", *AVERAGE]
    parts = [found["grpo", dataset] for dataset in DATA]
    assert ours.mean == pytest.approx(sum(part.mean for part in parts) / 3)
    assert isinstance(ours.gain, statistics.Average)
    assert ours.gain.p == pytest.approx(statistics.average([part.gain for part in parts if part.gain]).p)
    assert ours.on == sum(part.is_significant for part in parts)
    assert table.columns[-1] == AVERAGE
    assert any("over these 3 data sets, and no others; too few for Wilcoxon" in note for note in notes(table))


def test_without_words_rows_are_what_differs_and_columns_are_numbers(made: Callable[..., Table]):
    table = made(baseline=BASELINE, beside=("nll", "seconds/*"))
    assert table.description.rows == ("dataset", "rl")
    text = printed(table)
    for heading in ("accuracy", "95 % of Δ", "Δ in %", "p (Holm)", "nll", "sft"):
        assert heading in text
    assert "1m00" in text


def test_rows_stand_in_blocks_and_in_the_order_asked_for(made: Callable[..., Table]):
    blocks = {"SFT": {"rl": ("none", "matched")}, "RL": {"rl": ("grpo", "expected")}}
    order = ("matched", "none", "expected", "grpo")
    table = made(rows=("rl",), columns=("dataset",), blocks=blocks, where={"rl": order})
    assert [(row.block, *row.place) for row in table.rows] == [
        ("SFT", "matched"), ("SFT", "none"), ("RL", "expected"), ("RL", "grpo")
    ]  # fmt: skip
    table = made(rows=("rl",), columns=("dataset",), baseline=BASELINE, blocks={"RL": {"rl": ("grpo",)}})
    assert [(row.block, *row.place) for row in table.rows] == [
        ("RL", "grpo"), ("", "none"), ("", "expected"), ("", "matched")
    ]  # fmt: skip


def test_choices_that_no_record_has_are_said(made: Callable[..., Table]):
    blocks = {"SFT": {"rl": ("none", "matchd")}, "RL": {"rl": ("grpo", "expected", "rloo")}}
    table = made(
        rows=("rl",), columns=("dataset",), where={"rl": ("none", "grpo", "gppo", "expcted")}, blocks=blocks
    )
    assert [row.place for row in table.rows] == [("none",), ("grpo",)]
    assert notes(table)[-1] == (
        "No record has rl=gppo or rl=expcted (did you mean 'expected'?) or rl=matchd (did you mean 'matched'?) "
        "or rl=rloo."
    )
    assert not made(rows=("rl",), columns=("dataset",), where={"rl": ("none",)}).absent


def test_rows_of_no_block_stand_apart(made: Callable[..., Table]):
    table = made(rows=("rl",), columns=("dataset",), blocks={"RL": {"rl": ("grpo", "expected")}})
    for text, heading in (
        (printed(table), OTHERS),
        (formats.markdown(table), f"| *{OTHERS}* |"),
        (formats.latex(table), rf"\textit{{{OTHERS}}}"),
    ):
        above, below = text.split(heading)
        assert all(name in above for name in ("grpo", "expected"))
        assert all(name not in above and name in below for name in ("none", "matched"))
    assert OTHERS not in printed(made(rows=("rl",), columns=("dataset",)))


def test_choices_that_no_record_has_together_leave_the_table_empty(tmp_path: Path):
    found = [add(tmp_path, 0.5, rl=rl, decode=decode) for rl, decode in (("none", "ppl"), ("grpo", "greedy"))]
    about = Description(where={"rl": ("none",), "decode": ("greedy",)})
    with pytest.raises(ValueError, match="no record has rl=none and decode=greedy; the table is empty"):
        build(results(tmp_path, *found), about)


def test_a_word_with_a_star_is_any_knob_of_that_name(tmp_path: Path):
    records = [
        add(tmp_path, 0.5, train=name, infer=name, **{f"strategy.{name}.shots": shots})
        for name in ("icl", "icl_similar")
        for shots in (1, 10, 3)
    ]
    found = results(tmp_path, *records)
    table = build(found, Description(rows=("strategy",), columns=("strategy.*.shots",)))
    assert table.columns == [("1",), ("3",), ("10",)]
    assert len(table.entries) == 6


BARE = {"method": "svm", "is_random": False, "train": None, "infer": None, "decode": None, "rl": None}


def test_methods_without_prompts_and_decoders_stand_beside_others(tmp_path: Path):
    found = [
        add(tmp_path, right + 0.01 * seed, seed, method="generative", train=name, infer=name)
        for name, right in (("zero_shot", 0.6), ("icl", 0.9))
        for seed in (0, 1, 2)
    ]
    found.append(add(tmp_path, 0.8, **BARE))
    for method, gains in (("svm", [-19, 11]), ("generative", [0, 30, 19])):
        words = {"method": method} | ({} if method == "svm" else {"strategy": "zero_shot"})
        table = build(results(tmp_path, *found), Description(rows=("method", "strategy"), baseline=words))
        told = {row: entry for row, entry in entries(table).items() if not entry.is_baseline}
        assert len(told) == 2
        assert sorted(round(100 * entry.points) for entry in told.values() if entry.points) == sorted(
            filter(None, gains)
        )
        assert all(entry.gain for entry in told.values())
    assert [row.place for row in table.rows] == [("generative", "zero_shot"), ("generative", "icl"), ("svm", "–")]


def test_the_order_of_records_does_not_matter(root: Path, pilot: list[Record]):
    shuffled = list(pilot)
    random.Random(1).shuffle(shuffled)
    about = Description(rows=("rl",), columns=("dataset",), baseline=BASELINE, average=True)
    one, other = (build(Results(found, root / "artifacts"), about) for found in (pilot, shuffled))
    for write in (formats.markdown, formats.comma_separated, formats.latex):
        assert write(one) == write(other)


def test_missing_cells_and_seeds_are_said(root: Path, pilot: list[Record]):
    kept = [one for one in pilot if (one["rl"], one["dataset"]) != ("grpo", "sst5")]
    kept = [one for one in kept if (one["rl"], one["dataset"], one["seed"]) != ("expected", "trec", 2)]
    about = Description(rows=("rl",), columns=("dataset",), baseline=BASELINE, average=True)
    table = build(Results(kept, root / "artifacts"), about)
    text = " ".join(printed(table).split())
    assert "–: 2 of 16 entries are missing" in text  # the cell, and the average of its row
    assert "n=: 1 of 16 entries lack some of the 3 seeds" in text
    assert "n=2" in text
    assert "Without ±: 3 of 16 entries, in which nothing is random" in text


def test_without_predictions_there_are_differences_and_no_tests(tmp_path: Path):
    found = [add(tmp_path, right, seed, rl=rl, lost=True) for rl, right in LEVELS.items() for seed in (0, 1)]
    table = build(results(tmp_path, *found), Description(baseline=BASELINE))
    told = entries(table)["grpo",]
    assert (told.gain, told.corrected, told.is_significant) == (None, None, False)
    assert told.points == pytest.approx(0.02)
    assert any(note.startswith("Nothing was tested: ") for note in notes(table))
    assert "+2.0" in printed(table)


def test_other_test_examples_are_not_compared(tmp_path: Path):
    found = [
        add(tmp_path, right, rl=rl, examples=size) for rl, right, size in (("none", 0.5, 50), ("grpo", 0.9, 60))
    ]
    table = build(results(tmp_path, *found), Description(baseline=BASELINE))
    assert entries(table)["grpo",].points is None
    assert table.compared == 0
    assert any("1 of 2 entries have no baseline on the same test examples" in note for note in notes(table))


def test_one_seed_is_said_to_tell_nothing_about_retraining(root: Path, pilot: list[Record]):
    found = Results([one for one in pilot if one["seed"] == 0], root / "artifacts")
    said = " ".join(notes(build(found, Description(rows=("rl",), columns=("dataset",), baseline=BASELINE))))
    assert "of one seed (0), which tells nothing about retraining" in said
    assert "compares these two checkpoints, not the recipes (McNemar's exact test)" in said


def test_where_nothing_is_random_one_run_is_all_there_is(root: Path, pilot: list[Record]):
    found = Results([one for one in pilot if one["rl"] == "matched"], root / "artifacts")
    said = " ".join(notes(build(found, Description(rows=("dataset",)))))
    assert "of one run each, with its 95 % interval over test examples: nothing in the cells is random" in said
    assert "retraining" not in said


def test_more_seeds_repeat_no_cell_without_randomness(root: Path, pilot: list[Record]):
    again = [{**one, "seed": one["seed"] + 3} for one in pilot if one["rl"] == "matched"]
    found = [Results(each, root / "artifacts") for each in (pilot, pilot + again, again + pilot)]
    assert [len(each.records) for each in found] == [len(pilot)] * 3
    about = Description(rows=("rl",), columns=("dataset",), baseline=BASELINE)
    assert len({formats.markdown(build(each, about)) for each in found}) == 1


def test_the_headline_is_chosen_on_validation_and_reported_on_test(tmp_path: Path):
    lucky = add(tmp_path, 0.9, rl="grpo", **{"validation/accuracy": 0.5})
    chosen = add(tmp_path, 0.8, rl="expected", **{"validation/accuracy": 0.7})
    table = build(results(tmp_path, lucky, chosen), Description())
    (headline,) = table.headlines
    assert (headline.chosen, headline.mean, headline.candidates) == (0.7, 0.8, 2)
    assert headline.series.records == (chosen,)
    (said,) = (note for note in notes(table) if note.startswith("Best"))
    assert "chosen by accuracy on the validation examples" in said
    assert "rl=expected, 80.0 % (73.9 to 85.0)" in said


def test_each_set_of_test_examples_has_its_headline(tmp_path: Path):
    found = [
        add(tmp_path, right, rl=rl, examples=size, **{"rl.examples": size})
        for size in (50, 60)
        for rl, right in (("none", 0.5), ("grpo", 0.9))
    ]
    table = build(results(tmp_path, *found), Description())
    assert [headline.series.words["rl.examples"] for headline in table.headlines] == [50, 60]
    assert {headline.series.words["rl"] for headline in table.headlines} == {"grpo"}


def test_cells_without_validation_examples_have_no_headline(tmp_path: Path):
    found = [add(tmp_path, 0.9, rl=rl, **{"validation/accuracy": None}) for rl in ("none", "grpo")]
    assert not build(results(tmp_path, *found), Description()).headlines


def test_one_record_is_a_table_without_tests(tmp_path: Path):
    table = build(results(tmp_path, add(tmp_path, 0.9)), Description())
    assert "90.0" in printed(table)
    assert not any("tested" in note or "family" in note for note in notes(table))


def test_the_smallest_detectable_gain_and_the_origin_are_said(made: Callable[..., Table]):
    said = notes(made(rows=("rl",), columns=("dataset",), baseline=BASELINE))
    assert any(re.match(r"Smallest gain found in 80 % of such comparisons.*: \d", note) for note in said)
    assert "From 30 records of the sweep pilot, computed at commit 0123456789ab." in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"rows": ("datset",)}, r"unknown word 'datset'; did you mean 'dataset'"),
        ({"columns": ("r",)}, r"unknown word 'r'; did you mean 'rl'"),
        ({"rows": ("seed",)}, r"seed is no word of a table: values are averaged over seeds"),
        ({"where": {"datasets": ("trec",)}}, r"unknown word 'datasets'"),
        ({"where": {"rl": ("ppo",)}}, r"where: no record has rl=ppo; known: .*"),
        (
            {"where": {"rl": ("expcted", "gpro")}},
            r"where: no record has rl=expcted\|gpro; did you mean 'expected'",
        ),
        ({"blocks": {"A": {"lr": ("none",)}}}, r"unknown word 'lr'"),
        ({"baseline": {"rll": "none"}}, r"unknown word 'rll'; did you mean 'rl'"),
        ({"baseline": {"rl": "gppo"}}, r"baseline rl=gppo: no record has rl=gppo; did you mean 'grpo'"),
        ({"metric": "acuracy"}, r"unknown metric 'acuracy'; did you mean 'accuracy'"),
        ({"metric": "seed"}, r"unknown metric 'seed'"),
        ({"beside": ("ecee",)}, r"unknown metric 'ecee'; did you mean 'ece'"),
        ({"rows": ("dataset",)}, r"rows and columns do not separate cells that differ in rl; add rl"),
    ],
)
def test_what_cannot_be_is_one_sentence(made: Callable[..., Table], words: dict[str, Any], sentence: str):
    with pytest.raises(ValueError, match=sentence):
        made(**words)


def test_an_average_needs_data_sets_as_columns():
    with pytest.raises(ValueError, match=r"average over columns of rl; expected data sets: columns: \[dataset\]"):
        Description(rows=("dataset",), columns=("rl",), average=True)


def figures_of(text: str) -> list[str]:
    return re.findall(r"\d+\.\d", text)


@pytest.mark.parametrize("words", [{"columns": ("dataset",), "average": True}, {}])
def test_all_formats_hold_the_same_figures(made: Callable[..., Table], words: dict[str, Any]):
    table = made(rows=("rl",) if words else None, baseline=BASELINE, **words)
    rows = list(csv.DictReader(io.StringIO(formats.comma_separated(table))))
    parts = ("mean", "sd", "gain", "relative", "gain_low", "gain_high")
    unrounded = [f"{abs(float(row[part])):.1f}" for row in rows for part in parts if row[part]]
    marks = sum(row["is_significant"] == "1" for row in rows)
    levels = 0 if words else 2 * len(rows)  # intervals of levels are shown where there is a column for them
    chances = 0 if words else sum(bool(row["p_holm"]) for row in rows)
    for write in (formats.markdown, formats.latex, printed):
        whole = write(table)
        text = whole[: whole.index("accuracy in")]
        assert text.count("dagger" if write is formats.latex else "†") - text.count(" of 3") == marks
        found = figures_of(text)
        assert len(found) >= len(unrounded) + levels
        assert len(found) <= len(unrounded) + levels + chances
        assert not [number for number in set(unrounded) if found.count(number) < unrounded.count(number)]
    shown = formats.markdown(table)
    assert shown.count("**") == 2 * sum(row["is_best"] == "1" for row in rows)
    assert formats.latex(table).count(r"\textbf") == shown.count("**") / 2


def test_control_characters_reach_no_terminal(tmp_path: Path):
    found = [add(tmp_path, 0.5, rl=name) for name in ("a\x1b[31mb\x00", "c\nd")]
    table = build(results(tmp_path, *found), Description())
    assert {row.place for row in table.rows} == {("a [31mb ",), ("c d",)}


ODD = ["a|b_c*<d>", "`[x](y)`\\", "50%$#&{}~^\"'--", "émile ½"]


def odd(root: Path) -> Table:
    found = [add(root, 0.5 + 0.1 * place, seed, rl=name) for place, name in enumerate(ODD) for seed in (0, 1)]
    return build(results(root, *found), Description(title="A_B & C", columns=("rl",), rows=("dataset",)), "o_d&d")


def test_texts_are_no_markup(tmp_path: Path):
    table = odd(tmp_path)
    lines = [line for line in formats.markdown(table).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines} == {len(ODD) + 2}
    assert r"a\|b\_c\*\<d\>" in lines[0]
    assert r"\`\[x\](y)\`\\" in lines[0]
    written = list(csv.reader(io.StringIO(formats.comma_separated(table))))
    assert {row[3] for row in written[1:]} == set(ODD)
    assert "a|b_c*<d>" in printed(table)
    assert all(r"\textbackslash{}" not in line or "[x]" not in line for line in formats.latex(table).splitlines())


def test_a_label_has_a_caption(made: Callable[..., Table]):
    for title, caption in (("A title", "A title"), ("", "pilot")):
        written = formats.latex(made(title=title))
        assert rf"\caption{{{caption}}}" in written
        assert written.index(r"\caption") < written.index(r"\label{tab:pilot}")


def test_latex_compiles(made: Callable[..., Table], tmp_path: Path):
    if not shutil.which("pdflatex"):
        pytest.skip("pdflatex is not installed: nothing compiles the LaTeX tables")
    blocks = {"SFT, alone": {"rl": ("none", "matched")}}
    whole = {"rows": ("rl",), "columns": ("dataset",), "baseline": BASELINE, "average": True, "blocks": blocks}
    bodies = [formats.latex(table) for table in (odd(tmp_path), made(**whole), made(baseline=BASELINE))]
    body = "\n".join(bodies)
    source = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{body}\\end{{document}}\n"
    (tmp_path / "t.tex").write_text(source, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in done.stdout


@pytest.mark.parametrize("path", sorted(tables.FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_description_is_read(path: Path):
    assert tables.read(path)
    assert f"make_tables.py {path.stem}" in path.read_text() or path.stem == "cost"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"t\.yaml is empty; expected name: \{rows: \[WORD\], …\}"),
        ("{}", r"t\.yaml is empty; expected"),
        ("- rows", r"holds list; expected"),
        ("a: [", r"is not YAML: "),
        ("a: {row: [rl]}", r"t\.yaml: unknown key a\.row; did you mean 'rows'"),
        ("a: {rows: rl}", r"t\.yaml: a\.rows='rl'; expected a list"),
        ("a: {average: 1}", r"t\.yaml: a\.average=1; expected true or false"),
    ],
)
def test_a_wrong_description_is_one_sentence(text: str, sentence: str, tmp_path: Path):
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        tables.read(tmp_path / "t.yaml")


def script(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/make_tables.py", *words]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60)


def test_the_script_makes_the_tables_of_its_sweep_the_same_every_time(tmp_path: Path):
    for name in ("zero_shot", "icl"):
        for other in ("zero_shot", "icl"):
            add(tmp_path, 0.8, name="pairings", train=name, infer=other)
    done = script("pairings", "--outputs", str(tmp_path), "--format", "csv", "--save")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "report" / "pairings"
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {Path(name).suffix for name in first} == {".md", ".csv", ".tex"}
    assert len(list(csv.DictReader(io.StringIO(done.stdout)))) == 4
    assert script("pairings", "--outputs", str(tmp_path), "--save").returncode == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_the_script_says_which_cells_have_no_result(tmp_path: Path):
    add(tmp_path, 0.5, name="lone")
    cells = ledger.Ledger(tmp_path / "results" / "lone")
    for number, state in enumerate(("done", "failed", "failed", "skipped", "pending"), 1):
        cells.note(ledger.Entry(number, "", f"cell{number}", state), state)
    done = script("lone", "--outputs", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        "2 of 5 cells of the sweep lone have failed, 1 was skipped, 1 is still to come; "
        "python scripts/status.py lone says why\n"
    )
    done = script("lone", "--metric", "acuracy", "--outputs", str(tmp_path))
    assert done.returncode == 1
    assert re.fullmatch(r"2 of 5 cells .*\nerror: unknown metric 'acuracy'.*\n", done.stderr), done.stderr


@given(st.lists(st.sampled_from(["pending", "running", "done", "failed", "skipped"])))
def test_cells_without_a_result_are_counted(states: list[ledger.State]):
    cells = [ledger.Entry(place, "", str(place), state) for place, state in enumerate(states)]
    said = tables.unfinished("dev", cells)
    counts = re.findall(r"(\d+) (?:of|has|have|was|were|is|are) ", said)
    assert sum(map(int, counts)) == len(states) - states.count("done")
    assert bool(said) == any(state != "done" for state in states)


def test_the_script_says_in_one_sentence_what_is_wrong(tmp_path: Path):
    add(tmp_path, 0.5, name="lone")
    (tmp_path / "results" / "empty").mkdir()
    (tmp_path / "results" / "broken").mkdir()
    (tmp_path / "results" / "broken" / "a.json").write_text(json.dumps({"seed": 0}))
    for words, sentence in (
        (["pilo"], r"no sweep 'pilo' .*"),
        (["empty"], r"the sweep 'empty' has no records .*"),
        (["broken"], r".*a\.json is not a record .*"),
        (["lone", "--table", "pairing"], r"no table 'pairing'; did you mean 'pairings'.*"),
        (["lone", "--table", "missing.yaml"], r"--table missing\.yaml: there is no such file"),
        (["lone", "--table", "cost", "--rows", "rl"], r"--table cost and --rows; expected either .*"),
        (["lone", "--baseline", "rl"], r"--baseline rl: expected word=choice, such as rl=none"),
        (["lone", "--table", "pairings"], r"table pairings: baseline train=zero_shot: no record has .*"),
    ):
        parser = argparse.ArgumentParser()
        tables.add_options(parser)
        with pytest.raises(ValueError, match=sentence):
            tables.make(parser.parse_args([*words, "--outputs", str(tmp_path)]))
    done = script("pilo", "--outputs", str(tmp_path))
    assert done.returncode == 1
    assert re.fullmatch(r"error: no sweep 'pilo' .*\n", done.stderr), done.stderr
