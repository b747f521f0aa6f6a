"""What a sweep finds under its name: records that it replaces, and others that its tables would also hold."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from genclspp.report import records
from genclspp.report.records import Record
from genclspp.runs.plan import Memory
from genclspp.settings import Cell
from genclspp.store.artifacts import Step, outline
from genclspp.store.keys import key
from genclspp.store.manifests import manifest
from genclspp.task import Task

MOST = 3  # differences that a sentence names
# Words that set no records apart: seeds make one series; a model settles layout and precision if nobody does.
IDLE = ("seed", "layout", "precision", "dataset.path")


def digest_of(cell: Cell, task: Task, memory: Memory) -> str:
    """What tells the training examples of a cell from others. task: its data"""
    train = task.splits["train"]
    return memory.once(
        lambda: key([(each.id, each.text, each.label) for each in train]), "digest of data", cell.dataset
    )


def find(cells: Sequence[Cell], plans: Sequence[Sequence[Step]], data: Sequence[str]) -> list[str]:
    """Sentences about the records that are there before the cells of a sweep, or a single cell, run.

    plans: the steps of each cell
    data:  digest of the training examples of each cell
    """
    steps = {records.path_of(cell).name: steps for cell, steps in zip(cells, plans, strict=True)}
    there = _read(records.path_of(cells[0]).parent)
    replaced = _replaced([(record, steps[name]) for name, record in there.items() if name in steps])
    others = [record for name, record in there.items() if name not in steps]
    beside = _beside(others, Here(cells, plans)) if others else None
    known = {records.data_of({**cell.choices, **cell.knobs}): one for cell, one in zip(cells, data, strict=True)}
    return [sentence for sentence in (replaced, beside, _of_other_data(others, known)) if sentence]


def _of_other_data(others: Sequence[Record], known: Mapping[Any, str]) -> str | None:
    """The sentence about other records whose data have changed since. known: what says the data -> their digest"""
    pairs = [(record.get(records.TRAIN), known.get(records.data_of(record))) for record in others]
    count = sum(bool(before and now and before != now) for before, now in pairs)
    if not count:
        return None
    which = "another record" if count == 1 else f"{count} other records"
    return f"{which} under this name: made from training examples that have changed since; its tables say so"


def _read(folder: Path) -> dict[str, Record]:
    """File name -> record; a damaged one is left to those who need it."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError):
            found[path.name] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _replaced(own: Sequence[tuple[Record, Sequence[Step]]]) -> str | None:
    """The sentence about records of the same cells that are planned with other predictions."""
    changed = [(record, steps) for record, steps in own if _is_changed(record, steps)]
    if not changed:
        return None
    reasons = dict.fromkeys(filter(None, (difference(record, steps) for record, steps in changed)))
    why = f": {_listed(list(reasons))}" if reasons else ""
    which = "a record" if len(changed) == 1 else f"{len(changed)} records"
    return f"{which} under this name will be replaced, with other predictions{why}"


def _is_changed(record: Record, steps: Sequence[Step]) -> bool:
    key = steps[-1].artifact.key  # None: that is not known yet
    return key is not None and record.get("artifact/predict") != key


def _beside(others: Sequence[Record], here: "Here") -> str | None:
    """The sentence about other records that differ in more than what the sweep varies."""
    apart = [found for record in others if (found := here.apart(record))]
    if not apart:
        return None
    values: dict[str, dict[str, None]] = {}  # what differs -> what it is there
    for found in apart:
        for what, value in found.items():
            values.setdefault(what, {}).update({value: None} if value else {})
    told = [f"{what}, {', '.join(list(there)[:MOST])} there" if there else what for what, there in values.items()]
    which = "another record differs" if len(apart) == 1 else f"{len(apart)} other records differ"
    return f"{which} under this name: {_listed(told)}. Its tables hold both; another name=… keeps them apart"


class Here:
    """The cells that are about to run, and the steps of each."""

    def __init__(self, cells: Sequence[Cell], plans: Sequence[Sequence[Step]]) -> None:
        self._cells, self._plans = cells, plans
        self._words = [_words({**cell.choices, **cell.knobs}) for cell in cells]
        self._places = {tuple(sorted(words.items())): place for place, words in enumerate(self._words)}
        self._settings = {records.settings_of(cell) for cell in cells}
        self._shared = cache(self._find_shared)

    def apart(self, record: Record) -> dict[str, str]:
        """In what a record differs from all cells, beyond what they differ in -> what it is there."""
        if record.get(records.SETTINGS) in self._settings:
            return {}  # another seed
        there = _words({name: value for name, value in record.items() if _is_said(name)})
        names = dict.fromkeys([*(name for words in self._words for name in words), *there])
        shared = {name: self._shared(name) for name in names if records.concerns(record, name)}
        found = {
            f"{name} {value} here": there.get(name) or self._settled(record, name) or "not set"
            for name, value in shared.items()
            if value is not None and there.get(name) != value
        }
        place = self._places.get(tuple(sorted(there.items())))
        if found or place is None or records.SETTINGS not in record:
            return found
        return {difference(record, self._plans[place]) or "settings that no word tells": ""}

    def _settled(self, record: Record, name: str) -> str | None:
        """The value of a knob in a record that does not say it, from the settings that its stage was given."""
        role, *names = name.split(".")
        root = self._plans[0][0].store.root
        try:
            found = manifest(root / role / str(record.get(f"artifact/{role}")))["inputs"]["settings"]
            for each in names:
                found = found[each]
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return str(found)

    def _find_shared(self, name: str) -> str | None:
        """What all cells are in a word; None where they differ, so that other values may be theirs as well."""
        pairs = zip(self._words, self._cells, strict=True)
        found = {words.get(name) or _default(cell, name) for words, cell in pairs}
        # Cell by cell, people try one choice after the other under one name; a knob is easily forgotten.
        is_free = len(found) > 1 or ("." not in name and len(self._places) == 1)
        return None if is_free else found.pop()


def _words(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items() if name not in IDLE and value is not None}


def _is_said(name: str) -> bool:
    """Whether an entry of a record is a choice or a knob."""
    return name in records.CHOICES or ("." in name and "/" not in name)


def _default(cell: Cell, key: str) -> str | None:
    """The value of a knob that was not typed; None if the cell has no such key."""
    found: Any = cell.config if "." in key else None
    for name in key.split("."):
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return str(found)


def difference(record: Record, steps: Sequence[Step]) -> str | None:
    """How the first step that differs from a record's does, such as "sft.args.learning_rate 0.1, was 0.2".

    None where nothing tells: the artifact is gone, or depends on what is not known yet.
    """
    first = {step.role: step for step in reversed(steps)}  # of a role's steps, records name the first
    for role in dict.fromkeys(step.role for step in steps):
        step, old = first[role], record.get(f"artifact/{role}")
        if not old or not step.artifact.key or old == step.artifact.key:
            continue
        with suppress(OSError, ValueError, KeyError):
            before = manifest(step.artifact.path.with_name(old))
            if before["version"] != step.stage.version:
                return f"the stage {role} has changed"
            after = {name: outline(value) for name, value in step.inputs.items()}
            if told := _inputs(role, after, before["inputs"]):
                return told
    return None


def _inputs(role: str, after: Mapping[str, Any], before: Mapping[str, Any]) -> str | None:
    """The inputs of a stage that differ; of settings, the keys with their values.

    Of a policy, the stage that has trained it tells more; and seeds are meant to differ.
    """
    told = []
    for name in after:
        if name == "settings":
            told += _values(role, after[name], before.get(name))
        elif name not in ("policy", "seed") and after[name] != before.get(name):
            told.append(f"{role} gets other {'prompts' if name == 'inputs' else name}")
    return _listed(told) if told else None


def _values(key: str, after: Any, before: Any) -> list[str]:
    """The keys below `key` whose values differ."""
    if isinstance(after, Mapping) and isinstance(before, Mapping):
        names = dict.fromkeys([*after, *before])
        return [told for name in names for told in _values(f"{key}.{name}", after.get(name), before.get(name))]
    return [] if after == before else [f"{key} {after}, was {before}"]


def _listed(found: Sequence[str]) -> str:
    return "; ".join(found[:MOST]) + (f"; and {len(found) - MOST} more" if len(found) > MOST else "")
