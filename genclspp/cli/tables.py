"""The command that makes tables: descriptions from files or options, tables to the terminal or into files."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from genclspp.cli import typed
from genclspp.cli.compose import CONF
from genclspp.report import formats, results, table
from genclspp.report.description import Description
from genclspp.report.entries import Table
from genclspp.report.notes import notes
from genclspp.runs.ledger import Entry, Ledger
from genclspp.suggest import UserError, hint

FOLDER = Path(CONF) / "table"
OPTIONS = ("rows", "columns", "baseline", "metric", "beside", "average")  # each a key of a description, too
ENDINGS: dict[str, Callable[[Table], str]] = {
    "md": formats.markdown,
    "csv": formats.comma_separated,
    "tex": formats.latex,
}


def make(args: argparse.Namespace) -> None:
    """Make the tables that the command line asks for, print them, and write them if it says so."""
    described = describe(args)
    try:
        found = results.read(args.names, args.outputs)
        made = [_build(found, *each, args) for each in described.items()]
        print_tables(made, args.format)
    finally:  # cells without a result may be why there is no table
        sys.stdout.flush()
        for name in args.names:
            print(unfinished(name, Ledger(args.outputs / "results" / name).read()), end="", file=sys.stderr)
    if args.save:
        for path in save(made, args.outputs / "report" / "+".join(args.names)):
            print(f"written: {path}", file=sys.stderr)


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("names", nargs="+", metavar="NAME", help="name of a sweep: a folder in OUTPUTS/results")
    add(
        "--table",
        metavar="TABLE",
        help="a description in conf/table, or a YAML file (default: conf/table/NAME.yaml)",
    )
    add("--rows", nargs="+", metavar="WORD", help="what rows differ in (default: all that columns do not show)")
    add("--columns", nargs="+", metavar="WORD", help="what columns differ in (default: nothing)")
    add("--baseline", nargs="+", metavar="WORD=CHOICE", help="what to compare with")
    add("--metric", help="any number in the records (default: accuracy)")
    add(
        "--beside",
        nargs="+",
        metavar="NUMBER",
        help="further numbers, a column each, such as macro_f1 or 'seconds/*'",
    )
    add("--average", action="store_true", default=None, help="with --columns dataset: average over the data sets")
    add("--format", choices=["text", "markdown", "csv", "latex"], default="text", help="what is printed")
    add("--save", action="store_true", help="also write OUTPUTS/report/NAME/TABLE.md, .csv and .tex")
    add("--outputs", type=Path, default=Path("outputs"), help="the root of all results (default: outputs)")


def describe(args: argparse.Namespace) -> dict[str, Description]:
    """Name -> description of the tables: from options, from a file, or of all differences."""
    given = {name: value for name in OPTIONS if (value := getattr(args, name)) is not None}
    if given and args.table:
        raise UserError(f"--table {args.table} and --{next(iter(given))}; expected either a file or options")
    if args.table:
        return read(_find(args.table))
    path = FOLDER / f"{args.names[0]}.yaml"
    if not given and len(args.names) == 1 and path.is_file():
        return read(path)
    if "baseline" in given:
        given["baseline"] = dict(map(_pair, given["baseline"]))
    return {"+".join(args.names): typed.build(Description, given, "table")}


def read(path: Path) -> dict[str, Description]:
    """The tables that a file describes: name -> description; raises UserError for what is wrong in it."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, Mapping) or not found:
        held = f"holds {type(found).__name__}" if found else "is empty"
        raise UserError(f"{path} {held}; expected name: {{rows: [WORD], …}} for each table")
    try:
        return {str(name): typed.build(Description, each, str(name)) for name, each in found.items()}
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def unfinished(name: str, entries: Sequence[Entry]) -> str:
    """How many cells of a sweep have no result, in a line; empty if all of them have one.

    >>> unfinished("dev", [Entry(1, "", "a", "failed"), Entry(2, "", "b", "done"), Entry(3, "", "c")])
    '1 of 3 cells of the sweep dev has failed, 1 is still to come; python scripts/status.py dev says why\\n'
    """
    counts = Counter[str]("pending" if each.state == "running" else each.state for each in entries)
    found = [
        (counts[state], one if counts[state] == 1 else several)
        for state, one, several in (
            ("failed", "has failed", "have failed"),
            ("skipped", "was skipped", "were skipped"),
            ("pending", "is still to come", "are still to come"),
        )
        if counts[state]
    ]
    if not found:
        return ""
    (count, what), *rest = found
    told = [f"{count} of {len(entries)} cells of the sweep {name} {what}", *(f"{n} {each}" for n, each in rest)]
    return f"{', '.join(told)}; python scripts/status.py {name} says why\n"


def print_tables(made: Sequence[Table], format: str) -> None:
    if format == "csv":  # stdout holds nothing but CSV
        print(formats.comma_separated(*made), end="")
        print("\n".join(note for each in made for note in notes(each)), file=sys.stderr)
        return
    console = Console(highlight=False)
    for place, each in enumerate(made):
        if place:
            print()
        if format == "text":
            formats.show(each, console)
        else:
            print({"markdown": formats.markdown, "latex": formats.latex}[format](each), end="")


def save(made: Sequence[Table], folder: Path) -> list[Path]:
    """Write every table in every format; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for each in made:
        for ending, write in ENDINGS.items():
            path = folder / f"{each.name}.{ending}"
            path.write_text(write(each), encoding="utf-8")
            found.append(path)
    return found


def _build(found: results.Results, name: str, about: Description, args: argparse.Namespace) -> Table:
    try:
        return table.build(found, about, name)
    except UserError as error:
        described = args.table or any(getattr(args, option) is not None for option in OPTIONS)
        where = f"table {name}: " if args.table or not described else ""
        raise UserError(f"{where}{error}") from None


def _find(wanted: str) -> Path:
    if wanted.endswith((".yaml", ".yml")):
        if not Path(wanted).is_file():
            raise UserError(f"--table {wanted}: there is no such file")
        return Path(wanted)
    path = FOLDER / f"{wanted}.yaml"
    if not path.is_file():
        known = sorted(each.stem for each in FOLDER.glob("*.yaml"))
        raise UserError(f"no table {wanted!r}; {hint(wanted, known)}")
    return path


def _pair(word: str) -> tuple[str, Any]:
    name, equals, choice = word.partition("=")
    if not equals:
        raise UserError(f"--baseline {word}: expected word=choice, such as rl=none")
    return name, choice
