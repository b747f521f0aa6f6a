"""What a process keeps of the cells behind it."""

from functools import partial
from pathlib import Path

from genclspp.runs.outlook import Outlook
from genclspp.runs.plan import LARGE, MOST, Memory
from genclspp.store.artifacts import Store, stage


def test_memory_keeps_the_latest_of_what_is_large_and_all_of_what_is_small():
    memory, made = Memory(), []

    def once(what: str, number: int) -> int:
        return memory.once(lambda: made.append(number) or number, what, number)

    for number in range(3 * MOST):
        assert once(LARGE[0], number) == number
        assert once(LARGE[0], 0) == 0  # asked for again and again, it stays
    assert len(made) == 3 * MOST
    once(LARGE[0], 3 * MOST - 1)
    assert len(made) == 3 * MOST
    once(LARGE[0], 1)
    assert len(made) == 3 * MOST + 1  # made again
    made.clear()
    for _ in range(2):
        for number in range(3 * MOST):
            once("check", number)
    assert len(made) == 3 * MOST
    once(LARGE[1], 0)  # another kind has room of its own
    once(LARGE[0], 1)
    assert len(made) == 3 * MOST + 1


@stage("reads", version=1)
def reads(texts: list[str], out: Path) -> None: ...


def test_an_outlook_without_inputs_knows_the_same_artifacts(tmp_path: Path):
    step = Store(tmp_path).step(partial(reads, texts=["a", "b"]), "score")
    ((light,),) = Outlook([], [[step]]).without_inputs().steps
    assert (light.artifact, light.role, light.work) == (step.artifact, step.role, step.work)
    assert not light.call.keywords
