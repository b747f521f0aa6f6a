"""Equal work is done once, and nothing half-done counts."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from genclspp.settings import Reward, SftSettings
from genclspp.store import filesystem, keys, manifests
from genclspp.store.artifacts import Artifact, Busy, Step, Store, stage
from genclspp.store.files import write_json
from genclspp.store.keys import digest, key, plain
from genclspp.store.manifests import manifest
from genclspp.task import Example
from genclspp.training import rewards, sft

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
        "from genclspp.store.keys import key\n"
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
        {"settings": Reward("settings", rewards.correct, 0.1)},
        {"more": None},
    ],
)
def test_every_change_of_an_input_changes_the_key(changed):
    assert key("sft", INPUTS | changed) != key("sft", INPUTS)


def write(text: str, out: Path, batch_size: int = 1) -> None:
    (out / "inner").mkdir(exist_ok=True)
    (out / "inner" / "text.txt").write_text(text)
    with (out / "calls.txt").open("a") as file:
        file.write("called\n")


def step(root: Path, text: object, function=write, name: str = "write", version: int = 1) -> Step:
    return Store(root).step(partial(stage(name, version)(function), text=text))


def test_the_name_of_a_stage_and_its_version_are_part_of_the_key(tmp_path):
    keys = [
        step(tmp_path, "a", name=name, version=version).artifact.key
        for name, version in (("w", 1), ("w", 2), ("v", 1))
    ]
    assert len(set(keys)) == 3
    assert step(tmp_path, "a", name="w").artifact.key == keys[0]


def test_every_stage_of_ours_has_a_name_and_a_version():
    found = vars(sft.fit)["stage"]
    assert (found.name, found.version) == ("sft", 3)


def load(path: Path):
    """The module in a file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_class_that_moves_keeps_its_key(monkeypatch):
    example = Example("train-0", "text", "a")
    before = key(example), key(rewards.correct)
    keys._record.cache_clear()  # what a class is called is looked up once in a process
    monkeypatch.setattr(Example, "__module__", "genclspp.elsewhere.moved")
    monkeypatch.setattr(rewards.correct, "__module__", "genclspp.elsewhere.moved")
    assert (key(example), key(rewards.correct)) == before


PART = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Part:
    size: int = 1

def reward(completions, **_):
    return [{value}] * len(completions)
"""


def test_parts_from_outside_the_package_count_by_the_content_of_their_file(tmp_path, monkeypatch):
    found = []
    for place, value in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        path = tmp_path / place / "mine.py"
        path.parent.mkdir()
        path.write_text(PART.format(value=value))
        mine = load(path)
        monkeypatch.setitem(sys.modules, "mine", mine)
        found.append((key(Reward("mine", mine.reward)), key(mine.Part())))
    assert found[0] == found[1]
    assert found[0][0] != found[2][0]
    assert found[0][1] != found[2][1]


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
    here, there = Artifact("sft", "k", Path("here")), Artifact("sft", "k", Path("there"))
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
        Store(tmp_path).carry_out(step(tmp_path, value))
    assert list(tmp_path.iterdir()) == []


def test_not_a_number_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        key("s", {"value": float("nan")})


def test_equal_work_is_done_once(tmp_path):
    store = Store(tmp_path)
    first, again, other = step(tmp_path, "a"), step(tmp_path, "a"), step(tmp_path, "b")
    assert not store.holds(first.artifact)
    assert [store.carry_out(each) for each in (first, again, other)] == [True, False, True]
    assert first.artifact == again.artifact != other.artifact
    assert (first.artifact.path / "calls.txt").read_text() == "called\n"
    assert store.holds(again.artifact)


def test_what_stands_beside_the_inputs_changes_no_key(tmp_path):
    made = step(tmp_path, "a")
    assert made.takes("batch_size")
    assert not made.takes("watch")

    @contextmanager
    def around():
        yield {"batch_size": 7}

    assert Store(tmp_path).carry_out(made, around)
    assert not Store(tmp_path).carry_out(step(tmp_path, "a"))


def test_a_key_that_depends_on_what_is_not_known_yet_is_not_known_either(tmp_path):
    unknown = Artifact("mine", None, tmp_path)
    behind = step(tmp_path, {"mined": unknown})
    assert behind.artifact.key is None
    assert step(tmp_path, behind.artifact).artifact.key is None
    assert not Store(tmp_path).holds(behind.artifact)
    with pytest.raises(ValueError, match="depends on a stage that has not run yet"):
        Store(tmp_path).carry_out(behind)


def test_the_manifest_tells_what_was_made_of_what(tmp_path):
    made = step(tmp_path, "long " * 1000)
    Store(tmp_path).carry_out(made)
    path = made.artifact.path
    found = manifest(path)
    assert (found["stage"], found["version"]) == ("write", 1)
    assert found["files"] == {name: digest(path / name) for name in ("calls.txt", "inner/text.txt")}
    assert found["seconds"] >= 0
    assert set(found["inputs"]["text"]) == {"sha256"}
    assert found["versions"]["genclspp"]
    assert "commit" in found


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_an_interrupted_stage_leaves_nothing_adopted_and_goes_on_where_it_was(tmp_path, stop):
    def halting(text: str, out: Path) -> None:
        write(text, out)
        raise stop

    store, made = Store(tmp_path), step(tmp_path, "a")
    with pytest.raises(stop):
        store.carry_out(step(tmp_path, "a", halting))
    assert not store.holds(made.artifact)
    assert [
        path.name for path in (tmp_path / "write").iterdir() if not path.name.endswith((".partial", ".lock"))
    ] == []
    assert store.carry_out(made)
    assert (
        made.artifact.path / "calls.txt"
    ).read_text() == "called\n" * 2  # the second call found what the first had left
    assert not list((tmp_path / "write").glob("*.partial"))


def test_threads_that_want_the_same_share_one_computation(tmp_path):
    store, started, found = Store(tmp_path), threading.Barrier(4), []

    def slow(text: str, out: Path) -> None:
        write(text, out)
        threading.Event().wait(0.1)

    def ask() -> None:
        started.wait()
        found.append(store.carry_out(step(tmp_path, "a", slow)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False, False, False, True]
    assert (step(tmp_path, "a").artifact.path / "calls.txt").read_text() == "called\n"


def test_processes_that_want_the_same_share_one_computation(tmp_path):
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from functools import partial\n"
        "from genclspp.store.artifacts import Store, stage\n"
        "@stage('slow', version=1)\n"
        "def slow(text, out):\n"
        "    with (out / 'calls.txt').open('a') as file: file.write('called\\n')\n"
        "    time.sleep(0.5)\n"
        "store = Store(Path(sys.argv[1]))\n"
        "print(store.carry_out(store.step(partial(slow, text='a'))))\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate()[0].strip() for process in started]
    assert sorted(said) == ["False", "False", "True"]
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

    def numbers(text, out):
        (out / "numbers.txt").write_text(str(text))

    made = step(tmp_path, 42, numbers)
    store.carry_out(made)
    harm(made.artifact.path)
    with pytest.warns(UserWarning, match=told):
        assert store.carry_out(made)
    assert (made.artifact.path / "numbers.txt").read_text() == "42"
    assert not store.carry_out(made)


def weights(text, out):
    """A large file, of which the disk holds little."""
    with (out / "weights").open("wb") as file:
        file.truncate(manifests.LARGE + 1)
        file.write(str(text).encode())


def test_a_large_file_is_hashed_once_and_again_after_a_change(tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(manifests, "digest", lambda path: hashed.append(path.name) or digest(path))
    store, made = Store(tmp_path), step(tmp_path, 42, weights)
    store.carry_out(made)
    assert not any(store.carry_out(made) for _ in range(3))
    assert hashed == ["weights"]
    with (made.artifact.path / "weights").open("r+b") as file:
        file.write(b"43")
    with pytest.warns(UserWarning, match="weights was changed"):
        assert store.carry_out(made)
    assert not store.carry_out(made)


def test_another_process_notices_what_has_happened_to_a_large_file(tmp_path, monkeypatch):
    store, made = Store(tmp_path), step(tmp_path, 42, weights)
    store.carry_out(made)
    path = made.artifact.path / "weights"
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"43")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # the disk did it
    monkeypatch.setattr(manifests, "_HASHES", {})
    with pytest.warns(UserWarning, match="weights was changed"):
        assert store.carry_out(made)


def test_what_is_damaged_again_takes_the_place_of_what_was_set_aside(tmp_path):
    store, made = Store(tmp_path), step(tmp_path, "a")
    store.carry_out(made)
    folder = made.artifact.path
    for content in ("first", "second"):
        (folder / "calls.txt").write_text(content)
        with pytest.warns(UserWarning, match=rf"set aside in {folder.name}\.damaged and computed again"):
            assert store.carry_out(made)
        assert (folder.with_name(f"{folder.name}.damaged") / "calls.txt").read_text() == content
    assert (folder / "calls.txt").read_text() == "called\n"


def test_a_changed_byte_of_a_manifest_is_noticed_unless_it_means_the_same(tmp_path):
    store, made = Store(tmp_path), step(tmp_path, "a")
    store.carry_out(made)
    path = made.artifact.path / "manifest.json"
    content = path.read_bytes()
    told = manifest(path.parent)
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        if store.holds(made.artifact):
            read = json.loads(path.read_bytes())
            assert {name: read.get(name) for name in told} == told
    path.write_bytes(content)
    assert store.holds(made.artifact)


def test_a_file_that_vanishes_while_it_is_looked_at_counts_as_damage(tmp_path, monkeypatch):
    """As where another process has found it damaged, and sets the artifact aside."""
    store, made = Store(tmp_path), step(tmp_path, "a")
    store.carry_out(made)

    def vanish(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(manifests, "digest", vanish)
    assert not store.holds(made.artifact)


def test_who_does_not_wait_is_told_that_another_computes(tmp_path):
    store, made = Store(tmp_path), step(tmp_path, "a")
    made.artifact.path.parent.mkdir(parents=True)
    with FileLock(f"{made.artifact.path}.lock"), pytest.raises(Busy):
        store.carry_out(made, waits=False)
    assert store.carry_out(made, waits=False)


def test_who_does_not_wait_needs_no_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(filesystem, "has_locks", lambda folder: False)
    store, made = Store(tmp_path), step(tmp_path, "a")
    made.artifact.path.parent.mkdir(parents=True)
    Path(f"{made.artifact.path}.lock").touch()  # of a process that died
    assert store.carry_out(made, waits=False)
