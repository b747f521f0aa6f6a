"""Cells as jobs of submitit: `hydra/launcher=slurm`, and `submitit_local` in processes of this machine.

hydra-submitit-launcher makes the job of a cell. Here jobs are submitted and waited for, so that one that dies does
not take the results of the others with it. A job finds its place in the sweep in the ledger.
"""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from genclspp.cli import compose
from genclspp.suggest import UserError

PLUGIN = "hydra_plugins.hydra_submitit_launcher"
# Settings of a job that all clusters share; submitit wants the others with the name of the cluster before them.
SHARED = ("name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node")
OURS = ("submitit_folder", "parallel", "max_num_timeout")


def is_submitit(hydra: Any) -> bool:
    """Whether cells become jobs of submitit."""
    return hydra.launcher._target_.startswith(PLUGIN)


def hand_over(config: DictConfig) -> None:
    """Make Hydra's launcher submit jobs as `launch` does; raises UserError where it cannot."""
    if config.failures == "stop":
        raise UserError("failures=stop ends a sweep in one process, but jobs run by themselves; expected continue")
    if config.hydra.launcher._target_.endswith("SlurmLauncher") and not shutil.which("srun"):
        instead = "hydra/launcher=submitit_local runs the same jobs on this machine"
        raise UserError(f"hydra/launcher=slurm finds no srun, so this is no machine of a Slurm cluster; {instead}")
    for name in ("LocalLauncher", "SlurmLauncher"):
        launcher: Any = Plugins.instance().class_name_to_class[f"{PLUGIN}.submitit_launcher.{name}"]
        launcher.launch = launch


def launch(self: Any, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
    """Submit a job per cell, `parallel` of them at a time if that is set, and wait until all have ended."""
    from genclspp.runs.terminal import Terminal

    executor = _executor(self._EXECUTOR, self.params)
    step = self.params.get("parallel") or len(job_overrides)
    state = Singleton.get_state()
    returns: list[JobReturn] = []
    for start in range(0, len(job_overrides), step):
        batch = job_overrides[start : start + step]
        numbered = enumerate(batch, initial_job_idx + start)
        given = [(list(words), "hydra.sweep.dir", number, "", state) for number, words in numbered]
        jobs = executor.map_array(self, *zip(*given, strict=True))
        Terminal().jobs([job.job_id for job in jobs], executor.folder, str(self.config.name))
        try:
            returns += [_result(self, job, words) for job, words in zip(jobs, batch, strict=True)]
        except KeyboardInterrupt:
            for job in jobs:
                job.cancel()
            raise
    return returns


def _executor(cluster: str, params: Mapping[str, Any]) -> Any:
    import submitit

    limits = {f"{cluster}_max_num_timeout": params["max_num_timeout"]} if "max_num_timeout" in params else {}
    executor = submitit.AutoExecutor(params["submitit_folder"], cluster=cluster, **limits)
    settings = {name: value for name, value in params.items() if name not in OURS}
    try:
        executor.update_parameters(
            **{name if name in SHARED else f"{cluster}_{name}": value for name, value in settings.items()}
        )
    except (AssertionError, NameError, ValueError) as error:
        raise UserError(f"hydra.launcher: {' '.join(str(error).split())}") from error
    return executor


def _result(launcher: Any, job: Any, words: Sequence[str]) -> JobReturn:
    """What a job returns; of one that has died there is nothing, and the ledger says so."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        return job.results()[0]
    except (FailedJobError, UncompletedJobError):
        _note(launcher.hydra_context.config_loader.load_sweep_config(launcher.config, list(words)), job)
        return JobReturn(status=JobStatus.COMPLETED)


def _note(config: DictConfig, job: Any) -> None:
    """Enter in the ledger that the job of a cell has died, unless the cell is done."""
    from genclspp.report import records
    from genclspp.runs.ledger import Ledger

    path = records.path_of(compose.cell(config))
    ledger = Ledger(path.parent)
    entry = ledger.find(path.stem)
    if entry and entry.state != "done":
        ledger.note(entry, "failed", f"its job {job.job_id} ended without a result", str(job.paths.stderr))
