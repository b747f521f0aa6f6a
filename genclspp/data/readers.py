"""Reads the rows of files and of hub data sets, and keeps their places for error messages."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from genclspp import hub
from genclspp.data.faults import Fault
from genclspp.suggest import UserError, hint, nearest

ENDINGS = (".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Table:
    """The rows of one split, as they are in the source.

    source:  the file, or the data set and its split
    lines:   the line number of each row, where the source has lines
    classes: column -> class names, for columns that hold class indices
    faults:  lines that cannot be read as a row
    """

    source: str
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    lines: list[int] | None = None
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()

    def number(self, row: int) -> int:
        """Of the line of a row, or the row's own where the source has no lines."""
        return self.lines[row] if self.lines else row

    def place(self, row: int) -> str:
        """Where a row is in the source."""
        return f"{'line' if self.lines else 'row'} {self.number(row)}"


def read_file(path: Path) -> Table:
    """The rows of a jsonl, csv, tsv or parquet file; lines that cannot be parsed are among its `faults`.

    Raises UserError if there is no such file, or if it cannot be read at all.
    """
    if path.suffix.lower() not in ENDINGS:
        found = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise UserError(f"{path} {found}; expected one of {', '.join(ENDINGS)}")
    if not path.is_file():
        raise UserError(f"no such file: {path}{near(path)}")
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    text = read_text(path)
    if path.suffix.lower() in (".csv", ".tsv"):
        return _read_csv(path, text, "," if path.suffix.lower() == ".csv" else "\t")
    return _read_json_lines(path, text)


def near(path: Path) -> str:
    """The end of a message about a path that is not there: what beside it was probably meant."""
    found = nearest(path.name, [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else [])
    return f"; did you mean {found!r}?" if found else ""


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise UserError(
            f"{path}, line {line} is not valid UTF-8 (byte 0x{byte:02x}); save the file as UTF-8"
        ) from None


def read_json(path: Path) -> Any:
    """The value in a JSON file."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno} is not valid JSON: {error.msg}") from None


def _read_json_lines(path: Path, text: str) -> Table:
    is_list = text.lstrip().startswith("[")
    if (is_list and path.suffix.lower() == ".json") or _is_one_value(text):
        found = "list" if is_list else "object over several lines"
        raise UserError(f"{path} holds one JSON {found}; expected JSON lines: one object per line")
    rows, lines, faults = [], [], []
    for number, line in enumerate(text.split("\n"), 1):  # splitlines() would also split at U+2028
        if not line.strip():
            continue
        try:
            rows.append(_json_object(line))
            lines.append(number)
        except ValueError as error:
            shown = line.strip() if len(line) <= 60 else line.strip()[:60] + "…"
            faults.append(Fault(number, f"line {number} is {error}: {shown!r}"))
    if len(faults) > 1 and not rows:
        raise UserError(f"no line of {path} is a JSON object; {faults[0].sentence}")
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    return Table(str(path), columns, rows, lines, faults=tuple(faults))


def _is_one_value(text: str) -> bool:
    """Whether a text is one JSON value over several lines."""
    if "\n" not in text.strip():
        return False
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


def _json_object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"not a complete JSON object ({error.msg})") from None
    if not isinstance(value, dict):
        raise UserError(f"a {type(value).__name__}; expected an object")
    return value


def _read_csv(path: Path, text: str, delimiter: str) -> Table:
    csv.field_size_limit(2**31 - 1)
    records = _csv_records(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    _, columns = next(records, (1, []))
    if isinstance(columns, csv.Error):
        raise UserError(f"{path}, line 1 is not valid: {columns}")
    if len(columns) == 1 and (other := re.search(r"[;\t|,]", columns[0])):
        raise UserError(f"{path} is separated by {other[0]!r}; expected ',' in a csv file, a tab in a tsv file")
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise UserError(f"{path} has the column {repeated[0]!r} twice; expected each column once in line 1")
    rows, lines, faults = [], [], []
    for line, fields in records:
        if isinstance(fields, csv.Error):
            is_open = "end of data" in str(fields)
            what = "a quote is opened and never closed" if is_open else fields
            faults.append(Fault(line, f"line {line} is not valid: {what}"))
        elif fields and len(fields) != len(columns):
            wanted = f"expected {len(columns)} ({', '.join(columns)})"
            faults.append(Fault(line, f"line {line} has {len(fields)} fields; {wanted}"))
        elif fields:
            rows.append(dict(zip(columns, fields, strict=True)))
            lines.append(line)
    return Table(str(path), tuple(columns), rows, lines, faults=tuple(faults))


def _csv_records(reader: Any) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """The line at which each record starts, and its fields, or why it cannot be read: the next one may be."""
    while True:
        start = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fields = error
        yield start, fields


def _read_parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable parquet file: {first_line(error)}") from None
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

    Raises UserError if the data set cannot be found or loaded.
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
            raise UserError(f"{path} has no subset {subset!r}; {hint(subset, names)}")
        if subset is None and len(names) > 1 and "default" not in names:
            raise UserError(f"{path} has several subsets; set dataset.subset to one of: {', '.join(names)}")
        return datasets.load_dataset(path, subset, revision=revision)
    except (FileNotFoundError, ConnectionError) as error:
        if is_out_of_reach:
            raise UserError(
                f"hub data set {path!r} not found on this machine, and the hub cannot be reached"
            ) from None
        wanted = "expected an id on the hub, or a local folder in hub format"
        raise UserError(f"hub data set {path!r} not found: {wanted} ({first_line(error)})") from None
    except (RuntimeError, DatasetsError) as error:
        raise UserError(f"hub data set {path!r} cannot be loaded: {first_line(error)}") from None


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
