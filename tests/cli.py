"""The real command line, for tests: `run` starts `python run.py …`, `Warm` starts it in a fork that has imported.

A fork of a process that has imported torch and TRL is a process of its own, with its own exit code, streams and
handlers; it saves the seconds that the imports take. What is about start-up or signals takes `run` or `start`.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from genclspp.cli.words import key_of

ROOT = Path(__file__).parents[1]
TINY = (
    "model=tiny",
    "tracking=none",
    "dataset.train_size=24",
    "dataset.validation_size=8",
    "dataset.test_size=8",
    "sft.args.max_steps=1",
    "rl=none",
)
# One step of GRPO.
TINY_RL = ("rl=grpo", "rl.examples=2", "rl.args.num_generations=2", "rl.args.per_device_train_batch_size=4")

# The program as it is, but for a checkpoint at every step from which a run can resume.
SAVING = """
import os, runpy, sys
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # as `main` sets it, which here comes too late
from genclspp.training import checkpoints

checkpoints.SECONDS = checkpoints.TIMES = 0
sys.argv[0] = "run.py"
runpy.run_path("run.py", run_name="__main__")
"""
FORKING = """
import gc, json, os, runpy, sys
import datasets, peft, scipy.stats, sklearn, statsmodels.stats.multitest, torch, transformers, trl
import genclspp.cli.main, genclspp.pipeline

gc.freeze()  # else the garbage collector of every fork walks, and so copies, all that is imported
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()

for number, path in enumerate((os.devnull, job["out"], job["err"])):
    os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
os.environ.update(job["env"])
sys.path[:0] = job["env"].get("PYTHONPATH", "").split()  # of a new process, Python itself would do this
sys.argv = ["run.py", *job["words"]]
runpy.run_path("run.py", run_name="__main__")
"""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def computed(self) -> Counter[str]:
        """stage -> how often its status line says that it was computed."""
        return Counter(re.findall(r"^  (\w+) +computed in", self.out, re.MULTILINE))

    def reused(self) -> Counter[str]:
        return Counter(re.findall(r"^  (\w+) +reused", self.out, re.MULTILINE))

    def require(self) -> "Done":
        """Itself, where the command went well."""
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        return self


class Warm:
    """Runs command lines one after the other, each in a fork."""

    def __init__(self, scratch: Path) -> None:
        self.out, self.err = scratch / "out", scratch / "err"
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKING],
            cwd=ROOT,
            env=environment(HF_HUB_DISABLE_PROGRESS_BARS="1"),  # as `main` sets it, which here comes too late
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, outputs: Path, **env: str) -> Done:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        for path in (self.out, self.err):
            path.unlink(missing_ok=True)
        job = {"words": _words(words, outputs), "out": str(self.out), "err": str(self.err), "env": env}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return Done(code, self.out.read_text("utf-8"), self.err.read_text("utf-8"))

    def __enter__(self) -> "Warm":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.communicate(timeout=30)


def run(*words: str, outputs: Path, **env: str) -> Done:
    """`python run.py …` in a new process."""
    process = start(*words, outputs=outputs, **env)
    return finish(process)


def start(*words: str, outputs: Path, program: Sequence[str] = ("run.py",), **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *program, *_words(words, outputs)],
        cwd=ROOT,
        env=environment(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> Done:
    out, err = process.communicate(timeout=240)
    return Done(process.returncode, out, err)


def environment(**more: str) -> dict[str, str]:
    """No network, no credentials of the person who runs the tests, one thread."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "HYDRA_"))}
    quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "NETRC": os.devnull}
    return kept | quiet | more


def records(outputs: Path, name: str = "dev") -> list[dict[str, Any]]:
    paths = sorted((outputs / "results" / name).glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def artifacts(outputs: Path, stage: str = "*") -> list[Path]:
    """The folders that were adopted."""
    found = [path.parent for path in (outputs / "artifacts").glob(f"{stage}/*/manifest.json")]
    return sorted(path for path in found if "." not in path.name)  # not those that were damaged


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what may differ between two runs of the same cell."""
    return {
        name: value
        for name, value in record.items()
        if not name.startswith(("seconds", "memory/", "version/")) and name not in ("commit", "name")
    }


def _words(words: Sequence[str], outputs: Path) -> list[str]:
    """Long flags first, as Hydra wants them; words of `TINY` and `TINY_RL` make room for other choices."""
    flags = [word for word in words if re.match(r"--(config|cfg|help|info)", word)]
    rest = [word for word in words if word not in flags]
    last = {key_of(word): place for place, word in enumerate(rest)}
    idle = {"sft.args.max_steps=1"} if "sft=none" in rest else set()
    if "sft=none" in rest and not any("icl" in word or word.startswith("rl=") for word in rest[len(TINY) :]):
        idle |= {"dataset.train_size=24"}
    kept = [
        word
        for place, word in enumerate(rest)
        if word not in (*TINY, *TINY_RL) or (last[key_of(word)] == place and word not in idle)
    ]
    return [*flags, f"outputs={outputs}", *kept]
