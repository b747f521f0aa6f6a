"""Equal work is done once, and nothing half-done counts."""

import json
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genclspp.settings import Reward, SftSettings
from genclspp.store import Artifact, Store, digest, key, plain, write_json
from genclspp.task import Example

INPUTS = {
    "texts": ("a", "体育"),
    "settings": SftSettings(args={"lr": 0.1, "steps": 2}),
    "marked": frozenset({"x", "y", "z"}),
    "seed": 1,
}


@dataclass(frozen=True)
class Policy:
    key: str
    folder: Path


def test_keys_are_the_same_in_every_process():
    program = (
        "from genclspp.settings import SftSettings\n"
        "from genclspp.store import key\n"
        "settings = SftSettings(args={'steps': 2, 'lr': 0.1})\n"
        "marked = frozenset({'z', 'x', 'y'})\n"
        "print(key('sft', {'seed': 1, 'marked': marked, 'settings': settings, 'texts': ['a', '体育']}))\n"
    )
    for salt in ("0", "1"):
        made = subprocess.run(
            [sys.executable, "-X", "utf8", "-c", program],
            env={"PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
        )
        assert made.stdout.strip() == key("sft", INPUTS)


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 2},
        {"seed": 1.0},
        {"seed": None},
        {"texts": ("体育", "a")},
        {"texts": ("a", "体育", "")},
        {"texts": "a体育"},
        {"marked": frozenset({"x", "y"})},
        {"settings": SftSettings(args={"lr": 0.1, "steps": 3})},
        {"settings": SftSettings(args={"lr": 0.1, "steps": "2"})},
        {"settings": SftSettings(packing="none", args={"lr": 0.1, "steps": 2})},
        {"settings": Reward("settings", "target", 0.1)},
        {"more": None},
    ],
)
def test_every_change_of_an_input_changes_the_key(changed):
    assert key("sft", INPUTS | changed) != key("sft", INPUTS)


def test_the_stage_is_part_of_the_key():
    assert key("rl", INPUTS) != key("sft", INPUTS)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(values, values)
def test_keys_are_equal_only_for_equal_inputs(first, second):
    """Equal as JSON: 1 and true are not."""
    assert (key("s", {"v": first}) == key("s", {"v": second})) == (
        json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    )
    assert json.loads(json.dumps(plain(first))) == plain(first)


@given(st.dictionaries(st.text(), values, max_size=5), st.randoms())
def test_the_order_of_a_mapping_does_not_matter(mapping, random):
    items = list(mapping.items())
    random.shuffle(items)
    assert key("s", {"v": dict(items)}) == key("s", {"v": mapping})


def test_artifacts_and_policies_count_by_their_key():
    here, there = Artifact("sft", "k", Path("here"), 1.0), Artifact("sft", "k", Path("there"), 2.0, reused=False)
    assert key("rl", {"policy": here}) == key("rl", {"policy": there})
    assert key("rl", {"policy": here}) != key("rl", {"policy": replace(here, key="other")})
    assert key("rl", {"policy": Policy("k", Path("a"))}) == key("rl", {"policy": Policy("k", Path("b"))})


def test_records_count_by_their_fields():
    example = Example("train-0", "text", "a")
    assert key("s", {"e": example}) == key("s", {"e": Example("train-0", "text", "a")})
    assert key("s", {"e": example}) != key("s", {"e": replace(example, rationale="because")})


@pytest.mark.parametrize("value", [object(), print, Path("x"), b"bytes", {"inner": {1, object()}}, Example])
def test_what_has_no_key_is_refused(value, tmp_path):
    with pytest.raises(TypeError, match="a stage cannot be keyed by a"):
        Store(tmp_path).cached("s", print, {"value": value})
    assert list(tmp_path.iterdir()) == []


def test_not_a_number_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        key("s", {"value": float("nan")})


def write(text: str, out: Path, speed: int = 1) -> None:
    (out / "inner").mkdir(exist_ok=True)
    (out / "inner" / "text.txt").write_text(text)
    with (out / "calls.txt").open("a") as file:
        file.write("called\n")


def test_equal_work_is_done_once(tmp_path):
    store = Store(tmp_path)
    assert store.find("write", {"text": "a"}) is None
    first = store.cached("write", write, {"text": "a"}, speed=1)
    again = store.cached("write", write, {"text": "a"}, speed=2)
    other = store.cached("write", write, {"text": "b"})
    assert (first.reused, again.reused, other.reused) == (False, True, False)
    assert first.path == again.path != other.path
    assert first.key == again.key == key("write", {"text": "a"})
    assert again.seconds == first.seconds
    assert (first.path / "calls.txt").read_text() == "called\n"
    assert store.find("write", {"text": "a"}) == again


def test_the_manifest_tells_what_was_made_of_what(tmp_path):
    made = Store(tmp_path).cached("write", write, {"text": "long " * 1000})
    manifest = json.loads((made.path / "manifest.json").read_text())
    assert manifest["stage"] == "write"
    assert manifest["files"] == {name: digest(made.path / name) for name in ("calls.txt", "inner/text.txt")}
    assert manifest["seconds"] == made.seconds
    assert set(manifest["inputs"]["text"]) == {"sha256"}
    assert manifest["versions"]["genclspp"]
    assert "commit" in manifest


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_an_interrupted_stage_leaves_nothing_adopted_and_goes_on_where_it_was(tmp_path, stop):
    def halting(text: str, out: Path) -> None:
        write(text, out)
        raise stop

    store = Store(tmp_path)
    with pytest.raises(stop):
        store.cached("write", halting, {"text": "a"})
    assert store.find("write", {"text": "a"}) is None
    assert [
        path.name for path in (tmp_path / "write").iterdir() if not path.name.endswith((".partial", ".lock"))
    ] == []
    made = store.cached("write", write, {"text": "a"})
    assert not made.reused
    assert (made.path / "calls.txt").read_text() == "called\n" * 2  # the second call found what the first had left
    assert not list((tmp_path / "write").glob("*.partial"))


def test_threads_that_want_the_same_share_one_computation(tmp_path):
    store, started, found = Store(tmp_path), threading.Barrier(4), []

    def slow(text: str, out: Path) -> None:
        write(text, out)
        threading.Event().wait(0.1)

    def ask() -> None:
        started.wait()
        found.append(store.cached("write", slow, {"text": "a"}))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(artifact.reused for artifact in found) == [False, True, True, True]
    assert (found[0].path / "calls.txt").read_text() == "called\n"


def test_processes_that_want_the_same_share_one_computation(tmp_path):
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from genclspp.store import Store\n"
        "def slow(text, out):\n"
        "    with (out / 'calls.txt').open('a') as file: file.write('called\\n')\n"
        "    time.sleep(0.5)\n"
        "print(Store(Path(sys.argv[1])).cached('slow', slow, {'text': 'a'}).reused)\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate()[0].strip() for process in started]
    assert sorted(said) == ["False", "True", "True"]
    (calls,) = tmp_path.glob("slow/*/calls.txt")
    assert calls.read_text() == "called\n"


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "record.json"
    write_json(path, {"label": "体育"})
    with pytest.raises(TypeError):
        write_json(path, {"label": "other", "broken": object()})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"label": float("inf")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"label": "体育"}
    write_json(path, {"label": "third"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"label": "third"}
    assert list(path.parent.glob("*.json")) == [path]


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda folder: (folder / "numbers.txt").write_text("43"), "numbers.txt was changed"),
        (lambda folder: (folder / "numbers.txt").unlink(), "numbers.txt is missing"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "its manifest cannot be read"),
    ],
)
def test_a_damaged_artifact_is_computed_again_and_that_is_said(tmp_path, harm, told):
    store = Store(tmp_path)

    def write(value, out):
        (out / "numbers.txt").write_text(str(value))

    harm(store.cached("stage", write, {"value": 42}).path)
    with pytest.warns(UserWarning, match=told):
        again = store.cached("stage", write, {"value": 42})
    assert not again.reused
    assert (again.path / "numbers.txt").read_text() == "42"
    assert store.cached("stage", write, {"value": 42}).reused
