"""Hydra finds launchers here, by the name of the folder. What they do is in `genclspp.cli.slots`."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class RayLauncher(Launcher):
    """Computes the distinct stages of a sweep on the slots of a Ray cluster; conf/hydra/launcher/ray.yaml."""

    def __init__(self, address: str | None, slots: int | None, resources: Mapping[str, Any]) -> None:
        self._asked = (address, slots, resources)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._loader, self._config = hydra_context.config_loader, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from genclspp.cli import slots

        configs = [self._loader.load_sweep_config(self._config, list(words)) for words in job_overrides]
        return slots.launch(configs, *self._asked)
