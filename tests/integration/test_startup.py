"""What answers before any work loads none of the libraries that the work needs."""

import subprocess
import sys

import pytest

from tests.cli import ROOT, environment

HEAVY = {
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "wandb",
    "sklearn",
    "scipy",
    "pandas",
    "numpy",
    "rich",
}
# The program as it is, and then what it has imported.
TELLING = """
import atexit, runpy, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
sys.argv = ["run.py", *sys.argv[1:]]
runpy.run_path("run.py", run_name="__main__")
"""


def imports(*words: str) -> tuple[str, set[str]]:
    """What a command prints, and the packages that it has imported."""
    done = subprocess.run(
        [sys.executable, "-c", TELLING, *words],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize(
    "words",
    [
        ("--cfg", "job"),
        ("--help",),
        ("--info", "defaults"),
        ("--cfg", "job", "strategy=[icl,numeric]", "model=qwen2_5_0_5b", "experiment=pairings"),
    ],
    ids=" ".join,
)
def test_looking_at_the_configuration_imports_nothing_heavy(words: tuple[str, ...]):
    out, imported = imports(*words)
    assert "strategy" in out
    assert "hydra" in imported
    assert not imported & HEAVY


def test_help_explains_groups_keys_and_examples():
    out, _ = imports("--help")
    assert "python run.py -m strategy=icl,numeric decode=ppl" in out
    assert "strategy: all, definition, icl," in out
    assert "experiment:" in out
    assert "HYDRA_FULL_ERROR" in out
    assert "_target_" not in out


def test_the_configuration_is_valid_yaml_with_every_section():
    from omegaconf import OmegaConf

    out, _ = imports("--cfg", "job", "strategy=icl")
    config = OmegaConf.create(out)
    assert config.strategy.icl.shots == 3
    assert {"dataset", "model", "sft", "rl", "reward", "decode", "predict", "tracking"} <= set(config)


def test_a_bad_choice_is_refused_without_loading_anything_heavy():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "run.py", "strategy=icll"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "error: unknown choice strategy=icll" in done.stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not imported & (HEAVY - {"numpy"})
