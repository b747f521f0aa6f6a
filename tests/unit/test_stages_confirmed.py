"""A stage whose code has changed has another version, or somebody has confirmed that it computes the same."""

import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def confirm() -> ModuleType:
    spec = importlib.util.spec_from_file_location("confirm_stages", ROOT / "scripts" / "confirm_stages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_stage_has_changed_unseen(confirm: ModuleType) -> None:
    changes = confirm.changes(confirm.read(), confirm.stages())
    assert not changes, "raise the version of a stage that computes something else; then scripts/confirm_stages.py"


def test_every_stage_is_known(confirm: ModuleType) -> None:
    names = {
        "base",
        "classify",
        "complete",
        "convert",
        "head",
        "mine",
        "neighbours",
        "predict",
        "rl",
        "score",
        "score_prompts",
        "sft",
        "think",
    }
    assert confirm.stages().keys() == names


def edited(tmp_path: Path, module: str, pattern: str, text: str) -> Path:
    """A copy of the package with one place edited."""
    shutil.copytree(ROOT / "genclspp", tmp_path / "genclspp", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "genclspp" / module
    changed = re.sub(pattern, text, path.read_text(encoding="utf-8"), count=1)
    assert changed != path.read_text(encoding="utf-8")
    path.write_text(changed, encoding="utf-8")
    return tmp_path


def test_a_change_below_a_stage_is_seen(confirm: ModuleType, tmp_path: Path) -> None:
    before = confirm.stages()
    root = edited(tmp_path, "trees/tree.py", r"return nodes\[::-1\]", "return list(reversed(nodes))")
    changes = confirm.changes(before, confirm.stages(root))
    assert {"sft", "rl", "score", "complete", "think"} <= changes.keys()
    assert not {"neighbours", "base"} & changes.keys()
    assert all("genclspp.trees.tree" in told for told in changes.values())
    assert not any(confirm.is_raised(name, before, confirm.stages(root)) for name in changes)


def test_words_alone_are_no_change(confirm: ModuleType, tmp_path: Path) -> None:
    root = edited(tmp_path, "training/sft.py", r'"""Supervised fine-tuning', '"""# Fine-tuning')
    assert not confirm.changes(confirm.stages(), confirm.stages(root))


def test_a_raised_version_is_told_from_a_forgotten_one(confirm: ModuleType, tmp_path: Path) -> None:
    root = edited(tmp_path, "training/sft.py", r'"sft", version=\d+', '"sft", version=99')
    before, after = confirm.stages(), confirm.stages(root)
    assert "99" in confirm.changes(before, after)["sft"]
    raised = {name for name in confirm.changes(before, after) if confirm.is_raised(name, before, after)}
    assert raised == {"sft"}
