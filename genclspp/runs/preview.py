"""What a sweep would compute, shown before anything is: `hydra/launcher=plan`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from genclspp.report.figures import duration, size
from genclspp.runs.estimates import Estimates
from genclspp.runs.graph import Node

MOST = 12  # branches of the drawing that are drawn
TRAINING = ("sft", "rl")


class Row(NamedTuple):
    """The distinct stages of one role. Numbers of stages; seconds and bytes of those to compute."""

    role: str
    compute: int
    reused: int
    saved: int  # how many times cells would compute a stage that another cell computes
    at_most: bool
    seconds: float
    bytes: float
    unknown: int  # stages to compute of which no earlier one tells how long they take


def rows(graph: Mapping[str, Node], estimates: Estimates) -> list[Row]:
    """A row per role, in the order of the stages."""
    roles: dict[str, list[Node]] = {}
    for node in graph.values():
        roles.setdefault(node.step.role, []).append(node)
    return [_row(role, nodes, estimates) for role, nodes in roles.items()]


def _row(role: str, nodes: Sequence[Node], estimates: Estimates) -> Row:
    ahead = [node for node in nodes if not node.is_there]
    seconds = [estimates.seconds(node.step) for node in ahead]
    sizes = [estimates.size(node.step) for node in ahead]
    return Row(
        role,
        compute=len(ahead),
        reused=len(nodes) - len(ahead),
        saved=sum(len(node.cells) - 1 for node in nodes),
        at_most=not all(node.is_known for node in ahead),
        seconds=sum(value for value in seconds if value is not None),
        bytes=sum(value for value in sizes if value is not None),
        unknown=seconds.count(None),
    )


def show(name: str, graph: Mapping[str, Node], headings: Sequence[str], at: Estimates, console: Console) -> None:
    """Print the plan of a sweep as a table and as a drawing. headings: what tells each cell apart"""
    found = rows(graph, at)
    total = _total(found)
    count = f"{len(headings)} cells" if len(headings) > 1 else "one cell"
    console.print(Text(f"plan of {name}: {count}, {len(graph)} distinct stages; nothing was run"))
    console.print(_table([*found, total]))
    if any(row.at_most for row in found):
        console.print(Text("at most: what earlier stages find decides on these; some may be shared, or be there"))
    if total.unknown:
        console.print(Text(f"unknown: no earlier stage of the kind tells how long {total.unknown} of them take"))
    if total.compute:
        console.print(_drawing(graph, headings))


def _total(found: Sequence[Row]) -> Row:
    return Row(
        "all",
        compute=sum(row.compute for row in found),
        reused=sum(row.reused for row in found),
        saved=sum(row.saved for row in found),
        at_most=any(row.at_most for row in found),
        seconds=sum(row.seconds for row in found),
        bytes=sum(row.bytes for row in found),
        unknown=sum(row.unknown for row in found),
    )


def _table(found: Iterable[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("stage")
    for heading in ("compute", "reuse", "shared", "time", "disk"):
        table.add_column(heading, justify="right")
    for row in found:
        most = "at most " if row.at_most and row.compute else ""
        time, disk = _spent(row, duration(row.seconds)), _spent(row, size(row.bytes))
        table.add_row(row.role, f"{most}{row.compute}", str(row.reused), str(row.saved), time, disk)
    return table


def _spent(row: Row, text: str) -> str:
    """What a row takes, as far as it is known."""
    if not row.compute:
        return "–"
    if row.unknown == row.compute:
        return "unknown"
    return f"{text} + unknown" if row.unknown else text


def _drawing(graph: Mapping[str, Node], headings: Sequence[str]) -> Tree:
    """What is trained, on top of what, and what is read from each policy; a branch per trained policy."""
    tree = Tree("stages to compute, under the policies that they need", guide_style="dim")
    children: dict[str | None, list[str]] = {}
    for name, node in graph.items():
        if node.step.role in TRAINING:
            children.setdefault(_policy(graph, node), []).append(name)
    readers: dict[str | None, list[Node]] = {}
    for node in graph.values():
        if node.step.role not in TRAINING and not node.is_there:
            readers.setdefault(_policy(graph, node), []).append(node)
    _grow(tree, None, graph, children, readers, headings)
    return tree


def _grow(
    tree: Tree,
    parent: str | None,
    graph: Mapping[str, Node],
    children: Mapping[str | None, list[str]],
    readers: Mapping[str | None, list[Node]],
    headings: Sequence[str],
) -> None:
    if found := readers.get(parent):
        tree.add(Text(_counted(node.step.role for node in found)))
    shown = children.get(parent, [])
    for name in shown[:MOST]:
        branch = tree.add(_branch(graph[name], headings))
        _grow(branch, name, graph, children, readers, headings)
    if len(shown) > MOST:
        tree.add(Text(f"… and {len(shown) - MOST} more like these"))


def _branch(node: Node, headings: Sequence[str]) -> Text:
    """A training stage, with what its cells have in common of what tells cells apart."""
    words = [headings[place].split() for place in node.cells]
    common = " ".join(word for word in words[0] if all(word in other for other in words))
    cells = f"{len(words)} cells" if len(words) > 1 else "one cell"
    state = "there already" if node.is_there else "to compute"
    text = Text(f"{node.step.role} {common}".strip() + f" · {cells} · {state} ")
    return text.append(node.step.artifact.key or "", style="dim")


def _policy(graph: Mapping[str, Node], node: Node) -> str | None:
    """The name of the training stage that a node rests on, directly or through other stages; None for none."""
    for need in reversed(node.needs):
        if graph[need].step.role in TRAINING:
            return need
    found = (_policy(graph, graph[need]) for need in node.needs)
    return next((name for name in found if name), None)


def _counted(roles: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for role in roles:
        counts[role] = counts.get(role, 0) + 1
    return ", ".join(f"{role} {count}" if count > 1 else role for role, count in counts.items())
