"""What a cell does, as far as it depends on that whether a key counts."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genclspp.baselines.head import Head
from genclspp.baselines.knn import Knn
from genclspp.baselines.majority import Majority
from genclspp.settings import Cell
from genclspp.strategies.definition import Definition
from genclspp.strategies.icl import Icl
from genclspp.strategies.numeric import Numeric
from genclspp.strategies.uncertainty import Uncertainty


def learns(cell: Cell) -> bool:
    return cell.sft.enabled or reinforces(cell)


def reinforces(cell: Cell) -> bool:
    return bool(cell.rl.learner)


def is_matched(cell: Cell) -> bool:
    """Whether SFT continues for as many examples as `rl` asks for (conf/rl/matched.yaml)."""
    return cell.choices["rl"] == "matched"


def learner_is(cell: Cell, *names: str) -> bool:
    """Whether the learner is one of these, or not one of ours, so that nothing is known about it."""
    kind = type(cell.rl.learner)
    return reinforces(cell) and (kind.__name__ in names or not kind.__module__.startswith("genclspp."))


def reads_validation(cell: Cell) -> bool:
    return cell.predict.validation > 0 or (reinforces(cell) and cell.rl.held_out > 0)


def depends_on_language(cell: Cell) -> bool:
    """Whether prompts are written, or texts taken apart, as the language needs."""
    if isinstance(cell.method, Knn):
        return cell.method.embedder == "tfidf"
    return not isinstance(cell.method, Majority | Head)


def reads_training_examples(cell: Cell) -> bool:
    if cell.method is not None:
        return True
    ours = (Definition, Icl, Numeric, Uncertainty)
    is_foreign = any(not isinstance(part, ours) for part in cell.infer)
    return learns(cell) or cell.reasoning.enabled or shows(cell.infer) or is_foreign


def shows(side: Sequence[Any]) -> bool:
    """Whether prompts show training examples."""
    return any("neighbours" in part.requires() for part in side)


def mines(cell: Cell) -> bool:
    """Whether the answers of ambiguous training examples are read anywhere."""
    readers = (*(cell.train if learns(cell) else ()), *(cell.infer if shows(cell.infer) else ()))
    return any("uncertain" in part.requires() for part in readers)


def defines(cell: Cell) -> bool:
    bare = (Icl, Numeric, Uncertainty)  # a strategy from outside the package may show definitions as well
    return any(not isinstance(part, bare) for part in (*cell.infer, *(cell.train if learns(cell) else ())))


def may_read_better(cell: Cell) -> bool:
    """Whether a label may have an underscore that `readable` turns into a space; False where none is known to."""
    labels, names = cell.dataset.labels, cell.dataset.names
    bare = labels is None or any("_" in label for label in labels if label not in names)
    return bare and cell.dataset.source != "tickets"


def is_file(cell: Cell) -> bool:
    return cell.dataset.source == "local" and Path(cell.dataset.path).expanduser().is_file()


def is_saved(cell: Cell) -> bool:
    return (Path(cell.dataset.path) / "dataset_dict.json").exists()


def is_installed(cell: Cell) -> bool:
    return bool(cell.model.package and find_spec(cell.model.package))


def is_gguf_file(cell: Cell) -> bool:
    return Path(cell.model.path).suffix == ".gguf"


def is_here(cell: Cell) -> bool:
    return is_gguf_file(cell) or Path(cell.model.path).expanduser().is_dir()


def sides(cell: Cell, place: str) -> list[str]:
    """The sides that take their strategies from `place`."""
    both = [side for side in ("train", "infer") if cell.config.get(side) is None]
    return both if place == "strategy" else [place]
