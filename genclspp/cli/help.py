"""What --help shows: the template in conf/config.yaml, filled in without Hydra, which takes twice as long.

To list the groups, Hydra copies its whole config store once per group, and composes a configuration nobody sees.
"""

from collections.abc import Sequence
from pathlib import Path
from string import Template

from omegaconf import OmegaConf

from genclspp.cli.compose import CONF

NO_GROUPS = ("hydra", "table")  # folders of conf without choices


def is_wanted(words: Sequence[str]) -> bool:
    """Whether help is the only thing asked for; Hydra handles --help together with other flags."""
    flags = [word for word in words if word.startswith("-")]
    return flags in (["--help"], ["-h"])


def text() -> str:
    """The help page."""
    config = OmegaConf.load(Path(CONF) / "config.yaml")
    listed = "\n".join(f"{group}: {', '.join(choices)}" for group, choices in groups().items())
    return Template(config.hydra.help.template).substitute(APP_CONFIG_GROUPS=listed)


def groups() -> dict[str, list[str]]:
    """Group -> its choices."""
    folders = sorted(path for path in Path(CONF).iterdir() if path.is_dir() and path.name not in NO_GROUPS)
    return {folder.name: sorted(path.stem for path in folder.glob("*.yaml")) for folder in folders}
