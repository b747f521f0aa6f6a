"""Reads the rows of files and of hub data sets, and keeps their places for error messages."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from genclspp import hub
from genclspp.suggest import hint

ENDINGS = (".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Table:
    """The rows of one split, as they are in the source.

    source:  the file, or the data set and its split
    lines:   the line number of each row, where the source has lines
    classes: column -> class names, for columns that hold class indices
    """

    source: str
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    lines: list[int] | None = None
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def place(self, row: int) -> str:
        return f"{self.source}, line {self.lines[row]}" if self.lines else f"{self.source}, row {row}"


def read_file(path: Path) -> Table:
    """The rows of a jsonl, csv, tsv or parquet file.

    Raises FileNotFoundError if there is no such file, ValueError with the line if it cannot be parsed.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{path} ends in {path.suffix!r}; expected a file in {', '.join(ENDINGS)}")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    text = read_text(path)
    if path.suffix.lower() in (".csv", ".tsv"):
        return _read_csv(path, text, "," if path.suffix.lower() == ".csv" else "\t")
    return _read_json_lines(path, text)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise ValueError(f"{path}, line {line} is not valid UTF-8 (byte 0x{byte:02x})") from None


def read_json(path: Path) -> Any:
    """The value in a JSON file."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno} is not valid JSON: {error.msg}") from None


def _read_json_lines(path: Path, text: str) -> Table:
    if path.suffix.lower() == ".json" and text.lstrip().startswith("["):
        raise ValueError(f"{path} holds one JSON list; expected JSON lines: one object per line")
    rows, lines = [], []
    for number, line in enumerate(text.split("\n"), 1):  # splitlines() would also split at U+2028
        if line.strip():
            rows.append(_json_object(path, number, line))
            lines.append(number)
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    return Table(str(path), columns, rows, lines)


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    shown = line.strip() if len(line) <= 60 else line.strip()[:60] + "…"
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        problem = f"is not a complete JSON object ({error.msg})"
        raise ValueError(f"{path}, line {number} {problem}: {shown!r}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}, line {number} is a {type(value).__name__}; expected an object: {shown!r}")
    return value


def _read_csv(path: Path, text: str, delimiter: str) -> Table:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, lines = [], []
    start = 1
    try:
        columns = next(reader, [])
        repeated = sorted({name for name in columns if columns.count(name) > 1})
        if repeated:
            raise ValueError(f"{path} has the column {repeated[0]!r} twice; expected each column once in line 1")
        start = reader.line_num + 1
        for fields in reader:
            if fields and len(fields) != len(columns):
                wanted = f"expected {len(columns)} ({', '.join(columns)})"
                raise ValueError(f"{path}, line {start} has {len(fields)} fields; {wanted}")
            if fields:
                rows.append(dict(zip(columns, fields, strict=True)))
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}, line {start} is not valid: {error}") from None
    return Table(str(path), tuple(columns), rows, lines)


def _read_parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a readable parquet file: {first_line(error)}") from None
    metadata = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    features = metadata.get("info", {}).get("features", {})
    classes = {name: names for name, value in features.items() if (names := _class_names(value))}
    return Table(str(path), tuple(table.column_names), table.to_pylist(), classes=classes)


def _class_names(feature: Any) -> tuple[str, ...] | None:
    """The class names in a `datasets` feature in its JSON form: a ClassLabel, or a list of them."""
    if isinstance(feature, list):
        return _class_names(feature[0]) if feature else None
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") in ("List", "LargeList", "Sequence"):
        return _class_names(feature.get("feature"))
    if feature.get("_type") != "ClassLabel":
        return None
    return tuple(str(name) for name in feature["names"])  # YAML reads a name `no` in a card as false


def read_hub(path: str, subset: str | None, revision: str | None) -> dict[str, Callable[[], Table]]:
    """Split -> a function that reads its rows. `path` is a hub id, or a local folder in hub format.

    Raises FileNotFoundError if the data set cannot be found, ValueError if it cannot be loaded.
    """
    splits = _load_hub(path, subset, revision)

    def table(split: str) -> Table:
        part = splits[split]
        classes = {n: names for n, value in part.features.to_dict().items() if (names := _class_names(value))}
        return Table(f"{path}, split {split}", tuple(part.column_names), part.to_list(), classes=classes)

    return {str(split): partial(table, split) for split in splits}


def _load_hub(path: str, subset: str | None, revision: str | None) -> Any:
    import datasets
    from datasets.exceptions import DatasetsError

    saved = Path(path) / "dataset_dict.json"
    is_out_of_reach = not Path(path).exists() and hub.is_out_of_reach()
    try:
        if saved.exists():
            return datasets.DatasetDict.load_from_disk(path)
        names = datasets.get_dataset_config_names(path, revision=revision)
        if subset is not None and subset not in names:
            raise ValueError(f"{path} has no subset {subset!r}; {hint(subset, names)}")
        if subset is None and len(names) > 1 and "default" not in names:
            raise ValueError(f"{path} has several subsets; set dataset.subset to one of: {', '.join(names)}")
        return datasets.load_dataset(path, subset, revision=revision)
    except (FileNotFoundError, ConnectionError) as error:
        if is_out_of_reach:
            raise FileNotFoundError(
                f"hub data set {path!r} not found on this machine, and the hub cannot be reached"
            ) from None
        wanted = "expected an id on the hub, or a local folder in hub format"
        raise FileNotFoundError(f"hub data set {path!r} not found: {wanted} ({first_line(error)})") from None
    except (RuntimeError, DatasetsError) as error:
        raise ValueError(f"hub data set {path!r} cannot be loaded: {first_line(error)}") from None


def first_line(error: BaseException) -> str:
    """The first line of a library's message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def kind(value: Any) -> str:
    """The JSON type of a value, with its article.

    >>> kind(None), kind([])
    ('null', 'a list')
    """
    kinds = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return "null" if value is None else kinds.get(type(value), f"a {type(value).__name__}")
