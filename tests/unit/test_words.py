"""The words of a command line, as Hydra gets them."""

import pytest

from genclspp.cli import words


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["seed=0,1", "-m", "decode=ppl"], ["-m", "seed=0,1", "decode=ppl"]),
        (["seed=0", "--multirun"], ["-m", "seed=0"]),
        (["--cfg", "job", "seed=0"], ["--cfg", "job", "seed=0"]),
        (["name=2024"], ["name='2024'"]),
        (["name=1e3,true,pilot"], ["name='1e3','true',pilot"]),
        (["name=2024_b", "seed=2024"], ["name=2024_b", "seed=2024"]),
    ],
)
def test_words_become_what_hydra_takes(typed: list[str], read: list[str]):
    assert words.read(typed) == read


@pytest.mark.parametrize(
    "typed",
    [["seed=1", "seed=2"], ["+sft.lora.r=1", "sft.lora.r=2"], ["~reward", "reward=correct"], ["a=1", "a=1"]],
)
def test_a_key_that_is_set_twice_is_refused_with_both_words(typed: list[str]):
    with pytest.raises(ValueError, match="set the same key") as stopped:
        words.read(typed)
    for word in typed:
        assert word in str(stopped.value)


def test_a_group_and_its_knob_are_two_keys():
    typed = ["strategy=icl", "strategy@train=numeric", "strategy.icl.shots=5"]
    assert words.read(typed) == typed
