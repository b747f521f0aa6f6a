"""Records: flat JSON of what a cell chose, measured and spent; written at its end, read for tables."""

import json
import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from genclspp.settings import Cell
from genclspp.store.artifacts import Step
from genclspp.store.keys import key, plain
from genclspp.store.manifests import manifest
from genclspp.suggest import UserError, hint

Record = Mapping[str, Any]
TRAIN = "digest/train"  # tells training examples from others

CHOICES = (
    *("dataset", "method", "model", "train", "infer", "layout", "precision"),
    *("decode", "sft", "rl", "reward", "reasoning", "seed"),
)
TRAINING = ("sft", "rl", "head")  # roles of the stages that train a policy
GENERATIVE = "generative"  # the method of records of before there were others
SETTINGS = "settings"  # a hash of all settings but seeds
WORDS = "typed/words"  # of the command line that runs the cell alone
STRATEGY = "strategy"  # the word for both sides, if they are equal


# Fields of a cell that do not change its numbers, and are no part of its record's file name.
ASIDE = (
    *("sweep", "outputs", "tracking", "config", "knobs", "predict", "metrics", "threads", "failures", "objective"),
    "words",
)


def path_of(cell: Cell) -> Path:
    """The file of a cell's record: its choices, readable, and a hash of everything that decides its numbers."""
    shown = ["dataset", *(["method"] if cell.method else []), "model", "train", "infer", "decode"]
    shown += ["reasoning"] if cell.reasoning.enabled else []
    words = [cell.choices[name] for name in shown if name in cell.choices]
    readable = "-".join("".join(c if c.isalnum() or c in "_+" else "_" for c in word) for word in words)
    decisive, predict = _decisive(cell)
    return Path(cell.outputs) / "results" / cell.sweep / f"{readable[:100]}-{key('cell', decisive, predict)}.json"


def settings_of(cell: Cell) -> str:
    """A hash of what decides a cell's numbers besides its seeds: cells with equal words should have equal ones."""
    decisive, predict = _decisive(cell)
    del decisive["choices"]
    return key(_without_seeds(plain([decisive, predict])))


def _decisive(cell: Cell) -> tuple[dict[str, Any], dict[str, Any]]:
    """What decides a cell's numbers: its fields, and those of its settings of inference."""
    decisive = {name: value for name, value in vars(cell).items() if name not in ASIDE}
    if cell.method is None:  # as before there were others, so that records keep their names
        del decisive["method"]
        decisive["choices"] = {word: choice for word, choice in cell.choices.items() if word != "method"}
    predict = {name: value for name, value in vars(cell.predict).items() if name != "batch_size"}
    return decisive, predict


def _without_seeds(value: Any) -> Any:
    """Plain data without entries called seed, which may follow the seed of the cell."""
    if isinstance(value, Mapping):
        return {name: _without_seeds(part) for name, part in value.items() if name != "seed"}
    return [_without_seeds(part) for part in value] if isinstance(value, list) else value


def summarise(cell: Cell, steps: Sequence[Step], measured: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a cell whose steps have been carried out.

    Steps with the same role (one per fold, say) are summed up (of their peaks of memory, the highest counts), and
    the record holds the first one's key; what each of them took stands beside it, see `_several`. "policy" is the
    folder of the last training stage, relative to outputs.
    """
    record: dict[str, Any] = {"name": cell.sweep, **cell.choices, "seed": cell.seed, **cell.knobs, **measured}
    record |= {WORDS: shlex.join(cell.words), SETTINGS: settings_of(cell)}
    manifests = [manifest(step.artifact.path) for step in steps]
    for step, written in zip(steps, manifests, strict=True):
        role = step.role
        record.setdefault(f"artifact/{role}", step.artifact.key)
        if role in TRAINING:
            record["policy"] = step.artifact.path.relative_to(cell.outputs).as_posix()
        record[f"seconds/{role}"] = record.get(f"seconds/{role}", 0) + written["seconds"]
        if written.get("memory"):  # manifests of before have none
            record[f"memory/{role}"] = max(record.get(f"memory/{role}", 0), written["memory"])
        found = summary(step.artifact.path)
        for name, value in found.items():
            if (role, name) in (("think", "unclosed_share"), ("predict", "demonstration_vote")):
                record[name] = value
            if role in TRAINING and name == "parameters/trained":  # the last stage has trained the policy
                record[name] = value
            if name in ("tokens", "temperature"):
                record[f"{name}/{role}"] = record.get(f"{name}/{role}", 0) + value
            elif name.startswith(f"{role}/"):
                record[name] = value
    record["seconds"] = round(sum(written["seconds"] for written in manifests), 3)
    return record | _several(steps, manifests) | _origin(manifests)


def _several(steps: Sequence[Step], manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What each step of a role with several took: "artifact/mine_sft/2", "seconds/mine_sft/2", … of the second.

    Cells may share some of these and not others, so that their sums do not tell what was paid twice.
    """
    found: dict[str, Any] = {}
    roles = Counter(step.role for step in steps)
    numbers = Counter[str]()
    for step, written in zip(steps, manifests, strict=True):
        numbers[step.role] += 1
        if roles[step.role] > 1:
            place = f"{step.role}/{numbers[step.role]}"
            found[f"artifact/{place}"] = step.artifact.key
            taken = {**written, "tokens": summary(step.artifact.path).get("tokens")}
            found |= {f"{of}/{place}": taken[of] for of in ("seconds", "tokens", "memory") if taken.get(of)}
    return found


def summary(folder: Path) -> dict[str, Any]:
    """The numbers that a stage left in its summary.json; empty if it left none."""
    path = folder / "summary.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _origin(manifests: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    """What artifacts were computed with: versions, threads, devices, commits; several are joined by " + "."""
    found: dict[str, list[str]] = {}
    for one in manifests:
        for name, value in {
            **{f"version/{name}": version for name, version in one["versions"].items()},
            "threads": str(one.get("threads") or ""),  # manifests of before have none
            "device": one.get("device"),
            "commit": one["commit"],
        }.items():
            found.setdefault(name, [])
            if value and value not in found[name]:
                found[name].append(value)
    return {name: " + ".join(values) or None for name, values in found.items()}


def read_sweeps(results: Path, sweeps: Iterable[str]) -> list[dict[str, Any]]:
    """The records of several sweeps, one after the other; raises UserError for an unknown sweep."""
    found = []
    for sweep in dict.fromkeys(sweeps):
        if not (results / sweep).is_dir():
            known = sorted(path.name for path in results.glob("*/"))
            others = hint(sweep, known) if known else "there is none yet"
            raise UserError(f"no sweep {sweep!r} in {results}; {others}")
        of_sweep = read(results / sweep)
        if not of_sweep:
            raise UserError(f"the sweep {sweep!r} has no records in {results / sweep}")
        found += of_sweep
    return found


def read(folder: Path) -> list[dict[str, Any]]:
    """The records of a sweep, `outputs/results/<name>`, in its order; raises UserError for a broken one.

    The order is that of the numbers in the sweep's ledger; without a ledger, and behind it, that of file names.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; expected the records of a sweep, outputs/results/NAME")
    return [read_one(path) for path in sorted(folder.glob("*.json"), key=_place)]


def _place(path: Path) -> tuple[float, str]:
    """Sort key of a record's file."""
    try:
        number = json.loads((path.parent / "ledger" / path.name).read_text(encoding="utf-8"))["number"]
    except (OSError, ValueError, LookupError, TypeError):
        number = math.inf
    return float(number), path.name


def words(records: Sequence[Record]) -> list[str]:
    """The words that distinguish cells: the known choices in order, knobs, then any other text entry of a record.

    The name of the sweep comes first if there are several sweeps. Weights count where one model has several, the
    path of data where one name has several, and settings where records differ in nothing else.
    """
    others = sorted({name for record in records for name, value in record.items() if _is_word(name, value)})
    for name, of in (("weights", "model"), ("dataset.path", "dataset")):
        if name in others and not _has_several(name, of, records):
            others.remove(name)
    if SETTINGS in others:
        others.remove(SETTINGS)
        said = [name for name in (*CHOICES, *others) if name != "seed"]
        if _have_several_settings(records, ["name", *said]):
            others.append(SETTINGS)
    several = len({record.get("name") for record in records}) > 1
    known = [name for name in (*CHOICES, *others) if any(name in record for record in records)]
    return ["name", *known] if several else known


def _is_word(name: str, value: Any) -> bool:
    """Whether an entry of a record is a knob, or a text that is neither a choice nor provenance."""
    if "/" in name or name in (*CHOICES, "name", "commit", "threads", "device", "policy"):
        return False
    return "." in name or isinstance(value, str)


def _has_several(name: str, of: str, records: Sequence[Record]) -> bool:
    """Whether an entry differs between records that agree in `of` and in knobs of that group.

    Equal words may lead to different weights, say: those of a package here, those of the hub there.
    """
    found: dict[Any, Any] = {}
    for record in records:
        knobs = [item for item in record.items() if item[0].startswith(f"{of}.") and item[0] != name]
        asked = (record.get(of), *sorted(map(str, knobs)))
        if found.setdefault(asked, record.get(name)) != record.get(name):
            return True
    return False


def _have_several_settings(records: Sequence[Record], names: Sequence[str]) -> bool:
    """Whether records that agree in all words, but for the seed, have other settings. Older records do not say."""
    found: dict[Any, str] = {}
    for record in records:
        settings = record.get(SETTINGS)
        if settings and found.setdefault(tuple(record.get(name) for name in names), settings) != settings:
            return True
    return False


def is_knob_of(name: str, groups: Iterable[str]) -> bool:
    """Whether a word is a knob of one of the groups, such as "strategy.icl.shots" of "strategy"."""
    return name.partition(".")[0] in groups and "." in name


def data_of(words: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What was typed about the data of a cell, of its record or of its choices and knobs."""
    names = (name for name in words if name == "dataset" or name.startswith("dataset."))
    return tuple((name, str(words[name])) for name in sorted(names))


def split_words(records: Sequence[Record]) -> tuple[list[str], dict[str, Any]]:
    """Split words into those in which records differ, and word -> choice for those that all share.

    A word that a record cannot have tells it apart from no other: its method does.
    If sides are equal in every record, "strategy" takes the place of "train" and "infer".
    """
    names = words(records)
    if are_sides_equal(records):
        names = [STRATEGY if name == "train" else name for name in names if name != "infer"]
    found = {name: [chosen(record, name) for record in records if concerns(record, name)] for name in names}
    shared = {name: values[0] for name, values in found.items() if values == values[:1] * len(values)}
    return [name for name in names if name not in shared], shared


def concerns(record: Record, word: str) -> bool:
    """Whether a record can have a word: a baseline has neither a decoder nor a knob of one."""
    group = word.partition(".")[0]
    group = "train" if group == STRATEGY else group
    return record.get("method", GENERATIVE) == GENERATIVE or group not in CHOICES or record.get(group) is not None


def are_sides_equal(records: Sequence[Record]) -> bool:
    return all(record.get("train") == record.get("infer") for record in records)


def chosen(record: Record, word: str) -> Any:
    """The choice of a record for a word; "strategy" is that of both sides, which then are equal."""
    return record.get("train" if word == STRATEGY else word)


def read_one(path: Path) -> dict[str, Any]:
    """The record in a file; raises UserError for a broken one."""
    again = "run the command of its sweep again, which writes it anew and reuses the artifacts"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON, and of UTF-8
        raise UserError(f"{path} is not a record ({error}); {again}") from None
    for name in ("accuracy", "seed"):
        if not isinstance(record, dict) or not isinstance(record.get(name), int | float):
            raise UserError(f"{path} is not a record (it has no {name}); {again}")
    return _as_today(record)


def _as_today(record: dict[str, Any]) -> dict[str, Any]:
    """A record as it is written today.

    Before November 2026, it held the knobs as one text, "dataset.path=… strategy.icl.shots=3", and no method.
    """
    typed = re.split(r" (?=[+~]?[\w./@]+=)", record.pop("overrides", ""))
    knobs = dict(word.lstrip("+~").split("=", 1) for word in typed if "=" in word)
    if record.get("dataset") in ("local", "hub") and "dataset.path" in knobs:
        record["dataset"] = Path(knobs["dataset.path"]).stem
    return {"method": GENERATIVE, **{name: _parsed(text) for name, text in knobs.items()}, **record}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
