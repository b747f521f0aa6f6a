"""Choices that need a plugin of Hydra, which is installed only where somebody wants it."""

from collections.abc import Sequence
from importlib.util import find_spec

from genclspp.suggest import UserError

# Choice -> the package that it needs, our extra that installs it, and the module that then exists.
NEEDS = {
    "hydra/sweeper=optuna": ("hydra-optuna-sweeper", "optuna", "hydra_plugins.hydra_optuna_sweeper"),
    "hydra/launcher=slurm": ("hydra-submitit-launcher", "slurm", "hydra_plugins.hydra_submitit_launcher"),
    "hydra/launcher=submitit_local": ("hydra-submitit-launcher", "slurm", "hydra_plugins.hydra_submitit_launcher"),
    "hydra/launcher=ray": ("ray", "ray", "ray"),
}


def require(words: Sequence[str]) -> None:
    """Raise UserError for a choice on the command line whose plugin is not installed."""
    for word in words:
        if word in NEEDS and not _is_installed(NEEDS[word][2]):
            package, extra, _ = NEEDS[word]
            raise UserError(f"{word} needs {package}, which is not installed: pip install -e '.[{extra}]'")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # there is no plugin at all
        return False
