"""Wrong commands and files of new users: one sentence each, before anything is computed.

docs/errors.md lists them with what they get; `python -m tests.integration.test_wrong_commands` writes it.
"""

import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import ROOT, Warm, artifacts
from tests.wrong import GROUPS, Wrong

PAGE = ROOT / "docs" / "errors.md"
CASES = [case for cases in GROUPS.values() for case in cases]
INTRODUCTION = """# What wrong commands get

What new users type, or the files that they have, and what `python run.py` answers, before it loads a model and
without waiting for the hub. PATH stands for a folder. This page is written by
`python -m tests.integration.test_wrong_commands`, and a test checks that it is what the program says.
"""

Ask = Callable[[Wrong], str]


def asking(warm: Warm, root: Path) -> Ask:
    """A function that runs a wrong command, once, and returns its sentence, with PATH for the case's folder."""
    said: dict[int, str] = {}

    def ask(case: Wrong) -> str:
        place = CASES.index(case)
        if place not in said:
            said[place] = _run(warm, case, root / f"case{place}", root / "outputs")
        return said[place]

    return ask


def _run(warm: Warm, case: Wrong, folder: Path, outputs: Path) -> str:
    folder.mkdir()
    for name, content in case.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    words = [word.replace("PATH", str(folder)) for word in shlex.split(case.typed)]
    done = warm.run(*words, outputs=outputs, PYTHONPATH=str(folder))
    assert done.code == 1, done
    assert done.err.startswith("error: "), done.err
    assert done.err.count("\n") == 1, done.err
    assert "Traceback" not in done.err + done.out
    assert "a bug in genclspp" not in done.err
    assert not list(outputs.glob("results/**/*.json"))
    assert {path.parent.name for path in artifacts(outputs)} <= {"base"}  # of the model with random weights
    assert not list(outputs.glob("artifacts/**/*.partial"))
    sentence = done.err.removeprefix("error: ").strip()
    return sentence.replace(f" outputs={outputs}", "").replace(str(folder), "PATH").replace(f"{ROOT}/", "")


def page(ask: Ask) -> str:
    """docs/errors.md: a table per group."""
    lines = [INTRODUCTION]
    for title, cases in GROUPS.items():
        lines += [f"## {title}", "", "| typed | the files | answer |", "| --- | --- | --- |"]
        for case in cases:
            cells = (f"`{case.typed}`", case.what, ask(case))
            lines.append("| " + " | ".join(text.replace("|", "\\|").replace("<", "&lt;") for text in cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


@pytest.fixture(scope="module")
def ask(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    return asking(warm, tmp_path_factory.mktemp("wrong"))


def test_there_are_twenty_of_each_kind():
    assert [len(cases) for cases in GROUPS.values()] == [20, 20, 20]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.typed} {case.what}".strip())
def test_a_wrong_command_gets_one_sentence(ask: Ask, case: Wrong):
    sentence = ask(case)
    assert len(sentence) < 400, sentence
    assert sentence[-1] not in ":;,"


def test_the_page_is_what_the_program_says(ask: Ask):
    assert PAGE.read_text(encoding="utf-8") == page(ask)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch, Warm(Path(scratch)) as started:
        PAGE.write_text(page(asking(started, Path(scratch))), encoding="utf-8")
