"""What --help shows: the template of conf/config.yaml, filled in without Hydra, which takes twice as long.

Hydra copies its whole store of configurations once per group to list them, and composes one that is not shown.
"""

from collections.abc import Sequence
from pathlib import Path
from string import Template

from omegaconf import OmegaConf

from genclspp.cli.compose import CONF


def is_wanted(words: Sequence[str]) -> bool:
    """Whether the command asks for help and for nothing else that only Hydra knows."""
    flags = [word for word in words if word.startswith("-")]
    return flags in (["--help"], ["-h"])


def text() -> str:
    """The page of help."""
    config = OmegaConf.load(Path(CONF) / "config.yaml")
    groups = "\n".join(f"{group}: {', '.join(choices)}" for group, choices in _groups().items())
    return Template(config.hydra.help.template).substitute(APP_CONFIG_GROUPS=groups)


def _groups() -> dict[str, list[str]]:
    """group -> its choices."""
    folders = sorted(path for path in Path(CONF).iterdir() if path.is_dir() and path.name != "hydra")
    return {folder.name: sorted(path.stem for path in folder.glob("*.yaml")) for folder in folders}
