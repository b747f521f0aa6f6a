"""Which stages changed without a new version? python scripts/confirm_stages.py [--harmless STAGE …]

The store reuses what a stage of the same version left, so a stage that computes something else needs a new version
(the number in its decorator). tests/stages.json holds the code of each stage as last confirmed: a hash of every
module of the package that it imports, without docstrings and comments. If a stage has changed, raise its version
and run this script; if it still computes the same, confirm that with --harmless. A test fails until then.
"""

import argparse
import ast
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KNOWN = ROOT / "tests" / "stages.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--harmless", nargs="+", metavar="STAGE", default=[], help="stages that still compute the same"
    )
    harmless = parser.parse_args().harmless
    known, found = read(), stages()
    for name in harmless:
        if name not in found:
            sys.exit(f"error: unknown stage {name!r}; known: {', '.join(found)}")
    left = {name: why for name, why in changes(known, found).items() if name not in harmless}
    open_ = {name for name in left if not is_raised(name, known, found)}
    kept = {name: known[name] for name in open_ if name in known}
    confirmed = {name: stage for name, stage in found.items() if name not in open_}
    KNOWN.write_text(json.dumps({**confirmed, **kept}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for name in sorted(open_):
        print(f"{name}: {left[name]}")
    if open_:
        sys.exit(f"raise the version of {', '.join(sorted(open_))}, or confirm with --harmless")


def read() -> dict[str, Any]:
    """The stages as last confirmed."""
    return json.loads(KNOWN.read_text(encoding="utf-8")) if KNOWN.exists() else {}


def stages(root: Path = ROOT) -> dict[str, dict[str, Any]]:
    """Name -> version, and the hash of each module that the stage imports, directly or indirectly."""
    found = {}
    for path in sorted((root / "genclspp").rglob("*.py")):
        for name, version in _decorated(path):
            modules = {
                module: _digest(_path(root, module)) for module in sorted(_closure(root, _module(root, path)))
            }
            found[name] = {"version": version, "modules": modules}
    return found


def changes(known: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, str]:
    """Stage -> what is different now, in words."""
    described = {}
    for name, stage in found.items():
        before = known.get(name, {"version": 0, "modules": {}})
        differ = [
            module
            for module in sorted({*stage["modules"], *before["modules"]})
            if stage["modules"].get(module) != before["modules"].get(module)
        ]
        if differ or stage["version"] != before["version"]:
            raised = f"version {before['version']} → {stage['version']}; " if is_raised(name, known, found) else ""
            described[name] = f"{raised}changed: {', '.join(differ) or 'nothing else'}"
    return described | {name: "is gone" for name in known if name not in found}


def is_raised(name: str, known: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether a stage has a different version than before, is new, or is gone."""
    return name not in found or name not in known or found[name]["version"] != known[name]["version"]


def _decorated(path: Path) -> Iterator[tuple[str, int]]:
    """Name and version of each stage in a file."""
    for node in ast.walk(_tree(path)):
        for call in getattr(node, "decorator_list", []):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "stage":
                name, (version, *_) = call.args[0], [word.value for word in call.keywords if word.arg == "version"]
                yield ast.literal_eval(name), ast.literal_eval(version)


def _closure(root: Path, module: str) -> set[str]:
    """A module and all modules of the package that it imports, directly or indirectly, inside functions too."""
    found: set[str] = set()
    left = [module]
    while left:
        module = left.pop()
        if module not in found:
            found.add(module)
            left += _imports(root, _path(root, module))
    return found


def _imports(root: Path, path: Path) -> list[str]:
    found = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("genclspp"):
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                if _path(root, str(name)).is_file():
                    found.append(str(name))
    return found


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _digest(path: Path) -> str:
    return hashlib.sha256(repr(_code(_tree(path))).encode()).hexdigest()[:12]


def _code(node: Any) -> Any:
    """A syntax tree as tuples, without docstrings; equal in every version of Python, unlike `ast.dump`."""
    if isinstance(node, list):
        return [_code(part) for part in node if not _is_docstring(part)]
    if not isinstance(node, ast.AST):
        return node
    parts = ((name, getattr(node, name, None)) for name in node._fields)
    return (type(node).__name__, *((name, _code(part)) for name, part in parts if part not in (None, [])))


def _is_docstring(node: Any) -> bool:
    """Whether a node is a string as a statement of its own."""
    return (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )


def _path(root: Path, module: str) -> Path:
    return root.joinpath(*module.split(".")).with_suffix(".py")


def _module(root: Path, path: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts)


if __name__ == "__main__":
    main()
