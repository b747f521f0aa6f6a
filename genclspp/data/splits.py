"""Which files of a folder, or splits of a hub data set, are train, validation and test."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from genclspp.data.readers import ENDINGS
from genclspp.settings import DatasetSettings
from genclspp.suggest import UserError, hint

# What the validation split is called elsewhere; the first one is our own name.
VALIDATION = ("validation", "dev", "val", "valid", "eval")
BESIDE = ("labels.json", "definitions.json")


def choose_names(where: str, known: Mapping[str, str], settings: DatasetSettings) -> dict[str, str]:
    """Split -> its name in the source: as the settings say, or another usual name of the validation split.

    known: the names in the source -> how to show them
    Raises UserError if several may be the validation split.
    """
    named = dict(settings.splits)
    if named.get("validation") == VALIDATION[0] not in known:
        usual = [name for name in VALIDATION if name in known and name not in named.values()]
        if len(usual) > 1:
            raise UserError(
                f"{where} holds {' and '.join(known[name] for name in usual)}; expected one validation split: "
                f"choose it with dataset.splits.validation={usual[0]}"
            )
        named["validation"] = (usual or VALIDATION)[0]
    return named


def find_files(folder: Path, settings: DatasetSettings) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Split -> its file in the folder; and the names of the data files there that are none of these.

    Raises UserError for a split that is missing or not unique.
    """
    there = sorted(file for file in folder.iterdir() if file.is_file() and file.name not in BESIDE)
    readable = {file.stem: file.name for file in there if _is_readable(file)}
    if not readable and not any("/" in name for name in settings.splits.values()):
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise UserError(
            f"{folder} holds no data file (found: {found}); expected train and test, each ending in one of "
            f"{', '.join(ENDINGS)}"
        )
    named = choose_names(str(folder), readable, settings)
    files = {split: file for split, name in named.items() if (file := _find(folder, split, name))}
    require(str(folder), files, sorted(readable), settings)
    _refuse_same(files)
    words = {*named.values(), *VALIDATION}
    # `train.xlsx` and `test.csv.gz` are meant to be read, too.
    data = [file for file in there if _is_readable(file) or file.name.partition(".")[0] in words]
    return files, tuple(file.name for file in data if file not in files.values())


def _is_readable(file: Path) -> bool:
    return file.suffix.lower() in ENDINGS


def _find(folder: Path, split: str, name: str) -> Path | None:
    """The file of a split; its name may lead to another folder."""
    path = folder / name
    beside = path.parent.iterdir() if name and path.parent.is_dir() else ()
    found = [file for file in beside if file.stem == path.name and _is_readable(file) and file.is_file()]
    if len(found) > 1:
        found.sort(key=lambda file: ENDINGS.index(file.suffix.lower()))
        shown = ", ".join(file.name for file in found)
        raise UserError(f"{folder} holds several files for split {split!r}: {shown}; expected one")
    return found[0] if found else None


def _refuse_same(files: Mapping[str, Path]) -> None:
    seen: dict[Path, str] = {}
    for split, file in files.items():
        other = seen.setdefault(file.resolve(), split)
        if other != split:
            raise UserError(f"splits {other!r} and {split!r} are the same file: {file}")


def require(where: str, found: Container[str], known: Sequence[str], settings: DatasetSettings) -> None:
    """Raise where train is missing, or another split that the settings name explicitly."""
    for split, name in settings.splits.items():
        if split not in found and name and (split == "train" or name != split):
            raise UserError(f"{where} has no split {name!r} (dataset.splits.{split}); {hint(name, known)}")
    if "train" not in found:
        raise UserError(f"dataset.splits names no split for 'train'; {hint('train', known)}")
