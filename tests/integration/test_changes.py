"""Under one name, what changed since earlier records is told, and no table takes them for seeds of one cell."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.cli import ROOT, TINY, Done, Warm, records

WORDS = ("-m", *TINY, "decode=ppl")


def warnings(done: Done) -> list[str]:
    found = re.findall(r"^  warning: (.+)$", done.require().out, re.MULTILINE)
    return [line for line in found if "other run" not in line]  # on the same machine


def test_a_sweep_tells_in_what_other_records_differ_but_not_of_more_values(warm: Warm, tmp_path: Path):
    assert not warnings(warm.run(*WORDS, "strategy=icl,numeric", outputs=tmp_path))
    assert not warnings(warm.run(*WORDS, "strategy=icl", "seed=0,1", outputs=tmp_path))
    changed = (*WORDS, "sft.args.learning_rate=1e-3", "seed=1")
    (planned,) = warnings(warm.run(*changed, "hydra/launcher=plan", outputs=tmp_path))
    (told,) = warnings(warm.run(*changed, outputs=tmp_path))
    assert told == planned
    assert told == (
        "3 other records differ under this name: sft.args.learning_rate 0.001 here, 0.0002 there. "
        "Its tables hold both; another name=… keeps them apart"
    )


def test_data_that_changed_are_told(warm: Warm, tmp_path: Path):
    rows = [{"text": f"text {k} about {label}", "label": label} for k in range(20) for label in ("tea", "bread")]
    path, words = tmp_path / "mine.jsonl", ("model=tiny", "tracking=none", "rl=none", "sft.args.max_steps=1")

    def write() -> tuple[str, ...]:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return (*words, "dataset=local", f"dataset.path={path}", "dataset.test_from=train", "decode=ppl")

    assert not warnings(warm.run(*write(), outputs=tmp_path))
    rows = [{**row, "text": f"another {row['text']}"} for row in rows]
    assert warnings(warm.run(*write(), outputs=tmp_path)) == [
        "a record under this name will be replaced, with other predictions: sft gets other prompts"
    ]
    assert not warnings(warm.run(*write(), outputs=tmp_path))
    assert len(records(tmp_path)) == 1
    rows = rows[:30]
    done = warm.run("-m", *write(), "strategy=icl,numeric", outputs=tmp_path)
    told = [line for line in warnings(done) if "changed since" in line]
    assert told == [
        "another record under this name: made from training examples that have changed since; its tables say so"
    ]
    table = [sys.executable, "scripts/make_tables.py", "dev", "--outputs", str(tmp_path)]
    shown = subprocess.run(table, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "The training examples of mine changed between these records." in " ".join(shown.split())


def test_settings_that_no_word_tells_make_rows_of_their_own(warm: Warm, tmp_path: Path):
    full = (ROOT / "conf" / "sft" / "full.yaml").read_text(encoding="utf-8")
    (tmp_path / "conf" / "sft").mkdir(parents=True)
    (tmp_path / "conf" / "sft" / "mine.yaml").write_text(full, encoding="utf-8")
    words = (f"--config-dir={tmp_path / 'conf'}", *WORDS[1:], "sft=mine")
    assert not warnings(warm.run(*words, outputs=tmp_path))
    assert "weight_decay: 0.01" in full
    changed = full.replace("weight_decay: 0.01", "weight_decay: 0.5")
    (tmp_path / "conf" / "sft" / "mine.yaml").write_text(changed, encoding="utf-8")
    (told,) = warnings(warm.run(*words, "seed=1", outputs=tmp_path))
    assert "another record differs under this name: sft.args.weight_decay 0.5, was 0.01" in told
