"""Definitions: one sentence for each label."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from genclspp.prompts.draft import Draft
from genclspp.suggest import UserError
from genclspp.task import Example, Task


@dataclass(frozen=True)
class Definition:
    """Say what each label means. The sentences belong to the data set."""

    def check(self, task: Task) -> None:
        missing = [label for label in task.labels if not task.definitions.get(label, "").strip()]
        if missing:
            raise UserError(
                f"the strategy definition needs dataset.definitions, but {task.name!r} defines "
                f"{len(task.labels) - len(missing)} of {len(task.labels)} labels (missing: {missing[0]!r}"
                f"{', …' if len(missing) > 1 else ''}); scripts/write_definitions.py drafts them"
            )

    def requires(self) -> Mapping[str, Mapping[str, object]]:
        return {}

    def __call__(self, draft: Draft, example: Example, task: Task) -> Draft:
        return replace(draft, definitions=task.definitions)
