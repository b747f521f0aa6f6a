"""A saved view of sweeps in W&B: the sections, headings and directions of `report.measures`, as on the page."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from genclspp.report import measures
from genclspp.report.charts import pairing
from genclspp.report.measures import Measure
from genclspp.report.records import Record, split_words
from genclspp.report.series import gather
from genclspp.runs.aggregates import TESTED
from genclspp.runs.uploads import one_line
from genclspp.suggest import UserError

# Columns of W&B that say nothing here: runs are made by programs, and their tags repeat the choices.
HIDDEN = ("notes", "tags", "createdAt", "duration", "username", "sweep", "host")
FIGURES = ("mean", "sd", "low", "high", "gain", "gain_low", "gain_high", "p_holm", "detectable")
ORDER = ("accuracy/mean", "accuracy")  # aggregates first, then results, the best first


@dataclass(frozen=True)
class View:
    """What a view shows.

    sweeps:   the groups of its runs
    sections: heading -> its panels, a measure each; a chart is a figure that runs have logged under this id
    columns:  of the table of runs, in order, as W&B names them
    hidden:   columns that it would show otherwise
    """

    sweeps: Sequence[str]
    sections: dict[str, list["Panel"]]
    columns: Sequence[str]
    hidden: Sequence[str]

    @property
    def title(self) -> str:
        return f"genclspp {' '.join(self.sweeps)}"

    @property
    def name(self) -> str:
        """W&B's own name of the view: equal for equal sweeps, so that making it again replaces it."""
        return f"nw-{sha256(' '.join(self.sweeps).encode()).hexdigest()[:11]}-v"


@dataclass(frozen=True)
class Panel:
    """One panel: curves over steps, bars of runs, or a chart that was logged."""

    kind: Literal["curve", "bar", "chart"]
    title: str
    name: str


def plan(sweeps: Sequence[str], records: Sequence[Record]) -> View:
    """The view of sweeps with these records."""
    differing, shared = split_words(records)
    sections = {
        "Result": [*_charts(records), *_bars("result", records), *_gains()],
        "Calibration": _bars("calibration", records),
        "Training curves": _curves("training") if _have("artifact/sft", records) else [],
        "RL health": _curves("rl") if _have("artifact/rl", records) else [],
        "Cost": [*_bars("cost", records), *_stage_costs(records)],
    }
    return View(
        sweeps=sorted(set(sweeps)),
        sections={name: panels for name, panels in sections.items() if panels},
        columns=[
            "run:displayName",
            "run:jobType",
            *(_config(word) for word in differing),
            "summary:seeds",
            *(f"summary:{metric}/{figure}" for metric in TESTED for figure in FIGURES),
            *(f"summary:{metric}" for metric in TESTED),
        ],
        hidden=[*(f"run:{name}" for name in HIDDEN), *(_config(word) for word in shared)],
    )


def outline(view: View) -> str:
    """The view in a few lines."""

    def plain(columns: Sequence[str]) -> str:
        return ", ".join(column.partition(":")[2].removesuffix(".value") for column in columns)

    lines = [f"runs of: {', '.join(view.sweeps)}", f"sorted by: {', then '.join(ORDER)}, the highest first"]
    lines += [f"columns: {plain(view.columns)}", f"hidden columns: {plain(view.hidden)}"]
    lines += [f"{name}: {', '.join(panel.title for panel in panels)}" for name, panels in view.sections.items()]
    return "\n".join(f"  {line}" for line in lines)


def save(view: View, entity: str | None, project: str) -> str:
    """Save the view, in place of an earlier one of the same sweeps; returns its address.

    Raises UserError where wandb-workspaces or the project is missing, or W&B refuses. Log in before.
    """
    built = build(view, entity or _entity(), project)
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError
    from wandb_workspaces.workspaces import internal

    with redirect_stderr(io.StringIO()), _told_in_a_sentence(WandbApiFailedError):
        model = built._to_model()
        model.id = _known(built)
        # The package hides nothing by itself: it lists the pinned columns as visible, and no others.
        feed = model.spec.section.run_sets[0].run_feed
        feed.column_visible = {**feed.column_visible, **dict.fromkeys(view.hidden, False)}
        internal.upsert_view2(model)
    return built.url


@contextmanager
def _told_in_a_sentence(refusal: type[Exception]) -> Iterator[None]:
    try:
        yield
    except refusal as error:
        raise UserError(f"Weights & Biases did not save the view: {one_line(error)}") from None


def _known(built: Any) -> str:
    """The id of the view in W&B; empty if it is new there."""
    from wandb_workspaces.workspaces import internal

    short = internal._internal_name_to_url_query_str(built._internal_name)
    try:
        return internal.get_view_dict(built.entity, built.project, short)["id"]
    except ValueError as error:
        if not str(error).startswith("Project"):
            return ""
        told = f"no project {built.project!r} of {built.entity!r} in Weights & Biases"
        raise UserError(
            f"{told}: upload runs first (scripts/wandb_sync.py), or choose another --project"
        ) from None


def build(view: View, entity: str, project: str) -> Any:
    """The view as a `wandb_workspaces.workspaces.Workspace`; raises UserError where that package is missing."""
    try:
        import wandb_workspaces.workspaces as ws
    except ImportError:
        raise UserError("wandb-workspaces is not installed; pip install -e '.[workspace]'") from None
    built = ws.Workspace(
        entity=entity,
        project=project,
        name=view.title,
        sections=[
            ws.Section(name=name, panels=[_panel(panel, f"{name} {panel.name}") for panel in panels], is_open=True)
            for name, panels in view.sections.items()
        ],
        settings=ws.WorkspaceSettings(x_axis="step", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("Group").isin(list(view.sweeps))],
            order=[ws.Ordering(ws.Summary(name), ascending=False) for name in ORDER],
            pinned_columns=list(view.columns),
        ),
    )
    built._internal_name, built._internal_runset_id = view.name, _id(view.name)
    return built


def _panel(panel: Panel, place: str) -> Any:
    import wandb_workspaces.reports.v2 as wr

    if panel.kind == "chart":
        made = wr.MediaBrowser(title=panel.title, media_keys=[panel.name])
    elif panel.kind == "curve":
        made = wr.LinePlot(title=panel.title, x="step", y=[panel.name], max_runs_to_show=100)
    else:
        made = wr.BarPlot(title=panel.title, metrics=[panel.name], max_bars_to_show=100)
    made._id = _id(place)  # else it is drawn by chance, and the same view is never the same twice
    return made


def _charts(records: Sequence[Record]) -> list[Panel]:
    """The charts that `aggregates.mirror` logs, under their ids."""
    count = min(len(pairing.matrices(gather(records))), pairing.MOST)
    titles = ["pairings"] if count == 1 else [f"pairings {place + 1}" for place in range(count)]
    pairings = [Panel("chart", title, f"pairing-{place}") for place, title in enumerate(titles, 1)]
    return [*pairings, Panel("chart", "reliability", "reliability")]


def _bars(topic: measures.Topic, records: Sequence[Record]) -> list[Panel]:
    found = [measure for measure in measures.of_topic(topic) if _have(measure.name, records)]
    return [_of(measure, "bar", f"{measure.name}/mean") for measure in found]


def _gains() -> list[Panel]:
    return [Panel("bar", f"gain in {measures.BY_NAME[name].heading} ↑", f"{name}/gain") for name in TESTED]


def _curves(topic: measures.Topic) -> list[Panel]:
    return [_of(measure, "curve", measure.name) for measure in measures.of_topic(topic)]


def _stage_costs(records: Sequence[Record]) -> list[Panel]:
    names = dict.fromkeys(name for record in records for name in record)
    prefixes = [f"{cost.name}/" for cost in measures.STAGE_COSTS]
    found = [measures.find(name) for prefix in prefixes for name in names if name.startswith(prefix)]
    return [_of(measure, "bar", measure.name) for measure in found if measure]


def _have(name: str, records: Sequence[Record]) -> bool:
    return any(record.get(name) is not None for record in records)


def _of(measure: Measure, kind: Literal["curve", "bar"], name: str) -> Panel:
    return Panel(kind, f"{measure.heading}{measure.arrow}", name)


def _config(word: str) -> str:
    return f"config:{'train' if word == 'strategy' else word}.value"


def _id(place: str) -> str:
    return sha256(place.encode()).hexdigest()[:12]


def _entity() -> str:
    import wandb

    found = wandb.Api().default_entity
    if not found:
        raise UserError("Weights & Biases names no entity of its own for this key; name one with --entity")
    return found
