"""What artifacts are computed with: the versions of libraries, and the commit of the source tree."""

import sys
from functools import cache
from pathlib import Path

VERSIONED = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")


@cache
def versions() -> dict[str, str]:
    """The versions of Python and of the libraries; reads package metadata, imports none of them."""
    from importlib import metadata

    found = {"python": sys.version.split()[0], "genclspp": metadata.version("genclspp")}
    return found | {name: metadata.version(name) for name in VERSIONED}


@cache
def commit() -> str | None:
    """The commit of the source tree, with "+changes" if there are uncommitted ones; None outside a checkout."""
    import subprocess

    here = Path(__file__).parent.parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, timeout=10)
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    head = git("rev-parse", "HEAD")
    return f"{head}+changes" if head and git("status", "--porcelain", "--", str(here)) else head
