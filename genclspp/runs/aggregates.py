"""What the seeds of each cell say together, for W&B: its own grouping of runs shows means alone.

Every figure is that of the table at the end of the sweep, and every chart one of the page.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from genclspp.report import measures, summary
from genclspp.report.charts import answers, confidence, sweep_charts
from genclspp.report.entries import Entry
from genclspp.report.records import STRATEGY, chosen, split_words
from genclspp.report.results import Results
from genclspp.report.series import Series
from genclspp.runs.tracking import Tracker, warn_on_error, warn_once
from genclspp.settings import TrackingSettings
from genclspp.store.keys import key

TOPICS: Sequence[measures.Topic] = ("result", "calibration", "cost")  # of what is measured once per cell
TESTED = ("accuracy", "macro_f1")  # with intervals and tests; of all other measures, the mean


def mirror(results: Results, settings: TrackingSettings, outputs: Path, sweep: str) -> None:
    """Log an aggregate run for each series of a sweep, and one for its charts; an error gives a warning only."""
    if settings.backend == "none" or not results.records:
        return
    with warn_on_error("mirror what the seeds of cells say together"):
        for series, found in zip(results.series, summaries(results), strict=True):
            choices = {name: str(value) for name, value in series.words.items() if value is not None}
            choices.pop("name", None)
            tracker = Tracker(settings, outputs, sweep, choices, {"seed": [one["seed"] for one in series.records]})
            read = answers.read(results, series)
            charts = [confidence.reliability(read)] if read else []
            tracker.aggregate(key(choices), f"aggregate {_name(series, results)}", found, charts)
        if charts := sweep_charts(results):
            Tracker(settings, outputs, sweep, {}, {}).aggregate("charts", f"charts of {sweep}", {}, charts)


def summaries(results: Results) -> list[dict[str, Any]]:
    """What an aggregate run says of each series: `accuracy/mean`, `accuracy/sd`, …; None for what is not known.

    `p_holm` is p of the gain over `baseline`, corrected for all tests of the sweep's table of this metric.
    """
    found: list[dict[str, Any]] = [_means(each, results) for each in results.series]
    for metric in TESTED:
        table, stand_ins = summary.compare(results, metric)
        entries = {id(table.series[at]): entry for at, entry in table.entries.items()}
        for series, told in zip(results.series, found, strict=True):
            told |= _levels(entries[id(series)], metric) | _gains(entries[id(series)], metric)
            told["baseline"] = "first cell of the data set" if id(series) in stand_ins else table.base
    if any(told[f"{metric}/low"] is None for told in found for metric in TESTED):
        warn_once("aggregate runs in Weights & Biases have no intervals where predictions or examples are missing")
    return found


def _name(series: Series, results: Results) -> str:
    """What tells a series apart in its sweep, such as "strategy=icl decode=ppl"."""
    differing, shared = split_words(results.records)
    names = [name for name in differing if name != "seed"] or [STRATEGY if STRATEGY in shared else "train"]
    return " ".join(f"{name}={value}" for name in names if (value := chosen(series.words, name)) not in (None, ""))


def _means(series: Series, results: Results) -> dict[str, Any]:
    names = [measure.name for topic in TOPICS for measure in measures.of_topic(topic)]
    found = {name: results.values(series, name).values() for name in names}
    means = {f"{name}/mean": _finite(fmean(values)) for name, values in found.items() if values}
    return {"seeds": len(series.records), **means}


def _levels(entry: Entry, metric: str) -> dict[str, float | None]:
    level = entry.level
    low, high = (level.low, level.high) if level else (None, None)
    return _finite_ones(metric, {"mean": entry.mean, "sd": entry.sd, "low": low, "high": high})


def _gains(entry: Entry, metric: str) -> dict[str, float | None]:
    gain = entry.gain
    if gain is None:
        return {}
    found = {"gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high, "p": gain.p}
    return _finite_ones(metric, {**found, "p_holm": entry.corrected, "detectable": gain.detectable})


def _finite_ones(metric: str, found: Mapping[str, float | None]) -> dict[str, float | None]:
    return {f"{metric}/{name}": _finite(value) for name, value in found.items()}


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
