"""What a person sees while a sweep runs: on a terminal, and in a file."""

import io
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from genclspp.runs import terminal
from genclspp.runs.terminal import QUIET, Terminal, quiet
from tests.cli import ROOT

NAMES = st.lists(st.text("abc=._", min_size=1, max_size=20), min_size=1, max_size=40)


def console(*, is_terminal: bool, width: int = 80) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    made = Console(file=out, force_terminal=is_terminal, width=width, highlight=False, color_system=None)
    return made, out


@given(NAMES, st.sampled_from([80, 120]))
def test_lines_break_between_words_on_a_terminal_and_not_at_all_in_a_file(words: list[str], width: int):
    made, out = console(is_terminal=True, width=width)
    Terminal(made).heading("cell 3/9", " ".join(words), "about 2m10 left")
    lines = out.getvalue().splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    assert " ".join(lines).split() == ["cell", "3/9", *words, "·", "about", "2m10", "left"]
    assert all(line.startswith("    ") for line in lines[1:])
    made, out = console(is_terminal=False, width=width)
    Terminal(made).heading("cell 3/9", " ".join(words))
    assert out.getvalue().count("\n") == 1


def test_warnings_of_our_own_are_printed_and_all_else_goes_to_the_log(tmp_path: Path):
    made, out = console(is_terminal=False)
    root, ours = logging.getLogger(), logging.getLogger("genclspp")
    before = (root.handlers[:], root.level, ours.handlers[:], warnings.showwarning)
    try:
        quiet(tmp_path / "log", Terminal(made))
        logging.getLogger("genclspp.runs.tracking").warning("no [network]")
        logging.getLogger("genclspp.runs.tracking").info("a detail")
        logging.getLogger("somebody").warning("theirs")
        assert out.getvalue() == "  warning: no [network]\n"
        told = (tmp_path / "log").read_text(encoding="utf-8")
        assert all(text in told for text in ("no [network]", "a detail", "theirs"))
    finally:
        root.handlers[:], root.level, ours.handlers[:], warnings.showwarning = before
        logging.captureWarnings(False)


def test_a_stage_prints_a_line_a_minute_where_bars_cannot_be_drawn(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    made, out = console(is_terminal=False)
    rows: list[object] = []
    with Terminal(made).bar("sft", rows.append) as bar:
        for step in range(1, 41):
            now[0] = step * QUIET / 10
            bar.log({"step": step, "loss": 1 / step})
            bar.advance(step, 40)
    assert out.getvalue().splitlines() == [
        "  sft 10/40, about 3m00 left loss 0.1",
        "  sft 20/40, about 2m00 left loss 0.05",
        "  sft 30/40, about 1m00 left loss 0.0333",
        "  sft 40/40, about 0 s left loss 0.025",
    ]
    assert len(rows) == 40


def test_what_prints_ends_quietly_once_its_reader_has_seen_enough():
    program = (
        "from genclspp.runs.terminal import until_read\n"
        "with until_read():\n"
        "    for _ in range(100_000): print('a line')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "a line\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 0
